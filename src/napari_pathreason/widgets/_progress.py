"""Progress as a line of words over a thin bar: of one answer by stage, of a slide run in tiles."""

from __future__ import annotations

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from napari_pathreason.engine import (
    Event,
    Planned,
    Stage,
    StageStarted,
    ViewRead,
    sentence,
)
from napari_pathreason.errors import QueryError
from napari_pathreason.slide_run import RunCancelled, RunFailed, RunFinished
from napari_pathreason.viewer import (
    MOST_BOXES,
    Ending,
    ModelLoading,
    RunSoFar,
    cost_words,
    short_answer,
)

from . import _words

WORDS = {
    Stage.OVERVIEW: "Looking at the overview",
    Stage.ALLOCATE: "Choosing the budget",
    Stage.READ: "Reading the region",
    Stage.GENERATE: "Writing the answer",
    Stage.ZOOM: "Zooming in on detections",
    Stage.PARSE: "Placing the boxes",
    Stage.CHECK: "Asking with the choices reversed",
}
PAINT_EVERY_MS = 50
FINE = 20
"""Steps of the bar to a stage: windows are read in one of them."""
ALL_UNKNOWN = "Unknown: not one tile has a reply that could be read"


class LineOverBar(QWidget):
    """One line of text over a thin bar of some steps; painted only where something has changed."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.label = QLabel()
        self.label.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Fixed)
        self.bar = QProgressBar()
        self.bar.setRange(0, steps)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.label)
        layout.addWidget(self.bar)

    def paint(self, text: str, step: int) -> None:
        """Show a line of text, and how many steps are done."""
        if self.label.text() != text:
            self.label.setText(text)
        if self.bar.value() != step:  # setting it paints at once, 20 ms where the CPU paints
            self.bar.setValue(step)


def loading_line(event: ModelLoading) -> tuple[str, float]:
    """What is loaded or downloaded, in words, and how much of a download is done from 0 to 1."""
    fetched = event.fetched
    if fetched is None or fetched.done >= fetched.total:
        return "Loading the model", 0.0
    return fetched.words, fetched.done / fetched.total


class StageProgress(LineOverBar):
    """Progress of one answer.

    What happened is shown by a timer, so stages that are over by then are left out.

    Attributes
    ----------
    prefix : str
        Stands before each line, such as which of several questions it is.
    """

    def __init__(self) -> None:
        super().__init__((len(Stage) + 1) * FINE)
        # hidden when idle, but with its room kept: laying the dock out anew would stall a run
        policy = self.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.setSizePolicy(policy)
        self._step, self._text, self.prefix = 0, "", ""
        self._windows = 0
        self._timer = QTimer(self, interval=PAINT_EVERY_MS, singleShot=True)
        self._timer.timeout.connect(self._show)
        self._show()

    def follow(self, event: ModelLoading | Event) -> None:
        """Show an event that is not an ending."""
        if isinstance(event, ModelLoading):
            text, share = loading_line(event)
            self._step, self._windows = int(share * (len(Stage) + 1) * FINE), 0
        elif isinstance(event, StageStarted):
            self._step, text = FINE * (list(Stage).index(event.stage) + 1), WORDS[event.stage]
            if event.stage is Stage.GENERATE and self._windows:
                return  # it says how many there are, until the first of them is read
        elif isinstance(event, Planned):
            views = event.views
            numbers = [view.number for view in views.views if view.role == "window"]
            self._windows = max(numbers, default=0)
            size = "1 window" if self._windows == 1 else f"{self._windows:,} windows"
            if not self._windows:
                width, height = views.views[0].size
                size = f"{width} \N{MULTIPLICATION SIGN} {height} px"
            text = f"{views.tokens:,} of {views.native_windows:,} visual tokens, {size}"
        elif isinstance(event, ViewRead):
            read = [view.number for view in event.reading.views if view.role == "window"]
            if not read or not self._windows:
                return  # a zoom has a stage of its own
            generating = FINE * (list(Stage).index(Stage.GENERATE) + 1)
            self._step = generating + FINE * max(read) // self._windows
            which = f"Window {max(read):,}" if len(read) == 1 else f"{len(read):,} windows"
            text = f"{which} of {self._windows:,}"
        else:
            return
        self.say(f"{text}\N{HORIZONTAL ELLIPSIS}")

    def say(self, text: str) -> None:
        """Show a line of text; none hides the bar as well."""
        self._text = text
        if not self._timer.isActive():
            self._timer.start()

    def end(self, text: str = "") -> None:
        """Stop the bar and leave a line of text."""
        self._step = 0
        self.say(text)

    def _show(self) -> None:
        self.setVisible(bool(self._text))
        self.paint(f"{self.prefix}{self._text}", self._step)


class TileProgress(LineOverBar):
    """Progress of a slide run, with the time left."""

    def __init__(self) -> None:
        super().__init__(1000)

    def say(self, text: str, share: float = 0.0) -> None:
        """Show a line, and how much is done from 0 to 1."""
        self.paint(text, round(1000 * share))

    def follow(self, so_far: RunSoFar, paused: bool) -> None:
        """Tiles, boxes and time left."""
        at = so_far.progress
        if at is None and so_far.loading is not None:
            text, share = loading_line(so_far.loading)
            self.say(f"{text}\N{HORIZONTAL ELLIPSIS}", share)
            return
        if at is None:
            self.say("Looking for tissue and earlier tiles\N{HORIZONTAL ELLIPSIS}")
            return
        words = [f"{at.done:,} of {at.total:,} tiles"]
        if so_far.classes is None:
            words.append(f"{so_far.boxes:,} boxes")
        if paused:
            words.insert(0, "Paused")
        elif at.time_left:
            words.append(f"{at.time_left} left")
        else:
            words.append("loading the model" if at.done < at.total else "writing the files")
        self.say(", ".join(words), at.done / max(at.total, 1))

    def end(self, ending: Ending, so_far: RunSoFar) -> None:
        """Say how it ended."""
        at = so_far.progress
        done, total = (at.done, at.total) if at is not None else (0, 0)
        if isinstance(ending, RunFinished):
            self.say(_words.DONE_BEFORE if ending.already else _words.DONE, 1)
        elif isinstance(ending, RunCancelled):
            self.say(_words.cancelled_run(done, total), done / max(total, 1))
        elif isinstance(ending.error, QueryError):  # a refusal: the form can mend it
            self.say(_words.NOT_STARTED, done / max(total, 1))
        else:
            self.say(_words.RUN_FAILED if done else _words.FAILED, done / max(total, 1))


def summary(ending: Ending) -> str:
    """What a run detected and cost, and notes for the reader; or why it failed."""
    if isinstance(ending, RunFailed):
        return sentence(ending.reason)
    if isinstance(ending, RunCancelled):
        return ""
    outcome = ending.outcome
    answer = f"{short_answer(outcome.result)}; "
    if not outcome.result.answer.readable:
        answer = f"{ALL_UNKNOWN}; "
    elif outcome.classes:  # the table of classes says it
        answer = ""
    lines = [
        f"{answer}{len(outcome.records):,} of {len(outcome.plan.tiles):,} "
        f"tiles read, {cost_words(outcome.result)}"
    ]
    if len(outcome.lesions) > MOST_BOXES:
        lines.append(
            f"The {MOST_BOXES:,} most confident are shapes, the others outlines; "
            "the files hold all."
        )
    return "\n".join([*lines, *(f"Note: {note}" for note in outcome.result.warnings)])
