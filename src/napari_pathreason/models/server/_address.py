"""Addresses of servers: ``http://host:8000/v1``, and ``#name`` where there are several models."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from napari_pathreason.errors import ModelError

SCHEMES = ("http://", "https://")
EXAMPLE = "http://127.0.0.1:8000/v1"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model is served.

    Parameters
    ----------
    url : str
        Base of the API, without a slash at its end.
    model : str
        By which the server knows the model; empty where it has only one.
    """

    url: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.url}#{self.model}" if self.model else self.url

    @property
    def host(self) -> str:
        """Name or number of the machine."""
        return urlsplit(self.url).hostname or ""

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc

    @property
    def is_here(self) -> bool:
        """Whether that is this machine, so that no pixel leaves it."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def digest(self) -> str:
        """SHA-256 that tells this model of this server from others without naming either."""
        return hashlib.sha256(f"server {self}".encode()).hexdigest()


def is_address(model_id: str | Path) -> bool:
    """Whether what a user calls a model is the address of a server."""
    return isinstance(model_id, str) and model_id.strip().lower().startswith(SCHEMES)


def parse_address(text: str) -> Address:
    """Read an address from user input.

    Raises
    ------
    ModelError
        If it names no host, or holds what does not belong into an address, such as a key.
    """
    remedy = f"give one such as {EXAMPLE}, with #NAME behind it where there are several models"
    base, _, model = text.strip().partition("#")
    try:
        parts = urlsplit(base)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ModelError(f"the address of the server is not understood; {remedy}") from None
    if not is_address(text) or not host or port == 0:
        raise ModelError(f"the address of the server is not understood; {remedy}")
    if parts.username is not None or parts.query:
        raise ModelError(
            "a key, a password or a query does not belong into the address of a server; set "
            "PATHREASON_API_KEY to its key, and give the address without what stands behind the "
            "path and before the host"
        )
    return Address(_clean(parts), model.strip())


def _clean(parts: SplitResult) -> str:
    """The base of the API, however much of a request's own path was copied with it."""
    path = parts.path.rstrip("/").removesuffix("/chat/completions").removesuffix("/models")
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{path.rstrip('/')}"
