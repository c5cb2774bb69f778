"""Run one question at a time in a worker thread and relay its events to the main thread."""

from __future__ import annotations

from collections.abc import Generator
from threading import Event as CancelFlag, Thread
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QTimer, Signal

from napari_pathreason.engine import Cancelled, Event, Failed, Finished, Stage, StageStarted
from napari_pathreason.errors import ModelError
from napari_pathreason.viewer import ModelLoading, Question, Session, answer_question

PATIENCE_MS = 900
"""How long a cancelled run may take to stop by itself before its model's process is ended."""


class Runner(QObject):
    """Questions of one session, one at a time.

    Signals
    -------
    happened : object
        `ModelLoading` or an `engine.Event`, in the main thread; the last one of a run is
        `Finished`, `Cancelled` or `Failed`.
    """

    happened = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._worker: Any = None
        self._cancel = CancelFlag()
        self._stage = Stage.OVERVIEW
        self._run = 0
        self._running = False
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE_MS)
        self._patience.timeout.connect(self._end_model)

    @property
    def running(self) -> bool:
        """Whether a question waits for its ending."""
        return self._running

    def ask(self, question: Question) -> None:
        """Start a question; its events follow through `happened`."""
        self._run += 1
        self._running = self._session.asking = True
        self._stage = Stage.OVERVIEW
        self._cancel = CancelFlag()
        self._worker = create_worker(
            _tagged_events, self._session, question, self._cancel, self._run
        )
        self._worker.yielded.connect(self._relay)
        self._worker.returned.connect(self._check_ended)
        self._worker.start()

    def cancel(self) -> None:
        """Ask the run to stop; a model that does not react in time loses its process."""
        if self._running:
            self._cancel.set()
            self._patience.start()

    def close(self) -> None:
        """Drop the run without waiting and free the model's process."""
        self._cancel.set()
        self._patience.stop()
        if self._worker is not None:
            self._worker.quit()
            self._worker = None
        if self._running:
            self._running = self._session.asking = False
        self._run += 1  # whatever still arrives is of an older run
        self._free_model()

    def _relay(self, tagged: tuple[int, ModelLoading | Event]) -> None:
        run, event = tagged
        if run != self._run or not self._running:
            return
        if isinstance(event, StageStarted):
            self._stage = event.stage
        if isinstance(event, Finished | Cancelled | Failed):
            self._patience.stop()
            self._running = self._session.asking = False
            self._worker = None
        self.happened.emit(event)

    def _check_ended(self, run: int) -> None:
        reason = "the question ended without an answer; ask again"
        self._relay((run, Failed(self._stage, reason, ModelError(reason))))

    def _end_model(self) -> None:
        if self._running:
            self._free_model()
            self._relay((self._run, Cancelled(self._stage)))

    def _free_model(self) -> None:
        # joining a process may take a moment: not in the main thread
        Thread(target=self._session.close_models, daemon=True).start()


def _tagged_events(
    session: Session, question: Question, cancel: CancelFlag, run: int
) -> Generator[tuple[int, ModelLoading | Event], None, int]:
    for event in answer_question(session, question, cancel):
        yield run, event
    return run
