"""The ladder in numbers, one row a rung."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_pathreason.types import Budget
from napari_pathreason.viewer import Rung

from ._answer_view import MUTED

COLUMNS = {
    "Budget": "Most visual tokens; native: the region as it is",
    "Tokens": "Visual tokens that the picture would have",
    "Saved": "Share of the native tokens that is not spent",
    "Mpx": "Pixels to decode, in millions; whole tiles at the rim come on top",
    "MB": "Memory of the picture as read and as the encoder takes it",
    "s": "Median of this machine's earlier answers at as many tokens",
}
NONE = "\N{EN DASH}"


class RungTable(QTableWidget):
    """Rows to click on; `chosen` is emitted with the budget of the row."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(list(COLUMNS))
        for column, tip in enumerate(COLUMNS.values()):
            item = self.horizontalHeaderItem(column)
            if item is not None:
                item.setToolTip(tip)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(22)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.Stretch)
        self.setEditTriggers(QAbstractItemView.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectRows)
        self.setSelectionMode(QAbstractItemView.SingleSelection)
        self.setMinimumHeight(100)
        self._rungs: list[Rung] = []
        self.cellClicked.connect(self._choose)

    def show_rungs(self, rungs: Sequence[Rung], pinned: Budget) -> None:
        """Show these rungs and highlight the pinned one."""
        self._rungs = list(rungs)
        self.setRowCount(len(rungs))
        self.clearSelection()
        for row, rung in enumerate(rungs):
            texts = (
                f"{rung.budget:,}" if isinstance(rung.budget, int) else rung.budget,
                f"{rung.plan.tokens:,}",
                f"{rung.saved:.0%}",
                f"{rung.pixels / 1e6:,.2f}",
                f"{rung.memory / 1e6:,.1f}",
                NONE if rung.seconds is None else f"{rung.seconds:.1f}",
            )
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setTextAlignment(int(Qt.AlignRight | Qt.AlignVCenter))
                if rung.refused:
                    item.setFlags(Qt.NoItemFlags)
                    item.setForeground(QColor(MUTED))
                    item.setToolTip(f"Not offered: {rung.refused}")
                self.setItem(row, column, item)
            if rung.budget == pinned and not rung.refused:
                self.selectRow(row)

    def _choose(self, row: int, _: int) -> None:
        if not self._rungs[row].refused:
            self.chosen.emit(self._rungs[row].budget)
