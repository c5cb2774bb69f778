"""What a session's model does in a worker thread: one question, or one slide, at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from threading import Event as Flag, Thread
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_pathreason.engine import Cancelled, Event, Failed, Finished, Stage, StageStarted
from napari_pathreason.errors import ModelError, PathreasonError
from napari_pathreason.slide_run import RunCancelled, RunFailed
from napari_pathreason.viewer import (
    Ending,
    ModelLoading,
    Question,
    RunSoFar,
    RunState,
    Session,
    SlideRequest,
    answer_question,
    run_request,
)

from . import _words as words
from ._work import work

PATIENCE_MS = 900
"""How long a cancelled run may take to stop by itself before its model's process is ended."""
WAIT = 0.05
"""Seconds after which a paused run asks again whether it goes on."""


class ModelRunner(QObject):
    """A run in a worker that can be cancelled, with patience, or dropped at once.

    Attributes
    ----------
    run : Run
        Where it stands, among the session's `Runs`.
    """

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.run = session.runs.add()
        self._session = session
        self._worker: Any = None
        self._cancel = Flag()
        self._patience = QTimer(self, interval=PATIENCE_MS, singleShot=True)
        self._patience.timeout.connect(self._end_model)

    @property
    def running(self) -> bool:
        """Whether a run waits for its ending."""
        return self.run.running

    def cancel(self) -> None:
        """Ask the run to stop; a model that does not react in time loses its process."""
        if self.running:
            self.run.move(RunState.CANCELLING)
            self._cancel.set()
            self._patience.start()

    def _end_model(self) -> None:
        if self.running:
            self._free_model()
            self._cut_off()

    def _cut_off(self) -> None:
        """Report that a run was cancelled which did not say so itself."""
        raise NotImplementedError

    def _free_model(self) -> None:
        # joining a process may take a moment: not in the main thread
        Thread(target=self._session.close_models, daemon=True).start()


class QuestionRunner(ModelRunner):
    """Questions of one session; each event is relayed to the main thread.

    Signals
    -------
    happened : object
        `ModelLoading` or an `engine.Event`, in the main thread; the last one of a run is
        `Finished`, `Cancelled` or `Failed`.
    """

    happened = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(session, parent)
        self._stage = Stage.OVERVIEW
        self._number = 0

    def ask(self, question: Question) -> None:
        """Start a question; its events follow through `happened`."""
        self._number += 1
        self.run.rest()
        self.run.move(RunState.LOADING)
        self._stage = Stage.OVERVIEW
        self._cancel = Flag()
        self._worker = work(
            "a question to the model",
            _numbered_events,
            self._session,
            question,
            self._cancel,
            self._number,
        )
        self._worker.yielded.connect(self._relay)
        self._worker.returned.connect(self._check_ended)
        self._worker.start()

    def close(self) -> None:
        """Drop the run without waiting and free the model's process."""
        self._cancel.set()
        self._patience.stop()
        if self._worker is not None:
            self._worker.quit()
            self._worker = None
        self.run.rest()
        self._number += 1  # whatever still arrives is of an older run
        self._free_model()

    def _relay(self, numbered: tuple[int, ModelLoading | Event]) -> None:
        number, event = numbered
        if number != self._number or not self.running:
            return
        if isinstance(event, StageStarted):
            self._stage = event.stage
            if self.run.state is RunState.LOADING:
                self.run.move(RunState.RUNNING)
        if isinstance(event, Finished | Cancelled | Failed):
            self._patience.stop()
            self.run.move(RunState.FAILED if isinstance(event, Failed) else RunState.IDLE)
            self._worker = None
        self.happened.emit(event)

    def _check_ended(self, number: int) -> None:
        reason = words.NO_ENDING
        self._relay((number, Failed(self._stage, reason, ModelError(reason))))

    def _cut_off(self) -> None:
        self._relay((self._number, Cancelled(self._stage)))


