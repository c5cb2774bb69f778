"""Run one slide at a time in a worker thread: start, pause, go on, cancel."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event as Flag, Thread
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QTimer, Signal

from napari_pathreason.errors import PathreasonError
from napari_pathreason.slide_run import RunCancelled, RunFailed, RunFinished
from napari_pathreason.viewer import RunSoFar, Session, SlideRequest, run_request

from ._runner import PATIENCE_MS

WAIT = 0.05
"""Seconds between two looks of a paused run at whether it goes on."""


class SlideRunner(QObject):
    """The slide run of one session.

    The worker keeps what it finds in a `RunSoFar` and sends no event to the main thread, which
    looks at it by a timer: thousands of tiles that come at once do not hold it up.

    Signals
    -------
    ended : RunFinished, RunCancelled or RunFailed
        In the main thread, once for each run.
    """

    ended = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._worker: Any = None
        self._cancel, self._go = Flag(), Flag()
        self.so_far = self._before = RunSoFar()
        self.running = self._holds = False
        self._patience = QTimer(self, interval=PATIENCE_MS, singleShot=True)
        self._patience.timeout.connect(self._end_model)

    @property
    def paused(self) -> bool:
        """Whether a pause is asked for; the tiles in hand are finished first."""
        return self.running and not self._go.is_set()

    def start(self, request: SlideRequest, keep: bool = True) -> None:
        """Start a run.

        Parameters
        ----------
        request : SlideRequest
        keep : bool
            Go back to the run before if nothing comes of this one, as they are of one slide.

        Raises
        ------
        PathreasonError
            If the model is busy, or a cancelled run has not let go of its folder yet.
        """
        if self._session.asking or self.running:
            raise PathreasonError("the model is answering; wait for its end or cancel that")
        if self._worker is not None:
            raise PathreasonError("the run before is still closing its folder; try again")
        self._before, self.so_far = self.so_far if keep else RunSoFar(), RunSoFar(request)
        self.running = True
        self._hold(True)
        self._cancel, self._go = Flag(), Flag()
        self._go.set()
        self._worker = create_worker(
            _followed, self._session, request, self.so_far, self._cancel, self._go
        )
        self._worker.finished.connect(self._let_go)
        self._worker.start()

    def pause(self) -> None:
        """Take no further tile in hand; meanwhile the model may be asked something else."""
        if self.running:
            self._go.clear()
            self._hold(False)

    def resume(self) -> None:
        """Go on after a pause.

        Raises
        ------
        PathreasonError
            If the model is answering a question.
        """
        if self.paused:
            if self._session.asking:
                raise PathreasonError("the model is answering; wait for its end or cancel that")
            self._hold(True)
            self._go.set()

    def cancel(self) -> None:
        """Ask the run to stop; a model that does not react in time loses its process."""
        if self.running:
            self._cancel.set()
            self._go.set()
            self._patience.start()

    def close(self) -> None:
        """Drop the run without waiting and free the model's process; what is done is kept."""
        if self.running:
            self._cancel.set()
            self._patience.stop()
            self._stopped()
        self._free_model()

    def look(self) -> None:
        """Tell of the end if it has come; to be called by a timer."""
        ending = self.so_far.ending
        if self.running and ending is not None:
            self._end(ending)

    def _end(self, ending: RunFinished | RunCancelled | RunFailed) -> None:
        self._patience.stop()
        self._stopped()
        self.so_far.ending = self.so_far.ending or ending
        if self.so_far.plan is None and self._before.plan is not None:
            self.so_far = self._before  # nothing came of it: what was shown still stands
        self.ended.emit(ending)

    def _stopped(self) -> None:
        self._hold(False)
        self.running = False
        self._go.set()

    def _hold(self, model: bool) -> None:
        """Keep the model to this run, or let it go; a question asked in a pause has it itself."""
        if model != self._holds:
            self._holds = self._session.asking = model

    def _let_go(self) -> None:
        """The worker is gone, and with it the lock on the folder."""
        self._worker = None
        if self.running and self.so_far.ending is None:
            reason = "the run ended without a word; start it again, what is done is kept"
            self._end(RunFailed(reason, PathreasonError(reason)))

    def _end_model(self) -> None:
        if self.running:
            self._free_model()
            at = self.so_far.progress
            self._end(RunCancelled(at.done if at else 0, at.total if at else 0))

    def _free_model(self) -> None:
        # joining a process may take a moment: not in the main thread
        Thread(target=self._session.close_models, daemon=True).start()


def _followed(
    session: Session, request: SlideRequest, so_far: RunSoFar, cancel: Flag, go: Flag
) -> Iterator[None]:
    """Take event after event; each `yield` is where napari may end the thread."""
    for event in run_request(session, request, cancel):
        so_far.take(event)
        yield
        while not go.wait(WAIT):
            yield
