"""Earlier answers of a session, newest last."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from napari_pathreason.viewer import Entry, reliability_words, short_answer

from ._answer_view import question_text
from ._reliability import ICON, level_icon


class History(QListWidget):
    """List of answers; choosing one by click or Enter emits `chosen` with its `Entry`."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextElideMode(Qt.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        self.setMinimumHeight(60)
        self.setIconSize(QSize(ICON, ICON))
        self.itemClicked.connect(self._choose)
        self.itemActivated.connect(self._choose)

    def add(self, entry: Entry) -> None:
        """Append an answer and make it the current one, without choosing it."""
        result = entry.result
        answer = short_answer(result)
        text = f"{entry.id}: {question_text(result.query)} \N{RIGHTWARDS ARROW} {answer}"
        text = " ".join(text.split())  # one line, whatever the model wrote
        item = QListWidgetItem(level_icon(result.reliability.level), text)
        item.setToolTip(f"{text}\n{reliability_words(result.reliability)}")
        item.setData(Qt.UserRole, entry)
        self.addItem(item)
        self.setCurrentItem(item)

    def select(self, entry: Entry) -> None:
        """Make an answer the current one, without choosing it."""
        self.setCurrentRow(entry.id - 1)

    @property
    def current(self) -> Entry | None:
        """The entry that is highlighted."""
        item = self.currentItem()
        return None if item is None else item.data(Qt.UserRole)

    def _choose(self, item: QListWidgetItem) -> None:
        self.chosen.emit(item.data(Qt.UserRole))
