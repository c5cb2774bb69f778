"""One child process as its parent sees it: started, listened to, reaped. No torch."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import weakref
from queue import Empty, SimpleQueue
from typing import BinaryIO

from napari_pathreason.errors import ModelError

from ._wire import Load, Reply, Wire

Inbox = SimpleQueue["Reply | None"]


class ChildGone(Exception):
    """The child process has ended; the text says how."""


class Child:
    """A model process; ended when this object goes, and with the parent in any case.

    Started as ``python -m`` through `subprocess`, not by `multiprocessing`: that one imports the
    user's ``__main__`` again in the child, which runs a script without a guard a second time and
    loads napari for nothing. Requests and replies go through stdin and stdout, so that the end of
    the pipe tells either side that the other is gone.

    Raises
    ------
    ModelError
        If no process can be started.
    """

    def __init__(self, load: Load) -> None:
        self.loaded = False
        """Whether it has said that it is ready; set by whoever hears it."""
        self._over = False
        self._errors: BinaryIO = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                # -P: a file in the user's current folder must not pass for a library
                [sys.executable, "-P", "-m", f"{__package__}._server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            self._errors.close()
            raise ModelError(
                f"the model process cannot be started ({type(error).__name__}); "
                "close other programs and try again"
            ) from error
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ModelError("the model process has no pipes; start napari again")
        self._wire = Wire(stdout, stdin)  # type: ignore[arg-type]
        self._inbox: Inbox = SimpleQueue()
        self._listener = threading.Thread(
            target=_listen, args=(self._wire, self._process, self._inbox), daemon=True
        )
        self._listener.start()
        # no reference to self in the thread or here: letting go of the child must end it
        self._end = weakref.finalize(self, _end, self._process, self._listener, self._errors)
        self.send(load)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def spent(self) -> bool:
        """Whether nothing more can come of it; while it loads, that is known by listening only."""
        return self._over or (self.loaded and not self.alive)

    def send(self, message: object) -> None:
        """Hand a message over; a child that is gone says so at the next `receive`."""
        try:
            self._wire.send(message)
        except (OSError, ValueError):
            pass

    def receive(self, timeout: float) -> Reply | None:
        """Next reply, or None after ``timeout`` seconds.

        Raises
        ------
        ChildGone
            If there is none and never will be.
        """
        try:
            reply = self._inbox.get(timeout=timeout)
        except Empty:
            return None
        if reply is None:
            self._inbox.put(None)  # for whoever asks again
            self._over = True
            raise ChildGone(self._how_it_ended())
        return reply

    def kill(self) -> None:
        """End the process now and wait until it is gone; again is harmless."""
        self._over = True
        self._end()

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"was ended by signal {-code}, often for want of memory"
        try:
            self._errors.seek(0)
            lines = self._errors.read()[-4096:].decode(errors="replace").split("\n")
        except ValueError:  # closed: this side ended it
            return "was closed"
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        return f"stopped with exit code {code} ({last})"


def _listen(wire: Wire, process: subprocess.Popen[bytes], inbox: Inbox) -> None:
    while True:
        try:
            inbox.put(wire.receive())
        except EOFError:
            process.wait()  # reaped here, so that one that dies idle leaves no zombie
            inbox.put(None)
            return


def _end(process: subprocess.Popen[bytes], listener: threading.Thread, errors: BinaryIO) -> None:
    process.kill()
    process.wait()
    if listener is not threading.current_thread():
        listener.join(timeout=1)
    for stream in (process.stdin, process.stdout, errors):
        try:
            if stream is not None:
                stream.close()
        except OSError:  # what was never flushed cannot be
            pass
