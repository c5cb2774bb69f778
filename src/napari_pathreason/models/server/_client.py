"""A thin client of one server: what it serves, and answers as they are written.

Each request has a thread that reads, so that whoever waits can give up at any time: the socket is
shut then, which tells the server at once. Nothing is sent anywhere but to the address itself: no
redirect is followed and no proxy of the environment is used.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from napari_pathreason.errors import ModelError
from napari_pathreason.types import TokenLogprobs

from ._address import Address
from ._trouble import died, foreign, refusal, said_in_stream, silent, unreachable

if TYPE_CHECKING:
    import httpx2

TIMEOUT = "PATHREASON_SERVER_TIMEOUT"
"""Environment variable: seconds that a server may say nothing; it may have to load the model."""
USUAL_TIMEOUT = 300.0
CONNECT_SECONDS = 10.0
BUSY = frozenset({429, 503})
"""Status of a server that may take the same request a little later."""
WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try of a request that met a busy server."""
LONGEST_WAIT = 30.0
_TICK = 0.02  # seconds between two checks of a cancel
_MOST_BODY = 20_000  # characters of an error


@dataclass(frozen=True, slots=True)
class Served:
    """A model that a server lists; ``context`` is its context length in tokens, if it says."""

    name: str
    context: int | None = None


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


class Flag(Protocol):
    """As much of `threading.Event` as an answer needs."""

    def is_set(self) -> bool:
        """Whether to stop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it."""


class BrokeOff(ModelError):
    """A server that stopped in the middle of an answer."""


def usual_timeout() -> float:
    """Seconds out of the environment, or the default."""
    with suppress(ValueError):
        if (seconds := float(os.environ.get(TIMEOUT, ""))) > 0:
            return seconds
    return USUAL_TIMEOUT


class Client:
    """Requests to one server; any thread may use it.

    Parameters
    ----------
    address : Address
    key : str
        Sent as a bearer token; empty for none.
    timeout : float, optional
        Seconds that the server may say nothing; of the environment if left out.
    waits : tuple of float
        See `WAITS`.
    """

    def __init__(
        self,
        address: Address,
        key: str = "",
        timeout: float | None = None,
        waits: tuple[float, ...] = WAITS,
    ) -> None:
        self.address = address
        self._key, self._waits = key, waits
        self._timeout = usual_timeout() if timeout is None else timeout

    def with_model(self, name: str) -> Client:
        """The same server, asked for a model by its name."""
        return Client(Address(self.address.url, name), self._key, self._timeout, self._waits)

    def models(self) -> tuple[Served, ...]:
        """What the server lists; empty where it lists nothing, as some cannot.

        Raises
        ------
        ModelError
            If it cannot be reached or refuses the key.
        """
        try:
            lines = list(self._lines("GET", "/models", None, threading.Event()))
            value = json.loads("\n".join(lines))
            listed = value["data"] if isinstance(value, dict) else []
            return tuple(
                Served(one["id"], _context(one))
                for one in listed
                if isinstance(one, dict) and isinstance(one.get("id"), str)
            )
        except ModelError as error:
            if getattr(error, "status", 0) >= 500:  # such as a server without a cache of models
                return ()
            raise
        except (ValueError, LookupError, TypeError):
            raise foreign(self.address) from None

    def chat(self, body: dict[str, Any], cancel: Flag) -> Iterator[Chunk]:
        """Ask, and give the answer piece by piece; ends without a word where it is cancelled.

        Parameters
        ----------
        body : dict
            Of the request, but for the model and that it streams.
        cancel : Flag

        Raises
        ------
        Refused
            If the server refuses the request.
        BrokeOff
            If it stops in the middle, or writes what cannot be read.
        ModelError
            If it cannot be reached, or says nothing for too long.
        """
        whole = {"model": self.address.model, "stream": True, **body}
        begun = ended = False
        for line in self._lines("POST", "/chat/completions", whole, cancel):
            if not (data := _data_of(line)):
                continue
            if data == "[DONE]":
                return
            try:
                value = json.loads(data)
            except ValueError:
                if begun:
                    raise self._broke_off() from None
                raise foreign(self.address) from None
            if not isinstance(value, dict):
                raise foreign(self.address)
            if error := said_in_stream(self.address, value):
                if begun:
                    raise self._broke_off() from error
                raise error
            for chunk in _chunks(value):
                begun = begun or bool(chunk.text or chunk.reasoning)
                ended = ended or bool(chunk.finish)
                yield chunk
        if not ended and not cancel.is_set():
            raise self._broke_off() if begun else died(self.address)

    def _broke_off(self) -> BrokeOff:
        return BrokeOff(
            f"the server {self.address.place} broke off in the middle of its answer; ask again, "
            "and look at its log if it comes back"
        )

    @cached_property
    def _http(self) -> httpx2.Client:
        import httpx2

        # a connection for each request: an aborted one is never used again
        limits = httpx2.Limits(max_keepalive_connections=0)
        wait = httpx2.Timeout(self._timeout, connect=CONNECT_SECONDS)
        secure = self.address.url.startswith("https:")  # else no certificates need to be read
        return httpx2.Client(limits=limits, timeout=wait, trust_env=False, verify=secure)

    def _lines(
        self, method: str, path: str, body: dict[str, Any] | None, cancel: Flag
    ) -> Iterator[str]:
        """Lines of the response, the request tried again while the server is busy."""
        for wait in (*self._waits, None):
            call = _Call(self, method, path, body)
            try:
                yield from call.lines(cancel)
                return
            except _Busy as busy:
                if wait is None:
                    raise busy.refused from None
                if cancel.wait(min(max(wait, busy.after), LONGEST_WAIT)):
                    return
            finally:
                call.abort()

    def send(self, call: _Call) -> None:
        """Make a request and hand its response over to the call, in the call's thread."""
        import httpx2

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            with self._http.stream(
                call.method,
                self.address.url + call.path,
                json=call.body,
                headers=headers,
                extensions={"trace": call.trace},
            ) as response:
                if response.status_code != 200:
                    words = response.read()[:_MOST_BODY].decode(errors="replace")
                    location = response.headers.get("location", "").partition("?")[0]
                    refused = refusal(self.address, response.status_code, words, location)
                    if response.status_code in BUSY:
                        call.put(_Busy(refused, _seconds(response.headers.get("retry-after"))))
                    else:
                        call.put(refused)
                    return
                for line in response.iter_lines():
                    call.put(line)
                call.put(None)
        except httpx2.ConnectError as error:
            call.put(unreachable(self.address, str(error)))
        except httpx2.ConnectTimeout:
            call.put(unreachable(self.address, "no answer"))
        except httpx2.TimeoutException:
            late = silent(self.address, self._timeout)
            call.put(BrokeOff(str(late)) if call.spoke else late)
        except (httpx2.TransportError, OSError):
            call.put(self._broke_off() if call.spoke else died(self.address))
        except Exception as error:  # a fault of ours must end the wait, not hang it
            call.put(error)


