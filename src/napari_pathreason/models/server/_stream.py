"""What a server writes, from bytes to pieces of an answer, whatever it writes.

Servers stream events (SSE), some answer in one piece of JSON, and some write what is neither. Lines
and messages have a bound, and what is no text, number or probability is left out.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from napari_pathreason.types import TokenLogprobs

MOST_LINE = 1 << 26
"""Characters of a line or message, at the most; a list of a million models has fewer."""
LEAST_LOGPROB = -9999.0
"""In place of minus infinity."""
_END = re.compile(r"\r\n|\n|\r(?!$)")
_FIELD = re.compile(r"(event|id|retry)?:")


DONE: dict[str, Any] = {}
"""The message by which a server says that its answer is whole."""


class Unreadable(Exception):
    """What a server wrote is no message of an answer."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counts them."""

    prompt: int
    written: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer.

    ``reasoning`` is text that the server took out of ``text``, ``field`` where it put it;
    ``finish`` is set in the last piece of text.
    """

    text: str = ""
    reasoning: str = ""
    field: str = "content"
    tokens: tuple[TokenLogprobs, ...] = ()
    finish: str = ""
    usage: Usage | None = None


def lines_of(content: Iterable[bytes]) -> Iterator[str]:
    r"""Lines out of the bytes of a response, which end at ``\n``, ``\r\n`` or ``\r`` alone.

    What else Python takes for the end of a line may stand within a text of JSON.

    Raises
    ------
    Unreadable
        If a line is longer than any that can be meant.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest: list[str] = []
    length, held = 0, ""
    for some in content:
        text = held + decoder.decode(some)
        held = ""
        if text.endswith("\r"):  # the next bytes may begin with the other half of the end
            text, held = text[:-1], "\r"
        *whole, last = _END.split(text)
        for line in whole:
            yield "".join((*rest, line))
            rest, length = [], 0
        rest.append(last)
        length += len(last)
        if length > MOST_LINE:
            raise Unreadable
    if line := "".join((*rest, decoder.decode(b"", True))):
        yield line


def messages_of(lines: Iterable[str]) -> Iterator[dict[str, Any] | None]:
    """Messages out of the lines of a response, each as soon as it is whole.

    One may stand in several lines: as an event does by the rules of SSE, or as JSON that is
    written out for readers.

    Yields
    ------
    dict or None
        None where a line says nothing, so that whoever listens notes the time; `DONE` where the
        server says that it has ended.

    Raises
    ------
    Unreadable
        If something else stands there.
    """
    pending: list[str] = []
    event = False
    for number, raw in enumerate(lines):
        line = raw.removeprefix("\ufeff") if number == 0 else raw
        if line.startswith("data:"):
            event, data = True, line[5:].removeprefix(" ")
            if data.strip() == "[DONE]":
                yield DONE
                return
        elif not line.strip() and event and pending:  # an event ends so
            yield _message(pending)
            continue
        elif not line.strip() or _FIELD.match(line):
            yield None
            continue
        elif event or (not pending and line.strip()[0] != "{"):
            raise Unreadable
        else:
            data = line
        pending.append(data)
        first_or_last = len(pending) == 1 or data.startswith("}")  # as it is written for readers
        if first_or_last and (value := _message(pending, whole=False)) is not None:
            yield value
        else:
            yield None
    if pending:
        yield _message(pending)


def _message(pending: list[str], whole: bool = True) -> dict[str, Any] | None:
    """The message that lines hold, which are then taken away; None where there is more to come.

    Raises
    ------
    Unreadable
        If it is none, or ``whole`` and more would have to come.
    """
    if sum(map(len, pending)) > MOST_LINE:
        raise Unreadable
    try:
        value = json.loads("\n".join(pending))
    except (ValueError, RecursionError):
        if whole:
            raise Unreadable from None
        return None
    if not isinstance(value, dict):
        raise Unreadable
    pending.clear()
    return value


def chunks_of(value: dict[str, Any]) -> Iterator[Chunk]:
    """Pieces out of one message of a stream, or out of a whole answer."""
    usage = _usage(value.get("usage"))
    choices = value.get("choices") or [{}]  # the message that counts tokens has none
    first = choices[0] if isinstance(choices, list) and isinstance(choices[0], dict) else {}
    delta = first.get("delta") or first.get("message") or {}
    if not isinstance(delta, dict):
        return
    for field in ("reasoning_content", "reasoning"):
        if thought := _text(delta.get(field)):
            yield Chunk(reasoning=thought, field=field)
            break  # some servers write it under both names
    finish = first.get("finish_reason")
    yield Chunk(
        _text(delta.get("content")),
        tokens=_logprobs(first.get("logprobs")),
        finish=finish if isinstance(finish, str) else "",
        usage=usage,
    )


def _text(value: Any) -> str:
    """A text, or the texts of a list of parts; halves of characters become question marks."""
    if isinstance(value, list):
        parts = (part.get("text") if isinstance(part, dict) else part for part in value)
        value = "".join(part for part in parts if isinstance(part, str))
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _usage(value: Any) -> Usage | None:
    try:
        prompt, written = value["prompt_tokens"], value.get("completion_tokens")
        counts = int(prompt), int(written or 0)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError):
        return None
    return Usage(*counts) if min(counts) >= 0 else None


def _logprobs(value: Any) -> tuple[TokenLogprobs, ...]:
    """Written tokens with their alternatives; empty where the server tells none, or no such."""
    try:
        return tuple(map(_token, value["content"] or ()))
    except (TypeError, ValueError, LookupError):
        return ()


def _token(one: dict[str, Any]) -> TokenLogprobs:
    own = _alternative(one)
    others = tuple(map(_alternative, one.get("top_logprobs") or ()))
    texts = [text for text, _ in others]
    if own[0] in texts:
        return TokenLogprobs(others, texts.index(own[0]))
    return TokenLogprobs((*others, own), len(others))


def _alternative(one: dict[str, Any]) -> tuple[str, float]:
    """A token and the logarithm of its probability.

    Raises
    ------
    ValueError
        If that is none.
    """
    value = float(one["logprob"])
    if math.isnan(value) or value > 0.01:  # rounded up at the most
        raise ValueError
    return _text(one["token"]), min(max(value, LEAST_LOGPROB), 0.0)
