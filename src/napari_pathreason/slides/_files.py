"""Positioned reads of a file, and which failures of it pass.

A file server that is busy or a disk that is woken is no damage of a slide: such a read is tried
again, and then raised, so that nothing is stored of it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TypeVar

from napari_pathreason.errors import SlideError

T = TypeVar("T")

CLOSED = "the slide was closed; open it again"
_NAMES = (
    *("EIO", "EMFILE", "ENFILE", "ESTALE", "EAGAIN", "EBUSY", "ETIMEDOUT", "EINTR", "ENOMEM"),
    *("ENODEV", "ENXIO", "EREMOTEIO", "ECONNRESET", "ECONNABORTED", "EHOSTDOWN", "EHOSTUNREACH"),
    *("ENETDOWN", "ENETUNREACH", "ENOTCONN", "EPIPE", "EACCES", "EPERM"),
)
PASSING = {getattr(errno, name) for name in _NAMES if hasattr(errno, name)}
"""Errors of a disk, a network or a full table: they say nothing of the file's content."""
PAUSES = (0.05, 0.2, 0.5)
"""Seconds before each new try."""


def patient(read: Callable[[], T], name: str) -> T:
    """Result of a read that is tried again where a passing error ends it.

    Raises
    ------
    SlideError
        If it fails every time.
    OSError
        Of another kind, at once.
    """
    for pause in (*PAUSES, None):
        try:
            return read()
        except OSError as error:
            if error.errno not in PASSING:
                raise
            if pause is None:
                raise SlideError(
                    f"{name} could not be read just now ({os.strerror(error.errno or 0)}); check "
                    "the disk or the network, then go on"
                ) from error
            time.sleep(pause)
    raise AssertionError("the loop ends in the last try")


class PositionedFile:
    """Reads at an offset from several threads; `os.pread` where the system has it."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file = path.open("rb", buffering=0)
        self._lock = Lock()
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, count: int, offset: int) -> bytes:
        """Bytes at an offset, fewer only where the file ends.

        Raises
        ------
        SlideError
            If the file was closed, or cannot be read now.
        """
        if offset < 0 or count < 0 or offset > self.size:
            return b""  # a damaged table
        count = min(count, self.size - offset)
        data = self._some(count, offset)
        while len(data) < count:  # a signal, or a server that answers in parts
            more = self._some(count - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def _some(self, count: int, offset: int) -> bytes:
        return patient(lambda: self._once(count, offset), self.name)

    def _once(self, count: int, offset: int) -> bytes:
        try:
            if hasattr(os, "pread"):
                return os.pread(self._file.fileno(), count, offset)
            with self._lock:
                self._file.seek(offset)
                return self._file.read(count) or b""
        except ValueError:
            raise SlideError(CLOSED) from None

    def close(self) -> None:
        """Release the file."""
        self._file.close()
