"""Answers of several rungs side by side."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_pathreason._types import Result
from napari_pathreason.viewer import Entry, rung_title

ROWS = ("Answer", "Rationale", "Boxes", "Confidence", "Tokens", "Mpx", "s")
NONE = "\N{EN DASH}"


class CompareTable(QTableWidget):
    """A column for each rung; `chosen` is emitted with the `Entry` of a column."""

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
        header.setMinimumSectionSize(80)
        header.sectionResized.connect(self.resizeRowsToContents)
        self.setMinimumHeight(100)
        self._entries: list[Entry] = []
        self.cellClicked.connect(lambda _, column: self.chosen.emit(self._entries[column]))

    def clear_rungs(self) -> None:
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
        self.setHorizontalHeaderItem(column, QTableWidgetItem(QIcon(mark), rung_title(entry)))
        for row, text in enumerate(_texts(entry.result)):
            item = QTableWidgetItem(text)
            item.setTextAlignment(int(Qt.AlignLeft | Qt.AlignVCenter))
            item.setToolTip(text)
            self.setItem(row, column, item)
        self.resizeRowsToContents()


def _texts(result: Result) -> tuple[str, ...]:
    """In the order of `ROWS`."""
    tokens, sure = result.tokens, result.confidence
    return (
        result.answer.text or NONE,
        result.answer.rationale or NONE,
        str(len(result.detections)),
        NONE if sure is None else f"{sure:.2f}",
        f"{tokens.spent:,}",
        f"{result.pixels_decoded / 1e6:.2f}",
        f"{sum(result.seconds.values()):.1f}",
    )
