"""A performer and an allocator that live in a process of their own. No torch on this side."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_pathreason import types
from napari_pathreason.engine import Policy
from napari_pathreason.errors import ModelError
from napari_pathreason.models import Fetched, TextWindows, UnloadedWindows, find_windows

from . import _wire
from ._child import Child, ChildGone

GRACE_SECONDS = 0.8
"""Seconds a cancelled child has to answer before it is killed."""
_TICK = 0.02  # seconds between two checks of a cancel
_NEVER = threading.Event()  # of a request that nobody can cancel


class ModelProcess:
    """The models of `load_models`, served from a child process.

    Compute in a thread of the viewer's own process would stall it, and a forward pass cannot be
    interrupted from a thread; a process can be ended, which also gives its memory back. It starts
    at the first use (or `warm_up`), is started again at the next use after it died, and ends with
    `close`, with this object, or with the parent. Any thread may use it; requests wait for
    each other.

    Parameters
    ----------
    model_id, device
        As for `load_models`; what is wrong with them is raised at the first use.
    threads : int
        CPU threads that it computes with; 0 leaves it to torch.
    offline : bool
        Take hub models from the cache alone, as with ``HF_HUB_OFFLINE``.
    encoder : {"exact", "fast", "openvino"}
        See `load_models`.
    precision : Precision
        What the weights are loaded as.
    """

    def __init__(
        self,
        model_id: str | Path = "embedded",
        device: str = "auto",
        *,
        threads: int = 0,
        offline: bool = False,
        encoder: types.Encoder = "exact",
        precision: types.Precision = "auto",
    ) -> None:
        self._load = _wire.Load(str(model_id), device, threads, offline, encoder, precision)
        self._child: Child | None = None
        self._ready: _wire.Ready | None = None
        self._windows: Policy | None = None
        self._has_windows = False  # whether it was looked for
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
    def windows(self) -> Policy | None:
        """See `ProcessAllocator.windows`; read once the model has been loaded."""
        if not self._has_windows:
            self.ready()
            found: Policy | None = find_windows(self._load.model_id)
            if isinstance(found, UnloadedWindows):
                found = TextWindows(ProcessWriter(self), found.form)
            self._windows, self._has_windows = found, True
        return self._windows

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

    def loading(self, cancel: threading.Event) -> Generator[Fetched, None, None]:
        """Wait until the model is loaded.

        Yields
        ------
        Fetched
            How far its download is, where it was not on this machine; the first tells its size.
            A cancel ends that at once, and what has come stays for the next time.

        Raises
        ------
        ModelError, OutOfMemoryError
            As `ready`.
        """
        with self._turn(cancel) as is_ours:
            if is_ours:
                yield from self._loading(self._living_child(), cancel)

    def ready(self) -> _wire.Ready:
        """What the model says of itself; loads it first where that has not happened yet.

        Raises
        ------
        ModelError, OutOfMemoryError
            As `load_models` does, or if the process died.
        """
        if self._ready is None:
            with self._turn(_NEVER):
                self._loaded_child(_NEVER)
        if self._ready is None:
            raise ModelError("the model did not load; choose it again")
        return self._ready

    def next_run(self) -> int:
        """A number for the next request."""
        return next(self._runs)

    def replies(
        self, request: _wire.Request, cancel: threading.Event
    ) -> Generator[_wire.Piece | _wire.Done, None, None]:
        """Hand a request over, once it is its turn, and pass its replies on up to `Done`.

        There is no `Done` where it was cancelled before its turn, or the child had to be killed.

        Raises
        ------
        ModelError, OutOfMemoryError
            If the model cannot be loaded or its process died, or what it met itself.
        """
        with self._turn(cancel) as is_ours:
            child = self._loaded_child(cancel) if is_ours else None
            if child is None:
                return
            deadline, ended = None, False
            child.send(request)
            try:
                while not ended:
                    if cancel.is_set() and deadline is None:
                        child.send(_wire.Cancel(request.run))
                        deadline = time.monotonic() + GRACE_SECONDS
                    if deadline is not None and time.monotonic() > deadline:
                        child.kill()
                        return
                    reply = child.receive(_TICK)
                    if reply is None or reply.run != request.run:
                        continue  # a late word of a run that was given up
                    ended = isinstance(reply, _wire.Failure | _wire.Done)
                    if isinstance(reply, _wire.Failure):
                        raise reply.error()
                    if not isinstance(reply, _wire.Ready | _wire.Fetching):
                        yield reply
            except ChildGone as gone:
                if not cancel.is_set():
                    raise self._died(gone) from gone
            finally:
                if not ended:
                    child.send(_wire.Cancel(request.run))  # whoever read has given up

    def answer(
        self, request: _wire.Request, cancel: threading.Event
    ) -> types.Completion | list[types.Completion] | types.Allocation | None:
        """What the `Done` of a request holds; None without one, errors as `replies`."""
        value = None
        for reply in self.replies(request, cancel):
            if isinstance(reply, _wire.Done):
                value = reply.value
        return value

    def _loaded_child(self, cancel: threading.Event) -> Child | None:
        """A child that has its model, or None if cancelled before; only within a turn."""
        child = self._living_child()
        for _ in self._loading(child, cancel):
            pass
        return None if cancel.is_set() else child

    def _loading(self, child: Child, cancel: threading.Event) -> Generator[Fetched, None, None]:
        """Listen to a child until it has its model, or a cancel; only within a turn."""
        downloads = False
        while not child.loaded:
            if cancel.is_set():
                if downloads:
                    child.kill()
                return  # else it goes on loading, for the next question
            try:
                reply = child.receive(_TICK)
            except ChildGone as gone:
                raise self._died(gone) from gone
            if isinstance(reply, _wire.Failure):
                child.kill()
                raise reply.error()
            if isinstance(reply, _wire.Fetching):
                downloads = reply.progress.done < reply.progress.total
                yield reply.progress
            if isinstance(reply, _wire.Ready):
                self._ready, child.loaded = reply, True

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
    def _turn(self, cancel: threading.Event) -> Iterator[bool]:
        """Wait for the child's attention; False if cancelled before."""
        if self._turn_thread == threading.get_ident():
            raise ModelError("the model is still answering; finish or close that answer first")
        while not self._turn_lock.acquire(timeout=_TICK):
            if cancel.is_set():
                yield False
                return
        self._turn_thread = threading.get_ident()
        try:
            yield True
        finally:
            self._turn_thread = None
            self._turn_lock.release()