class PausableRunner(ModelRunner):
    """A run of many steps with a folder of its own, which can stand still between two of them."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(session, parent)
        self._go = Flag()

    @property
    def paused(self) -> bool:
        """Whether a pause is asked for; the step in hand is finished first."""
        return self.run.state in (RunState.PAUSING, RunState.PAUSED)

    @property
    def closing(self) -> bool:
        """Whether a run that has ended still has a lock on its folder."""
        return self._worker is not None and not self.running

    def check_free(self) -> None:
        """Refuse to start beside another run.

        Raises
        ------
        PathreasonError
            If the model is busy, or a cancelled run has not let go of its folder yet.
        """
        if self._session.asking or self.running:
            raise PathreasonError(words.BUSY)
        if self.closing:
            raise PathreasonError(words.STILL_CLOSING)

    def pause(self) -> None:
        """Take no further step; meanwhile the model may be asked something else."""
        if self.run.state in (RunState.LOADING, RunState.RUNNING):
            self.run.move(RunState.PAUSING)
            self._go.clear()

    def resume(self) -> None:
        """Go on after a pause.

        Raises
        ------
        PathreasonError
            If the model is answering a question.
        """
        if self.paused:
            if self._session.asking:
                raise PathreasonError(words.BUSY)
            self.run.move(RunState.RUNNING)
            self._go.set()

    def cancel(self) -> None:
        """As for any run; a pause ends with it."""
        super().cancel()
        self._go.set()


class SlideRunner(PausableRunner):
    """The slide run of one session: it can be paused, too.

    The worker keeps what it finds in a `RunSoFar` and sends no event to the main thread, which
    reads it by a timer: thousands of tiles that come at once do not hold it up.

    Signals
    -------
    ended : RunFinished, RunCancelled or RunFailed
        In the main thread, once for each run.
    """

    ended = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(session, parent)
        self.so_far = self._before = RunSoFar()
        self._still = Flag()

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
        self.check_free()
        self._before, self.so_far = self.so_far if keep else RunSoFar(), RunSoFar(request)
        self.run.move(RunState.LOADING)
        self._cancel, self._go, self._still = Flag(), Flag(), Flag()
        self._go.set()
        self._worker = work(
            "a slide run",
            _followed,
            self._session,
            request,
            self.so_far,
            self._cancel,
            self._go,
            self._still,
        )
        self._worker.finished.connect(self._let_go)
        self._worker.start()

    def pause(self) -> None:
        """Take no further tile in hand; meanwhile the model may be asked something else."""
        self._still.clear()
        super().pause()

    def close(self) -> None:
        """Drop the run without waiting and free the model's process; what is done is kept."""
        if self.running:
            self._cancel.set()
            self._patience.stop()
            self._stop()
        self._free_model()

    def look(self) -> None:
        """Report how far it is, and its end if it has come; to be called by a timer."""
        ending = self.so_far.ending
        if self.run.state is RunState.LOADING and self.so_far.progress is not None:
            self.run.move(RunState.RUNNING)
        if self.run.state is RunState.PAUSING and self._still.is_set():
            self.run.move(RunState.PAUSED)
        if self.running and ending is not None:
            self._end(ending)

    def _end(self, ending: Ending) -> None:
        self._patience.stop()
        self._stop(RunState.FAILED if isinstance(ending, RunFailed) else RunState.IDLE)
        self.so_far.ending = self.so_far.ending or ending
        if self.so_far.plan is None and self._before.plan is not None:
            self.so_far = self._before  # nothing came of it: what was shown still stands
        self.ended.emit(ending)

    def _stop(self, state: RunState = RunState.IDLE) -> None:
        self.run.move(state)
        self._go.set()

    def _let_go(self) -> None:
        """The worker is gone, and with it the lock on the folder."""
        self._worker = None
        if self.running and self.so_far.ending is None:
            reason = words.NO_RUN_ENDING
            self._end(RunFailed(reason, PathreasonError(reason)))

    def _cut_off(self) -> None:
        at = self.so_far.progress
        self._end(RunCancelled(at.done if at else 0, at.total if at else 0))


def _numbered_events(
    session: Session, question: Question, cancel: Flag, number: int
) -> Generator[tuple[int, ModelLoading | Event], None, int]:
    for event in answer_question(session, question, cancel):
        yield number, event
    return number


def _followed(
    session: Session, request: SlideRequest, so_far: RunSoFar, cancel: Flag, go: Flag, still: Flag
) -> Iterator[None]:
    """Take event after event; each `yield` is where napari may end the thread."""
    for event in run_request(session, request, cancel):
        so_far.take(event)
        yield
        while not go.wait(WAIT):
            still.set()
            yield
