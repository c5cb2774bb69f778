"""Progress of a slide run in tiles, with the time left, and what came of it."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from napari_pathreason.engine import sentence, token_line
from napari_pathreason.slide_run import RunCancelled, RunFailed, RunFinished
from napari_pathreason.viewer import MOST_BOXES, Ending, RunSoFar, short_answer

ALL_UNKNOWN = "Unknown: not one tile has a reply that could be read"


class TileProgress(QWidget):
    """One line of text over a thin bar; painted only where something has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.label = QLabel()
        self.label.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Fixed)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.label)
        layout.addWidget(self.bar)

    def say(self, text: str, share: float = 0.0) -> None:
        """Show a line, and how much is done from 0 to 1."""
        if self.label.text() != text:
            self.label.setText(text)
        if self.bar.value() != round(1000 * share):  # setting it paints at once
            self.bar.setValue(round(1000 * share))

    def follow(self, so_far: RunSoFar, paused: bool) -> None:
        """Tiles, boxes, tokens and time left."""
        at = so_far.progress
        if at is None:
            self.say("Looking for tissue and earlier tiles\N{HORIZONTAL ELLIPSIS}")
            return
        words = [f"{at.done:,} of {at.total:,} tiles", f"{so_far.boxes:,} boxes"]
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
            self.say("Finished before, nothing to do." if ending.already else "Done.", 1)
        elif isinstance(ending, RunCancelled):
            self.say(f"Cancelled, {done:,} of {total:,} tiles are kept.", done / max(total, 1))
        else:
            self.say("Failed; what is done is kept.", done / max(total, 1))


def summary(ending: Ending) -> str:
    """What a run found and cost, and notes for the reader; or why it failed."""
    if isinstance(ending, RunFailed):
        return sentence(ending.reason)
    if isinstance(ending, RunCancelled):
        return ""
    outcome = ending.outcome
    found = short_answer(outcome.result) if outcome.result.answer.readable else ALL_UNKNOWN
    lines = [
        f"{found}; {len(outcome.records):,} of {len(outcome.plan.tiles):,} "
        f"tiles read, {token_line(outcome.result)}"
    ]
    if len(outcome.lesions) > MOST_BOXES:
        lines.append(
            f"The {MOST_BOXES:,} most confident are shapes, the others outlines; "
            "the files hold all."
        )
    return "\n".join([*lines, *(f"Note: {note}" for note in outcome.result.warnings)])
