"""A model on a server as a performer: the same questions, answers, tokens and confidence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from napari_pathreason import types
from napari_pathreason.errors import ModelError, QueryError

from ._choices import bound_to
from ._client import BrokeOff, Client, Flag
from ._memory import remember
from ._probe import BEGUN, PROBE, Capabilities, keep, optional_fields, pixel_bounds
from ._request import body_of, without_pictures
from ._stream import Chunk, Usage
from ._trouble import Refused

WORDS_OF_TEMPLATE = 4
"""Tokens that a chat template may write about a picture, such as the number of its tokens: a count
that differs from the plan by no more is the plan's."""
COUNT_SECONDS = 10.0
"""How long an answer waits for the count of its text, which was asked for beside it."""
_TICK = 0.02


class ServerPerformer:
    """A model on a server; satisfies `engine.BatchPerformer`. Any thread may use it.

    Parameters
    ----------
    client : Client
        Its address names the model.
    found : Capabilities
    info : ModelInfo
        With a ``server``.
    """

    def __init__(self, client: Client, found: Capabilities, info: types.ModelInfo) -> None:
        self._client, self._found, self._info = client, found, info
        self.at_once = max(1, info.server.at_once if info.server is not None else 1)
        self._slots = threading.BoundedSemaphore(self.at_once)
        self._counting = ThreadPoolExecutor(1, thread_name_prefix="pathreason-count")
        self._counts: dict[str, _Count] = {}
        self._lock = threading.Lock()

    @property
    def info(self) -> types.ModelInfo:
        """Name, box space, side of a token, and what the server lets its clients do."""
        return self._info

    @property
    def capabilities(self) -> Capabilities:
        """What was found out of the server."""
        return self._found

    def close(self) -> None:
        """End what is still counted; an answer on its way ends by its cancel."""
        for count in list(self._counts.values()):
            count.stop.set()
        self._counting.shutdown(wait=False, cancel_futures=True)

    def generate(
        self,
        prompt: types.Prompt,
        settings: types.GenerationSettings,
        cancel: threading.Event,
    ) -> Iterator[str | types.Completion]:
        """Stream the answer; see `engine.Performer.generate`.

        A cancel shuts the connection, by which servers know that nobody listens any more. Of a
        server that goes away in the middle, what it wrote is an answer that was broken off.

        Raises
        ------
        ModelError
            If the server cannot be reached, refuses the request or breaks off before it wrote.
        QueryError
            If the answer shall begin with words and the server cannot go on with them.
        ValueError
            If the messages hold not one image part for each picture.
        """
        yield from self._stream(prompt, settings, cancel)

    def generate_batch(
        self,
        prompts: Sequence[types.Prompt],
        settings: types.GenerationSettings,
        cancel: threading.Event,
    ) -> list[types.Completion]:
        """Answer several prompts, a few requests in flight; see `engine.BatchPerformer`.

        Errors as in `generate`: the first one ends all.
        """
        stop = _Either(cancel, threading.Event())

        def answer(prompt: types.Prompt) -> types.Completion:
            try:
                *_, last = self._stream(prompt, settings, stop)
            except BaseException:
                stop.own.set()
                raise
            if not isinstance(last, types.Completion):
                raise ModelError("the server stopped without ending its answer; ask again")
            return last

        with ThreadPoolExecutor(min(self.at_once, max(len(prompts), 1))) as pool:
            waiting = [pool.submit(answer, prompt) for prompt in prompts]
        errors = [one.exception() for one in waiting]
        for error in errors:
            if error is not None:
                raise error
        return [one.result() for one in waiting]

    def _stream(
        self, prompt: types.Prompt, settings: types.GenerationSettings, cancel: Flag
    ) -> Iterator[str | types.Completion]:
        began = time.perf_counter()
        body = self._body(prompt, settings)
        count = self._count(prompt.messages) if self._found.usage else None
        answer = _Answer(settings.begin)
        if settings.begin:
            yield settings.begin
        try:
            with self._slot(cancel):
                for chunk in () if cancel.is_set() else self._client.chat(body, cancel):
                    if piece := answer.add(chunk):
                        yield piece
        except BrokeOff:
            if not answer.text:
                raise
            answer.finish = "broken"
        except Refused as error:
            self._learn(error)
            raise
        finally:
            if count is not None and not answer.finish:  # cancelled, or it failed
                self._drop(count)
        if cancel.is_set() and not answer.finish:
            answer.finish = "cancelled"
        seconds = time.perf_counter() - began
        yield self._completion(prompt, answer, count, seconds)

    def _learn(self, error: Refused) -> None:
        """Remember what a refusal tells, so that the next question is asked otherwise."""
        if (most := error.most_pictures) is not None:
            keep(self._client.address, replace(self._found, pictures=max(most, 1)))
        elif error.names_fields:  # it may have been started otherwise: it is found out anew
            remember(self._client.address, PROBE, {})

    def _body(self, prompt: types.Prompt, settings: types.GenerationSettings) -> dict[str, Any]:
        found = self._found
        body: dict[str, Any] = {
            "messages": body_of(
                prompt.messages, prompt.pictures, near=self._client.address.is_here
            ),
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            **optional_fields(found),
        }
        if found.seed and settings.temperature > 0:
            body["seed"] = settings.seed
        if settings.begin:
            if not found.continues:
                raise QueryError(
                    "this server cannot go on with an answer that was begun; leave that out, or "
                    "ask a local model"
                )
            body["messages"].append({"role": "assistant", "content": settings.begin})
            body |= BEGUN
        else:
            body |= bound_to(found.structured, prompt.choices)
        if found.pixels:
            largest = max((height * width for height, width in prompt.shapes), default=0)
            body[found.pixels] = pixel_bounds(self._info.dims.token_px, largest)
        if found.counts:
            template = {"visual_tokens": sum(self._planned(prompt))}
            body["chat_template_kwargs"] = body.get("chat_template_kwargs", {}) | template
        return body

    def _planned(self, prompt: types.Prompt) -> list[int]:
        """Visual tokens of each picture, by its size."""
        side = self._info.dims.token_px
        return [max(1, round(height * width / side**2)) for height, width in prompt.shapes]

    def _completion(
        self,
        prompt: types.Prompt,
        answer: _Answer,
        count: _Count | None,
        seconds: float,
    ) -> types.Completion:
        planned = sum(self._planned(prompt))
        usage = answer.usage
        visual, prompt_tokens = planned, planned
        if usage is not None and usage.prompt > 0:
            prompt_tokens = usage.prompt
            visual = min(self._realised(prompt, usage.prompt, count, planned), prompt_tokens)
        return types.Completion(
            text=answer.whole,
            prompt_tokens=prompt_tokens,
            visual_tokens=visual,
            new_tokens=answer.pieces if usage is None else usage.written,
            finish=answer.finish or "stop",
            seconds=seconds,
            written=answer.written,
        )

    def _realised(
        self,
        prompt: types.Prompt,
        whole: int,
        count: _Count | None,
        planned: int,
    ) -> int:
        """Visual tokens that the pictures took: those of the prompt less those of its text."""
        try:
            text = None if count is None else count.tokens.result(COUNT_SECONDS)
        except Exception:  # the answer is there; its account is the plan's then
            text = None
        if text is None:
            if count is not None:
                self._drop(count)
            return planned
        pictures = len(prompt.pictures)
        measured = whole - text - self._found.marks * pictures
        if measured <= 0 or abs(measured - planned) <= WORDS_OF_TEMPLATE * pictures:
            return planned
        return measured

    def _count(self, messages: types.Messages) -> _Count:
        """Tokens of the text of messages, counted by the server, once for each wording."""
        text = without_pictures(messages)
        key = json.dumps(text)
        with self._lock:
            if key not in self._counts:
                stop = threading.Event()
                tokens = self._counting.submit(self._count_text, text, stop)
                self._counts[key] = _Count(key, tokens, stop)
            return self._counts[key]

    def _drop(self, count: _Count) -> None:
        """Count anew next time; what waits for the server waits no longer."""
        if not count.tokens.done() or count.tokens.cancelled() or count.tokens.exception():
            count.stop.set()
            with self._lock:
                self._counts.pop(count.key, None)

    def _count_text(self, text: types.Messages, stop: threading.Event) -> int | None:
        body = {
            "messages": body_of(text, ()),
            "max_tokens": 1,
            "temperature": 0.0,
            **optional_fields(self._found),
        }
        usage: Usage | None = None
        for chunk in self._client.chat(body, stop):
            usage = chunk.usage or usage
        return None if usage is None else usage.prompt

    @contextmanager
    def _slot(self, cancel: Flag) -> Iterator[None]:
        """One of the requests that may be in flight; a cancel does not wait for it."""
        held = False
        while not cancel.is_set() and not held:
            held = self._slots.acquire(timeout=_TICK)
        try:
            yield
        finally:
            if held:
                self._slots.release()


