"""The border to terminal and pipes: what leaves cannot steer them, nor can their end change a run.

A reader that has seen enough, such as ``head``, a stream that was closed from the start or a disk
that is full never ends the work; only a disk that could not hold the words is an error, behind it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TextIO

from napari_pathreason.errors import STEERING

_UP = "\x1b[A"
"""By which progress bars go back to their line; let through where nothing else is written."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM, SIGHUP): as Ctrl-C, but with a code of its own."""


class Stream(io.TextIOBase):
    """stdout or stderr, for the time of a command.

    Parameters
    ----------
    stream : text stream or None
        None where it was closed before this process began.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._ended = stream is None
        self.failed = ""

    def write(self, text: str) -> int:
        """Write what is left when all that could steer a terminal is replaced."""
        if not self._ended and self._stream is not None:
            with self._surviving():
                self._stream.write(_harmless(text))
        return len(text)

    def flush(self) -> None:
        """Have it written."""
        if not self._ended and self._stream is not None:
            with self._surviving():
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether people read it."""
        return not self._ended and self._stream is not None and self._stream.isatty()

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """Of the stream below."""
        if self._stream is None:
            raise OSError("the stream is closed")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream below."""
        return "utf-8" if self._stream is None else self._stream.encoding

    @property
    def buffer(self) -> Any:
        """Of the stream below."""
        return None if self._stream is None else self._stream.buffer

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._end()
        except OSError as error:
            self.failed = error.strerror or type(error).__name__
            self._end()
        except ValueError:  # closed by somebody else
            self._ended = True

    def _end(self) -> None:
        """Leave the rest unsaid; what is buffered must not fail once more when Python ends."""
        self._ended = True
        with suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)


@contextmanager
def guarded() -> Iterator[tuple[Stream, Stream]]:
    """Put a `Stream` before stdout and before stderr."""
    _fill_closed()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):  # a narrow encoding is no reason to fail
            stream.reconfigure(errors="replace")
    streams = Stream(before[0]), Stream(before[1])
    sys.stdout, sys.stderr = streams
    try:
        yield streams
    finally:
        for stream in streams:  # a pipe that was closed shows here, not at exit
            stream.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def ends_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does: what is done is kept, with a line."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated(number)

    wanted = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    # what was ignored, as by nohup, stays so
    taken = [one for one in wanted if one is not None and signal.getsignal(one) == signal.SIG_DFL]
    for one in taken:
        signal.signal(one, end)
    try:
        yield
    finally:
        for one in taken:
            signal.signal(one, signal.SIG_DFL)


def _harmless(text: str) -> str:
    if text and not text.replace(_UP, ""):
        return text
    first, rest = ("\r", text[1:]) if text.startswith("\r") else ("", text)  # of a line of progress
    return first + STEERING.sub(_shown, rest)


def _shown(found: Any) -> str:
    one = str(found.group())
    return one if one in "\n\t" else "\N{REPLACEMENT CHARACTER}"


def _fill_closed() -> None:
    """Let no file that is opened later take the number of a stream that was closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
