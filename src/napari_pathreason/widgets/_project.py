"""Asking the question of the Ask dock of all annotations of many slides, from the Answers dock."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from threading import Event as Flag
from typing import Any

from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_pathreason.engine import sentence
from napari_pathreason.errors import PathreasonError, QueryError
from napari_pathreason.project import (
    AnnotationAnswered,
    AnnotationFailed,
    AnnotationStarted,
    ProjectEnded,
    ProjectEvent,
    ProjectStarted,
)
from napari_pathreason.viewer import (
    ModelLoading,
    ProjectRequest,
    RunState,
    Session,
    project_events,
    project_request,
    take_answers,
)

from . import _words as words
from ._fields import MORE, listen, text_line
from ._progress import LineOverBar, loading_line
from ._runner import WAIT, PausableRunner
from ._server import may_send
from ._work import work

STEPS = 1000
"""Of the bar, whatever the number of annotations."""


class ProjectRunner(PausableRunner):
    """The project that is asked about; it can be paused after each annotation.

    Signals
    -------
    happened : object
        `ModelLoading` or a `project.ProjectEvent`, in the main thread; the last one of a run is
        `ProjectEnded`.
    stood
        A run has let go of its folder.
    """

    happened = Signal(object)
    stood = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(session, parent)
        self._number = 0

    def start(self, wanted: ProjectRequest) -> None:
        """Ask about a project.

        Raises
        ------
        PathreasonError
            If the model is busy, or a cancelled run has not let go of its folder yet.
        """
        self.check_free()
        self._number += 1
        self.run.rest()
        self.run.move(RunState.LOADING)
        self._cancel, self._go = Flag(), Flag()
        self._go.set()
        self._worker = work(
            "a question about a project",
            _followed,
            self._session,
            wanted,
            self._cancel,
            self._go,
            self._number,
        )
        self._worker.yielded.connect(self._relay)
        self._worker.finished.connect(self._let_go)
        self._worker.start()

    def close(self) -> None:
        """Drop the run without waiting and free the model's process; what is answered is kept."""
        if self.running:
            self._cancel.set()
            self._go.set()
            self._patience.stop()
            self.run.rest()
            self._number += 1
        self._free_model()

    def _relay(self, numbered: tuple[int, ModelLoading | ProjectEvent | None]) -> None:
        number, event = numbered
        if number != self._number or not self.running:
            return
        if event is None:
            if self.run.state is RunState.PAUSING:
                self.run.move(RunState.PAUSED)
            return
        if isinstance(event, AnnotationStarted | ProjectEnded) and (
            self.run.state is RunState.LOADING
        ):
            self.run.move(RunState.RUNNING)
        if isinstance(event, ProjectEnded):
            self._patience.stop()
            failed = event.error is not None and not self._cancel.is_set()
            self.run.move(RunState.FAILED if failed else RunState.IDLE)
        self.happened.emit(event)

    def _cut_off(self) -> None:
        self._relay((self._number, ProjectEnded(0, 0, 0, (), cancelled=True)))

    def _let_go(self) -> None:
        """The worker is gone, and with it the lock on the folder."""
        self._worker = None
        if self.running:
            error = PathreasonError(words.NO_RUN_ENDING)
            self._relay((self._number, ProjectEnded(0, 0, 0, (), error=error)))
        self.stood.emit()


