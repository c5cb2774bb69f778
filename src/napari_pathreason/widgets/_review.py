"""What a reader says of an answer, right or wrong, and what the docks say of themselves."""

from __future__ import annotations

from functools import partial

from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_pathreason.errors import PathreasonError
from napari_pathreason.exports import RESEARCH_ONLY, Review
from napari_pathreason.viewer import Entry, Session

from . import _keys as keys
from ._fields import listen

SIGNS: dict[Review, str] = {
    "accepted": "\N{CHECK MARK}",
    "rejected": "\N{MULTIPLICATION X}",
    "": "",
}
"""Of what a reader says, in buttons and tables."""


class ReviewButtons(QWidget):
    """Accept or reject the answer that is shown; pressed again, a button takes it back."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._entry: Entry | None = None
        self.buttons: dict[Review, QPushButton] = {}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        tips: tuple[tuple[Review, str], ...] = (
            ("accepted", "Accept this answer: it is right, and a label for training"),
            ("rejected", "Reject this answer: it is wrong"),
        )
        for review, tip in tips:
            button = QPushButton(SIGNS[review], toolTip=tip)
            button.setCheckable(True)
            button.setFixedWidth(28)
            button.setAccessibleName(tip.partition(":")[0])
            button.clicked.connect(partial(self._press, review))
            self.buttons[review] = button
            layout.addWidget(button)
        listen(session.reviewed, self._refresh)
        self._refresh()

    def bind_keys(self, owner: QWidget) -> None:
        """Let keys press the buttons, anywhere in the window of a widget."""
        pairs: tuple[tuple[Review, tuple[str, ...]], ...]
        pairs = ("accepted", keys.ACCEPT), ("rejected", keys.REJECT)
        for review, bound in pairs:
            button = self.buttons[review]
            keys.bind(bound, button.click, owner, anywhere=True)
            keys.name_in_tip(button, bound)

    def show_entry(self, entry: Entry | None) -> None:
        """Be about another answer, or none."""
        self._entry = entry
        self._refresh()

    def _press(self, review: Review, _: bool) -> None:
        if self._entry is not None:
            try:
                self._session.review(self._entry, review)
            except PathreasonError as error:
                show_warning(str(error))
        self._refresh()

    def _refresh(self, *_: object) -> None:
        entry = self._entry
        now = "" if entry is None else self._session.review_of(entry)
        for review, button in self.buttons.items():
            button.setEnabled(entry is not None)
            button.setChecked(review == now and now != "")


def research_line() -> QLabel:
    """The limits of what the docks say, in one small line."""
    label = QLabel(f"<small>{RESEARCH_ONLY}</small>")
    label.setAlignment(Qt.AlignCenter)
    return label
