"""Answers of several budgets side by side."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_pathreason.types import Result
from napari_pathreason.viewer import (
    LEVEL_WORDS,
    Entry,
    answer_words,
    budget_title,
    reliability_words,
    shown_detections,
)

from ._reliability import level_icon

ROWS = ("Reliable?", "Answer", "Rationale", "Boxes", "Confidence", "Tokens", "Mpx", "s")
NONE = "\N{EN DASH}"


class CompareTable(QTableWidget):
    """A column for each budget; `chosen` is emitted with the `Entry` of a column."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__(len(ROWS), 0)
        self.setVerticalHeaderLabels(list(ROWS))
        self.setWordWrap(True)
        self.setEditTriggers(QAbstractItemView.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectColumns)
        self.setSelectionMode(QAbstractItemView.SingleSelection)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.Stretch)
        header.setMinimumSectionSize(96)  # a level with its icon
        header.sectionResized.connect(self.resizeRowsToContents)
        self.setMinimumHeight(100)
        self._entries: list[Entry] = []
        self.cellClicked.connect(lambda _, column: self.chosen.emit(self._entries[column]))

    def clear_budgets(self) -> None:
        """Forget all columns."""
        self._entries = []
        self.setColumnCount(0)

    def add(self, entry: Entry, color: str) -> None:
        """Append the column of an answer; ``color`` is that of its boxes."""
        column = len(self._entries)
        self._entries.append(entry)
        self.setColumnCount(column + 1)
        mark = QPixmap(10, 10)
        mark.fill(QColor(color))
        self.setHorizontalHeaderItem(column, QTableWidgetItem(QIcon(mark), budget_title(entry)))
        for row, text in enumerate(_texts(entry.result)):
            item = QTableWidgetItem(text)
            item.setTextAlignment(int(Qt.AlignLeft | Qt.AlignVCenter))
            item.setToolTip(reliability_words(entry.result.reliability) if row == 0 else text)
            if row == 0:
                item.setIcon(level_icon(entry.result.reliability.level))
            self.setItem(row, column, item)
        self.resizeRowsToContents()


def _texts(result: Result) -> tuple[str, ...]:
    """In the order of `ROWS`; a guess is called one, and has no confidence to speak of."""
    tokens, readable, level = result.tokens, result.answer.readable, result.reliability.level
    guess = readable and level == "none"
    confident = None if level == "none" else result.confidence
    words, boxes = answer_words(result), len(shown_detections(result))
    detected = readable or result.query.task != "detection"
    return (
        LEVEL_WORDS[level],
        f"Guess: {words}" if guess else words,
        (readable and result.answer.rationale) or NONE,
        str(boxes) if detected else "unknown",
        NONE if confident is None else f"{confident:.2f}",
        f"{tokens.spent:,}",
        f"{result.pixels_decoded / 1e6:.2f}",
        f"{sum(result.seconds.values()):.1f}",
    )