class ProjectPanel(QWidget):
    """Chooses a project, and shows how far it is; its answers go into the session.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._wanted: ProjectRequest | None = None
        self._failures: list[str] = []
        self._done = self._total = 0
        self.runner = ProjectRunner(session, self)
        self.start_button = QPushButton(f"Ask a project{MORE}")
        self.start_button.setToolTip(
            "Ask the question of the Ask dock of all annotations of many slides"
        )
        menu = QMenu(self)
        menu.addAction(f"A folder of slides with GeoJSON{MORE}", self._choose_folder)
        menu.addAction(f"A list of slides{MORE}", self._choose_list)
        self.start_button.setMenu(menu)
        self.pause_button = QPushButton("Pause")
        self.pause_button.setToolTip("Finish this annotation, and wait")
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop; what is answered is kept")
        self.progress = LineOverBar(STEPS)
        self.note = text_line()
        row = QHBoxLayout()
        row.addWidget(self.start_button, 2)
        row.addWidget(self.pause_button, 1)
        row.addWidget(self.cancel_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addWidget(self.progress)
        layout.addWidget(self.note)
        self.pause_button.clicked.connect(self.pause)
        self.cancel_button.clicked.connect(self.runner.cancel)
        self.runner.happened.connect(self._follow)
        self.runner.stood.connect(self._show_state)
        listen(self.runner.run.changed, self._show_state)
        self.note.hide()
        self._show_state()

    def ask(self, path: str | Path) -> None:
        """Ask the question of the form of all annotations of a folder or a list of slides."""
        session = self._session
        try:
            draft, preferred = session.inquiry.resolve(), session.preferences()
            wanted = project_request(session, draft, preferred, Path(path))
            if not may_send(wanted.model, self):
                self._say("Nothing was asked, as nothing may be sent to that host.")
                return
            self._failures, self._done, self._total = [], 0, 0
            self.runner.start(wanted)
        except PathreasonError as error:
            self._say(sentence(error))
            return
        self._wanted = wanted
        without = wanted.project.without
        self._say(f"Without annotations: {', '.join(without)}." if without else "")
        self.progress.paint("Looking for annotations", 0)

    def pause(self) -> None:
        """Wait after the annotation in hand, or go on."""
        try:
            if self.runner.paused:
                self.runner.resume()
            else:
                self.runner.pause()
        except PathreasonError as error:
            show_warning(str(error))

    def stop(self) -> None:
        """End a run with its dock."""
        if self.runner.running:
            self.runner.close()

    def _follow(self, event: ModelLoading | ProjectEvent) -> None:
        if isinstance(event, ModelLoading):
            text, share = loading_line(event)
            self.progress.paint(f"{text}\N{HORIZONTAL ELLIPSIS}", int(STEPS * share))
        elif isinstance(event, ProjectStarted):
            if self._wanted is not None:
                self._wanted = self._wanted.kept_in(event.folder)
            self._total, self._done = event.total, len(event.before)
            self._take(event)
            before = f", {self._done:,} answered before" if self._done else ""
            self._paint(f"{words.annotation_count(self._total)}{before}")
        elif isinstance(event, AnnotationStarted):
            place = f"{event.item.slide.name}, {event.item.annotation.name}"
            self._paint(f"{event.number:,} of {event.total:,}: {place}")
        elif isinstance(event, AnnotationAnswered):
            self._done = event.done
            self._take(event)
        elif isinstance(event, AnnotationFailed):
            where = ", ".join(filter(None, (event.slide, event.name)))
            self._failures.append(sentence(f"{where}: {event.reason}"))
            self._say(f"{len(self._failures):,} not asked. {self._failures[-1]}")
            self.note.setToolTip("\n".join(self._failures))
        else:
            self._end(event)

    def _take(self, event: ProjectStarted | AnnotationAnswered) -> None:
        if self._wanted is not None:
            take_answers(self._session, self._wanted, event)

    def _end(self, event: ProjectEnded) -> None:
        folder = "" if self._wanted is None else self._wanted.folder.name
        done = f"{self._done:,} of {self._total:,} answered"
        lines = [] if self.note.isHidden() else [self.note.text()]
        if event.cancelled:
            self._paint(f"Cancelled, {done}")
        elif isinstance(event.error, QueryError):  # a refusal: a hint, and no error box
            self._paint(words.NOT_STARTED)
            lines.append(sentence(event.error))
        elif event.error is not None:
            self._paint(f"Failed, {done}")
            lines.append(sentence(event.error))  # an error box does not stay
            show_error(str(event.error))
        else:
            self._paint(done)
        if self._done:
            lines.append(f"Answers and tables are kept in {folder}.")
        self._say(" ".join(lines))

    def _paint(self, text: str) -> None:
        self.progress.paint(text, STEPS * self._done // max(self._total, 1))

    def _say(self, text: str) -> None:
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def _show_state(self, *_: Any) -> None:
        state, running = self.runner.run.state, self.runner.running
        self.start_button.setEnabled(not running and not self.runner.closing)
        self.pause_button.setVisible(running)
        self.cancel_button.setVisible(running)
        self.cancel_button.setEnabled(state is not RunState.CANCELLING)
        self.pause_button.setText("Resume" if self.runner.paused else "Pause")
        self.pause_button.setEnabled(state is not RunState.CANCELLING)
        if state is RunState.PAUSED:
            self._paint(f"Paused, {self._done:,} of {self._total:,} answered")
        elif state is RunState.CANCELLING:
            self._paint(words.CANCELLING)
        self.progress.setVisible(running or self._total > 0)

    def _choose_folder(self) -> None:
        self._ask_chosen(lambda: QFileDialog.getExistingDirectory(self, "A folder of slides"))

    def _choose_list(self) -> None:
        kinds = "Lists (*.csv *.txt)"
        self._ask_chosen(lambda: QFileDialog.getOpenFileName(self, "A list", "", kinds)[0])

    def _ask_chosen(self, choose: Callable[[], str]) -> None:
        if path := choose():
            self.ask(path)


def _followed(
    session: Session, wanted: ProjectRequest, cancel: Flag, go: Flag, number: int
) -> Generator[tuple[int, ModelLoading | ProjectEvent | None], None, None]:
    """Events with the number of their run; None while it waits after an annotation."""
    for event in project_events(session, wanted, cancel):
        yield number, event
        while not isinstance(event, AnnotationStarted | ProjectEnded) and not go.wait(WAIT):
            yield number, None
