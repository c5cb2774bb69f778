"""Progress of a run by stage, in words and as a bar."""

from __future__ import annotations

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from napari_pathreason.engine import Event, Planned, Stage, StageStarted
from napari_pathreason.viewer import ModelLoading

WORDS = {
    Stage.OVERVIEW: "Looking at the overview",
    Stage.ALLOCATE: "Choosing the budget",
    Stage.READ: "Reading the region",
    Stage.GENERATE: "Writing the answer",
    Stage.ZOOM: "Looking closer at finds",
    Stage.PARSE: "Placing the boxes",
}
PAINT_EVERY_MS = 50


class Progress(QWidget):
    """One line of text over a thin bar.

    A progress bar paints at once whenever it is set, which takes 20 ms where the CPU paints; so
    what happened is shown by a timer, and stages that are over by then are left out.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = QLabel()
        self.label.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Fixed)
        self.bar = QProgressBar()
        self.bar.setRange(0, len(Stage) + 1)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.label)
        layout.addWidget(self.bar)
        # hidden when idle, but with its room kept: laying the dock out anew would stall a run
        policy = self.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.setSizePolicy(policy)
        self._step, self._text = 0, ""
        self._paint = QTimer(self)
        self._paint.setSingleShot(True)
        self._paint.setInterval(PAINT_EVERY_MS)
        self._paint.timeout.connect(self._show)
        self._show()

    def follow(self, event: ModelLoading | Event) -> None:
        """Show an event that is not an ending."""
        if isinstance(event, ModelLoading):
            self._step, text = 0, "Loading the model"
        elif isinstance(event, StageStarted):
            self._step, text = list(Stage).index(event.stage) + 1, WORDS[event.stage]
        elif isinstance(event, Planned):
            plan = event.plan
            size = f"{plan.size[0]} \N{MULTIPLICATION SIGN} {plan.size[1]} px"
            text = f"{plan.tokens:,} of {plan.native:,} visual tokens, {size}"
        else:
            return
        self.say(f"{text}\N{HORIZONTAL ELLIPSIS}")

    def say(self, text: str) -> None:
        """Show a line of text; none hides the bar as well."""
        self._text = text
        if not self._paint.isActive():
            self._paint.start()

    def end(self, text: str = "") -> None:
        """Stop the bar and leave a line of text."""
        self._step = 0
        self.say(text)

    def _show(self) -> None:
        self.setVisible(bool(self._text))
        self.label.setText(self._text)
        self.bar.setValue(self._step)
