"""A server whose responses are given byte for byte, for what no well-behaved one would write."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Reply = bytes | Iterable[bytes]
MODELS = {"object": "list", "data": [{"id": "m", "object": "model"}]}


@dataclass
class RawServer:
    """A running server.

    Attributes
    ----------
    chat, models : bytes, or callable that gives them or pieces of them
        The whole response to a question, its status line and headers included, and to the list.
    url : str
        Base of its API.
    heads, bodies : list
        Of the requests to the chat so far.
    ended : threading.Event
        Set when the server ends; a reply may wait for it.
    """

    chat: bytes | Callable[[], Reply]
    models: bytes | Callable[[], Reply]
    url: str = ""
    heads: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


def response(
    body: bytes | str,
    kind: str = "text/event-stream",
    status: str = "200 OK",
    *headers: str,
) -> bytes:
    """A response that ends where the connection does."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + data


def as_json(value: Any, status: str = "200 OK", indent: int | None = None) -> bytes:
    """A response of JSON."""
    return response(json.dumps(value, indent=indent), "application/json", status)


@contextmanager
def raw_serving(
    chat: bytes | Callable[[], Reply] = b"",
    models: bytes | Callable[[], Reply] | None = None,
    host: str = "127.0.0.1",
    certificate: Path | None = None,
) -> Iterator[RawServer]:
    """Run a server on a free port of ``host``; by TLS where it has a certificate and key."""
    fake = RawServer(chat, as_json(MODELS) if models is None else models)
    kind = type("_Tcp", (socketserver.ThreadingTCPServer,), {"daemon_threads": True})
    if ":" in host:
        kind.address_family = __import__("socket").AF_INET6
    server = kind((host, 0), _Handler)
    server.fake = fake
    server.tls = None
    if certificate is not None:
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.load_cert_chain(certificate)
    shown = f"[{host}]" if ":" in host else host
    scheme = "http" if certificate is None else "https"
    fake.url = f"{scheme}://{shown}:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # of a client that goes away
            if self.server.tls is not None:
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)
                self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb")
            self._answer()

    def _answer(self) -> None:
        fake: RawServer = self.server.fake
        lines: list[str] = []
        while line := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
            lines.append(line)
        if not lines:
            return
        sizes = [int(x.split(":")[1]) for x in lines if x.lower().startswith("content-length:")]
        body = self.rfile.read(sizes[0]) if sizes else b""
        reply: Any = fake.models
        if "/chat/completions" in lines[0]:
            fake.heads.append("\n".join(lines))
            fake.bodies.append(json.loads(body))
            reply = fake.chat
        reply = reply() if callable(reply) else reply
        for piece in [reply] if isinstance(reply, bytes) else reply:
            self.wfile.write(piece)
            self.wfile.flush()