class _Count(NamedTuple):
    """A text whose tokens the server counts."""

    key: str
    tokens: Future[int | None]
    stop: threading.Event


class _Answer:
    """An answer as it grows, what the server put aside as its thinking back in its place."""

    def __init__(self, begin: str) -> None:
        self.text = begin
        self.finish: Literal["", "stop", "length", "cancelled", "broken"] = ""
        self.usage: Usage | None = None
        self.pieces = 0
        self._begin, self._content = begin, ""
        self._thinking = False
        self._tokens: list[types.TokenLogprobs] = []

    def add(self, chunk: Chunk) -> str:
        """Take a piece; return what it adds to the text."""
        self.usage = chunk.usage or self.usage
        self._tokens += chunk.tokens
        piece = ""
        if chunk.reasoning:
            piece = chunk.reasoning if self._thinking else f"<think>{chunk.reasoning}"
            self._thinking = True
        if chunk.text:
            piece += f"</think>{chunk.text}" if self._thinking else chunk.text
            self._thinking = False
            self._content += chunk.text
        if piece:
            self.pieces += 1
            self.text += piece
        if chunk.finish:
            self.finish = "length" if chunk.finish == "length" else "stop"
        return piece

    @property
    def whole(self) -> str:
        """All of it; where the prompt itself opened the thinking, with its beginning."""
        opened = "<think>" in self.text or "</think>" not in self.text
        return self.text if opened else f"<think>{self.text}"

    @property
    def written(self) -> tuple[types.TokenLogprobs, ...]:
        """Its tokens; none where the server tells none, or not those of what it wrote."""
        joined = "".join(token.text for token in self._tokens)
        if not self._tokens or self._content.strip() not in joined:
            return ()
        begin = (types.TokenLogprobs(((self._begin, 0.0),)),) if self._begin else ()
        return (*begin, *self._tokens)


class _Either:
    """Set as soon as one of two flags is."""

    def __init__(self, other: Flag, own: threading.Event) -> None:
        self._other, self.own = other, own

    def is_set(self) -> bool:
        return self.own.is_set() or self._other.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        end = None if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (end is None or time.monotonic() < end):
            self.own.wait(_TICK)
        return self.is_set()