class _Busy(Exception):
    """A server that asks for patience; ``after`` is how many seconds, if it says."""

    def __init__(self, refused: ModelError, after: float) -> None:
        self.refused, self.after = refused, after


class _Call:
    """One request on its way: a thread that reads, and a way to end it from outside."""

    def __init__(self, client: Client, method: str, path: str, body: dict[str, Any] | None) -> None:
        self.method, self.path, self.body = method, path, body
        self.spoke = False
        self._socket: socket.socket | None = None
        self._aborted = False
        self._queue: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=client.send, args=(self,), daemon=True)

    def put(self, item: str | Exception | None) -> None:
        """A line, an error, or None at the end."""
        self.spoke = self.spoke or isinstance(item, str)
        self._queue.put(item)

    def trace(self, name: str, info: dict[str, Any]) -> None:
        """Note the socket as soon as there is one; called by the HTTP library."""
        if name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self._aborted:
                self.abort()

    def lines(self, cancel: Flag) -> Iterator[str]:
        """Lines as they come, until the end or a cancel."""
        self._thread.start()
        while not cancel.is_set():
            try:
                item = self._queue.get(timeout=_TICK)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item

    def abort(self) -> None:
        """Shut the socket, which wakes the thread and tells the server; again is harmless."""
        self._aborted = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _seconds(text: str | None) -> float:
    """Seconds of a Retry-After header; dates are left out."""
    return float(text) if text is not None and text.isdecimal() else 0.0


def _data_of(line: str) -> str:
    """What a line of a stream holds; a server that does not stream sends one line of JSON."""
    line = line.strip()
    if line.startswith("data:"):
        return line[5:].strip()
    return line if line.startswith(("{", "<")) else ""


def _chunks(value: dict[str, Any]) -> Iterator[Chunk]:
    """Pieces out of one message of a stream, or out of a whole answer."""
    usage = _usage(value.get("usage"))
    choices = value.get("choices") or [{}]  # the message that counts tokens has none
    first = choices[0] if isinstance(choices, list) and isinstance(choices[0], dict) else {}
    delta = first.get("delta") or first.get("message") or {}
    if not isinstance(delta, dict):
        return
    for field in ("reasoning_content", "reasoning"):
        if isinstance(thought := delta.get(field), str) and thought:
            yield Chunk(reasoning=thought, field=field)
            break  # some servers write it under both names
    text = delta.get("content")
    finish = first.get("finish_reason")
    yield Chunk(
        text if isinstance(text, str) else "",
        tokens=_logprobs(first.get("logprobs")),
        finish=finish if isinstance(finish, str) else "",
        usage=usage,
    )


def _usage(value: Any) -> Usage | None:
    try:
        return Usage(int(value["prompt_tokens"]), int(value.get("completion_tokens") or 0))
    except (TypeError, ValueError, LookupError, AttributeError):
        return None


def _logprobs(value: Any) -> tuple[TokenLogprobs, ...]:
    """Written tokens with their alternatives; empty where the server tells none."""
    try:
        listed = value["content"] or ()
        return tuple(map(_token, listed))
    except (TypeError, ValueError, LookupError):
        return ()


def _token(one: dict[str, Any]) -> TokenLogprobs:
    own = (str(one["token"]), float(one["logprob"]))
    others = tuple((str(t["token"]), float(t["logprob"])) for t in one.get("top_logprobs") or ())
    texts = [text for text, _ in others]
    if own[0] in texts:
        return TokenLogprobs(others, texts.index(own[0]))
    return TokenLogprobs((*others, own), len(others))


def _context(one: dict[str, Any]) -> int | None:
    """Context length of a listed model, as vLLM or llama.cpp say it."""
    meta = one.get("meta")
    inner = meta.get("n_ctx") if isinstance(meta, dict) else None
    for number in (one.get("max_model_len"), inner):
        if isinstance(number, int) and number > 0:
            return number
    return None
