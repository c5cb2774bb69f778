"""A performer and an allocator that live in a process of their own. No torch on this side."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType

from napari_pathreason.errors import ModelError
from napari_pathreason.types import Allocation, Completion

from ._host import Child, ChildGone
from ._remote import ProcessAllocator, ProcessPerformer
from ._wire import (
    Allocate,
    Cancel,
    Done,
    Failure,
    Generate,
    GenerateBatch,
    Load,
    Piece,
    Ready,
    Reply,
    Request,
)

PATIENCE = 0.8
"""Seconds a cancelled child has to answer before it is killed."""
_TICK = 0.02  # seconds between two looks at a cancel


class ModelProcess:
    """The models of `load_models`, served from a child process.

    Compute in a thread of the viewer's own process would stall it, and a forward pass cannot be
    interrupted from a thread; a process can be ended, which also gives its memory back. It starts
    at the first use (or `warm_up`), is started again at the next use after it died, and ends with
    `close`, with this object, or with the parent. Any thread may use it; requests wait for
    each other.

    Parameters
    ----------
    spec, device
        As for `load_models`; what is wrong with them is raised at the first use.
    threads : int
        CPU threads that it computes with; 0 leaves it to torch.
    offline : bool
        Take hub models from the cache alone, as with ``HF_HUB_OFFLINE``.
    """

    def __init__(
        self,
        model_id: str | Path = "embedded",
        device: str = "auto",
        *,
        threads: int = 0,
        offline: bool = False,
    ) -> None:
        self._load = Load(str(model_id), device, threads, offline)
        self._child: Child | None = None
        self._ready: Ready | None = None
        self._closed = False
        self._runs = itertools.count(1)
        self._state = threading.Lock()  # short: which child there is
        self._turn_lock = threading.Lock()  # long: whose request the child works on
        self._turn_thread: int | None = None

    def __enter__(self) -> ModelProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def performer(self) -> ProcessPerformer:
        """The performer; satisfies `engine.Performer`."""
        return ProcessPerformer(self)

    @property
    def allocator(self) -> ProcessAllocator:
        """The allocator; satisfies `engine.Allocator`."""
        return ProcessAllocator(self)

    @property
    def pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        child = self._child
        return child.pid if child is not None and child.alive else None

    def warm_up(self) -> None:
        """Start the child and return at once; it loads the model meanwhile.

        Raises
        ------
        ModelError
            If this is closed or no process can be started.
        """
        self._living_child()

    def close(self) -> None:
        """End the child; later use raises `ModelError`. Again is harmless."""
        with self._state:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.kill()

    def ready(self) -> Ready:
        """What the model says of itself; loads it first where that has not happened yet.

        Raises
        ------
        ModelError, OutOfMemoryError
            As `load_models` does, or if the process died.
        """
        if self._ready is None:
            with self._turn(None):
                self._loaded_child(None)
        if self._ready is None:
            raise ModelError("the model did not load; choose it again")
        return self._ready

    def generate(self, request: Generate, cancel: threading.Event) -> Iterator[str | Completion]:
        """Stream one answer; see `engine.Performer.generate`."""
        began, written, pieces = time.perf_counter(), "", 0
        done: Completion | None = None
        with self._turn(cancel) as mine:
            child = self._loaded_child(cancel) if mine else None
            if child is not None:
                with closing(self._replies(child, request, cancel)) as replies:
                    for reply in replies:
                        if isinstance(reply, Piece):
                            written, pieces = written + reply.text, pieces + 1
                            yield reply.text
                        elif isinstance(reply, Done) and isinstance(reply.value, Completion):
                            done = reply.value
        # the turn is over before the end is told: whoever takes the end may never come back.
        # No word from the model itself: cancelled before its turn, or it had to be killed
        yield done or Completion(written, 0, 0, pieces, "cancelled", time.perf_counter() - began)

    def generate_batch(self, request: GenerateBatch, cancel: threading.Event) -> list[Completion]:
        """Answers to a batch; see `engine.BatchPerformer.generate_batch`."""
        began = time.perf_counter()
        with self._turn(cancel) as mine:
            child = self._loaded_child(cancel) if mine else None
            for reply in self._replies(child, request, cancel) if child is not None else ():
                if isinstance(reply, Done) and isinstance(reply.value, list):
                    return reply.value
        # no word from the model: cancelled before its turn, or it had to be killed
        seconds = (time.perf_counter() - began) / max(len(request.pictures), 1)
        return [Completion("", 0, 0, 0, "cancelled", seconds) for _ in request.pictures]

    def allocate(self, request: Allocate) -> Allocation:
        """Allot a budget; see `engine.Allocator.allocate`."""
        never = threading.Event()
        with self._turn(None):
            child = self._loaded_child(None)
            for reply in self._replies(child, request, never) if child is not None else ():
                if isinstance(reply, Done) and isinstance(reply.value, Allocation):
                    return reply.value
        raise ModelError("the allocator gave no budget; choose a number of visual tokens instead")

    def next_run(self) -> int:
        """A number for the next request."""
        return next(self._runs)

    def _replies(
        self, child: Child, request: Request, cancel: threading.Event
    ) -> Generator[Reply, None, None]:
        """Replies to one request up to its `Done`; ends early only where a cancel killed it."""
        deadline: float | None = None
        ended = False
        child.send(request)
        try:
            while True:
                if cancel.is_set() and deadline is None:
                    child.send(Cancel(request.run))
                    deadline = time.monotonic() + PATIENCE
                if deadline is not None and time.monotonic() > deadline:
                    child.kill()
                    return
                reply = child.receive(_TICK)
                if reply is None or reply.run != request.run:
                    continue  # a late word of a run that was given up
                ended = isinstance(reply, Failure | Done)
                if isinstance(reply, Failure):
                    raise reply.error()
                yield reply
                if ended:
                    return
        except ChildGone as gone:
            if not cancel.is_set():
                raise self._died(gone) from gone
        finally:
            if not ended:
                child.send(Cancel(request.run))  # whoever read has given up

    def _loaded_child(self, cancel: threading.Event | None) -> Child | None:
        """A child that has its model, or None if cancelled before; only within a turn."""
        child = self._living_child()
        while not child.loaded:
            if cancel is not None and cancel.is_set():
                return None  # it goes on loading, for the next question
            try:
                reply = child.receive(_TICK)
            except ChildGone as gone:
                raise self._died(gone) from gone
            if isinstance(reply, Failure):
                child.kill()
                raise reply.error()
            if isinstance(reply, Ready):
                self._ready, child.loaded = reply, True
        return None if cancel is not None and cancel.is_set() else child

    def _living_child(self) -> Child:
        with self._state:
            if self._closed:
                raise ModelError("this model process was closed; choose the model again")
            if self._child is None or self._child.spent:
                self._child = Child(self._load)
            return self._child

    def _died(self, gone: ChildGone) -> ModelError:
        if self._closed:
            return ModelError("the model was closed while it was at work; choose it again")
        return ModelError(
            f"the model process {gone}; ask again, it starts anew; "
            "if that does not help, lower the budget or run: pathreason doctor"
        )

    @contextmanager
    def _turn(self, cancel: threading.Event | None) -> Iterator[bool]:
        """Wait for the child's attention; False if cancelled before."""
        if self._turn_thread == threading.get_ident():
            raise ModelError("the model is still answering; finish or close that answer first")
        while not self._turn_lock.acquire(timeout=_TICK):
            if cancel is not None and cancel.is_set():
                yield False
                return
        self._turn_thread = threading.get_ident()
        try:
            yield True
        finally:
            self._turn_thread = None
            self._turn_lock.release()