class _Speaker:
    """What a `ModelProcess` writes by one kind of request; satisfies `engine.Performer`."""

    _request: ClassVar[type[_wire.Generate | _wire.Write]]

    def __init__(self, process: ModelProcess) -> None:
        self._process = process

    @property
    def info(self) -> types.ModelInfo:
        """What the model says of itself; the first time waits until it is loaded."""
        return self._process.ready().info

    def generate(
        self,
        prompt: types.Prompt,
        settings: types.GenerationSettings,
        cancel: threading.Event,
    ) -> Iterator[str | types.Completion]:
        """Stream the answer; see `engine.Performer.generate`.

        A cancel reaches the child within one token; a child that does not answer it within
        `GRACE_SECONDS` is killed, and its Completion then counts pieces of text, not tokens.

        Raises
        ------
        ModelError
            If the model cannot be loaded or its process died; the next question starts it again.
        OutOfMemoryError
            If the device cannot hold the pictures.
        """
        request = self._request(self._process.next_run(), prompt, settings)
        yield from _streamed(self._process, request, cancel)


class ProcessPerformer(_Speaker):
    """The performer of a `ModelProcess`; satisfies `engine.BatchPerformer`."""

    _request = _wire.Generate

    def generate_batch(
        self,
        prompts: Sequence[types.Prompt],
        settings: types.GenerationSettings,
        cancel: threading.Event,
    ) -> list[types.Completion]:
        """Answer several prompts; see `engine.BatchPerformer`, cancel as `generate`."""
        began = time.perf_counter()
        request = _wire.GenerateBatch(self._process.next_run(), prompts, settings)
        completions = self._process.answer(request, cancel)
        if isinstance(completions, list):
            return completions
        # no word from the model: cancelled before its turn, or it had to be killed
        seconds = (time.perf_counter() - began) / max(len(prompts), 1)
        return [types.Completion("", 0, 0, 0, "cancelled", seconds) for _ in prompts]


class ProcessWriter(_Speaker):
    """What writes the windows of a large region in a `ModelProcess`; see `models.TextWindows`."""

    _request = _wire.Write


def _streamed(
    process: ModelProcess, request: _wire.Generate | _wire.Write, cancel: threading.Event
) -> Iterator[str | types.Completion]:
    """The text of a request as it is written, and its end."""
    began, text, pieces = time.perf_counter(), "", 0
    completion: types.Completion | None = None
    with closing(process.replies(request, cancel)) as replies:
        for reply in replies:
            if isinstance(reply, _wire.Piece):
                text, pieces = text + reply.text, pieces + 1
                yield reply.text
            elif isinstance(reply.value, types.Completion):
                completion = reply.value
    # the turn is over before the end is passed on: whoever takes the end may never come back
    seconds = time.perf_counter() - began
    yield completion or types.Completion(text, 0, 0, pieces, "cancelled", seconds)


class ProcessAllocator:
    """The allocator of a `ModelProcess`; satisfies `engine.Allocator`."""

    def __init__(self, process: ModelProcess) -> None:
        self._process = process

    @property
    def overview_budget(self) -> int:
        """Visual tokens of the overview it wants; the first time waits until it is loaded."""
        return self._process.ready().overview_budget

    @property
    def windows(self) -> Policy | None:
        """What the model has learnt of windows; it chooses on this side, and needs no torch here.

        Raises
        ------
        ModelError
            If its files are damaged.
        """
        return self._process.windows

    def allocate(
        self,
        overview: NDArray[np.uint8] | None,
        query: types.Query,
        native: int,
        effort: types.Effort,
    ) -> types.Allocation:
        """Choose a budget; errors as `ProcessPerformer.generate`."""
        request = _wire.Allocate(self._process.next_run(), overview, query, native, effort)
        allocation = self._process.answer(request, _NEVER)
        if isinstance(allocation, types.Allocation):
            return allocation
        raise ModelError("the allocator gave no budget; choose a number of visual tokens instead")
