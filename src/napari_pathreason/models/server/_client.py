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
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from napari_pathreason.errors import ModelError

from ._address import Address
from ._stream import DONE, Chunk, Unreadable, chunks_of, lines_of, messages_of
from ._trouble import (
    died,
    foreign,
    refusal,
    said_in_stream,
    silent,
    unreachable,
    withheld,
)

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
_AFTER_END = 2.0  # seconds for the account behind an answer that has ended
_TICK = 0.02  # seconds between two checks of a cancel
_MOST_BODY = 20_000  # bytes of an error
_MOST_WAITING = 1000  # lines that were read and nobody has taken yet
_ROOM = 10_000  # characters of an answer beside those of its tokens, after which it is cut
_CHARACTERS = 64  # of a token, at the most


@dataclass(frozen=True, slots=True)
class Served:
    """A model that a server lists; ``context`` is its context length in tokens, if it says."""

    name: str
    context: int | None = None


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
            value = json.loads("\n".join(lines).removeprefix("\ufeff"))
            listed = value["data"] if isinstance(value, dict) else value
            return tuple(
                Served(one["id"], _context(one))
                for one in listed
                if isinstance(one, dict) and isinstance(one.get("id"), str)
            )
        except ModelError as error:
            if getattr(error, "status", 0) >= 500:  # such as a server without a cache of models
                return ()
            raise
        except (ValueError, LookupError, TypeError, RecursionError):
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
            If it cannot be reached, or says nothing for too long: signs of life that are no piece
            of an answer are nothing.
        """
        whole = {"model": self.address.model, "stream": True, **body}
        room = _ROOM + _CHARACTERS * int(body.get("max_tokens", 0))
        begun = ended = False
        heard = time.monotonic()
        usual, late = self._patience, silent(self.address, self._timeout)
        lines = self._lines(
            "POST", "/chat/completions", whole, cancel, late, lambda: _AFTER_END if ended else usual
        )
        try:
            for value in messages_of(lines):
                if value is DONE:
                    return
                if value is None:
                    if ended and time.monotonic() - heard > _AFTER_END:
                        return
                    if time.monotonic() - heard > self._timeout:
                        raise BrokeOff(str(late)) if begun else late
                    continue
                if error := said_in_stream(self.address, value):
                    if begun:
                        raise self._broke_off() from error
                    raise error
                for chunk in chunks_of(value):
                    if chunk.finish == "content_filter":
                        raise BrokeOff(str(withheld(self.address)))
                    if chunk.finish == "error":
                        raise self._broke_off()
                    if chunk.text or chunk.reasoning:
                        begun, heard = True, time.monotonic()
                    ended = ended or bool(chunk.finish)
                    room -= len(chunk.text) + len(chunk.reasoning)
                    yield chunk
                    if room < 0:  # it heeds no bound
                        yield Chunk(finish="length")
                        return
        except Unreadable:
            raise (self._broke_off() if begun else foreign(self.address)) from None
        except ModelError as error:
            if error is not late or not ended:  # an answer that has ended wants no last line
                raise
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

    @property
    def _patience(self) -> float:
        """Seconds without a line; the HTTP library itself must be late first."""
        return self._timeout + 2 * CONNECT_SECONDS

    def _lines(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        cancel: Flag,
        late: ModelError | None = None,
        patience: Callable[[], float] | None = None,
    ) -> Iterator[str]:
        """Lines of the response, the request tried again while the server is busy.

        ``late`` is raised after ``patience`` seconds without one, which may change on the way.
        """
        late = late or silent(self.address, self._timeout)
        patience = patience or (lambda: self._patience)
        for wait in (*self._waits, None):
            call = _Call(self, method, path, body)
            try:
                yield from call.lines(cancel, patience, late)
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
                    words = _beginning(response.iter_bytes()).decode(errors="replace")
                    location = response.headers.get("location", "").partition("?")[0]
                    refused = refusal(self.address, response.status_code, words, location)
                    if response.status_code in BUSY:
                        call.put(_Busy(refused, _seconds(response.headers.get("retry-after"))))
                    else:
                        call.put(refused)
                    return
                for line in lines_of(response.iter_bytes()):
                    call.put(line)
                call.put(None)
        except httpx2.ConnectError as error:
            call.put(unreachable(self.address, str(error)))
        except httpx2.ConnectTimeout:
            call.put(unreachable(self.address, "no answer"))
        except httpx2.TimeoutException:
            late = silent(self.address, self._timeout)
            call.put(BrokeOff(str(late)) if call.spoke else late)
        except (httpx2.RequestError, OSError):
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
        self._queue: queue.Queue[str | Exception | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=client.send, args=(self,), daemon=True)

    def put(self, item: str | Exception | None) -> None:
        """A line, an error, or None at the end."""
        self.spoke = self.spoke or isinstance(item, str)
        while not self._aborted:  # a server that writes faster than anybody reads must wait
            with suppress(queue.Full):
                self._queue.put(item, timeout=_TICK)
                return

    def trace(self, name: str, info: dict[str, Any]) -> None:
        """Note the socket as soon as there is one; called by the HTTP library."""
        if name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self._aborted:
                self.abort()

    def lines(self, cancel: Flag, patience: Callable[[], float], late: Exception) -> Iterator[str]:
        """Lines as they come, until the end or a cancel; ``late`` is raised where none does."""
        self._thread.start()
        last = time.monotonic()
        while not cancel.is_set():
            try:
                item = self._queue.get(timeout=_TICK)
            except queue.Empty:
                if time.monotonic() > last + patience():  # bytes may come that make no line
                    raise late from None
                continue
            last = time.monotonic()
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


def _beginning(content: Iterable[bytes]) -> bytes:
    """As much of a body as an error needs; the rest is not waited for."""
    read = b""
    for some in content:
        read += some
        if len(read) >= _MOST_BODY:
            break
    return read[:_MOST_BODY]


def _seconds(text: str | None) -> float:
    """Seconds of a Retry-After header; dates are left out."""
    return float(text) if text is not None and text.isdecimal() else 0.0


def _context(one: dict[str, Any]) -> int | None:
    """Context length of a listed model, as vLLM or llama.cpp say it."""
    meta = one.get("meta")
    inner = meta.get("n_ctx") if isinstance(meta, dict) else None
    for number in (one.get("max_model_len"), inner):
        if isinstance(number, int) and number > 0:
            return number
    return None
