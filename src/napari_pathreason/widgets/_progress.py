"""Progress of a run by stage, in words and as a bar."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from napari_pathreason.engine import Event, Planned, Stage, StageStarted
from napari_pathreason.viewer import ModelLoading

WORDS = {
    Stage.OVERVIEW: "Looking at the overview",
    Stage.ALLOCATE: "Choosing the budget",
    Stage.READ: "Reading the region",
    Stage.GENERATE: "Writing the answer",
    Stage.PARSE: "Placing the boxes",
}


class Progress(QWidget):
    """One line of text over a thin bar."""

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
        self.end("")

    def follow(self, event: ModelLoading | Event) -> None:
        """Show an event that is not an ending."""
        if isinstance(event, ModelLoading):
            self._step(0, "Loading the model")
        elif isinstance(event, StageStarted):
            self._step(list(Stage).index(event.stage) + 1, WORDS[event.stage])
        elif isinstance(event, Planned):
            plan = event.plan
            size = f"{plan.size[0]} \N{MULTIPLICATION SIGN} {plan.size[1]} px"
            self.label.setText(f"{plan.tokens:,} of {plan.native:,} visual tokens, {size}")

    def end(self, text: str) -> None:
        """Stop the bar and leave a line of text; nothing to say, nothing to see."""
        self.label.setText(text)
        self.bar.setValue(0)
        self.setVisible(bool(text))

    def _step(self, step: int, text: str) -> None:
        self.setVisible(True)
        self.bar.setValue(step)
        self.label.setText(f"{text}\N{HORIZONTAL ELLIPSIS}")
