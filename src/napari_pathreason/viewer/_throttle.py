"""How often to do what takes long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 0.05
"""Share of the time that may go into it."""


class Throttle:
    """Work that is put off until it is a small share of the time that has gone by."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        """Whether it may be done now."""
        return time.perf_counter() >= self._next

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Do it; the next time comes the later, the longer it takes."""
        began = time.perf_counter()
        yield
        now = time.perf_counter()
        self._next = now + (now - began) / SHARE
