"""The budget grid in numbers, one row a budget."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_pathreason.types import Budget
from napari_pathreason.viewer import BudgetCost

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


class BudgetTable(QTableWidget):
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
        self._costs: list[BudgetCost] = []
        self.cellClicked.connect(self._choose)

    def show_costs(self, costs: Sequence[BudgetCost], pinned: Budget) -> None:
        """Show these budgets and highlight the pinned one."""
        self._costs = list(costs)
        self.setRowCount(len(costs))
        self.clearSelection()
        for row, cost in enumerate(costs):
            texts = (
                f"{cost.budget:,}" if isinstance(cost.budget, int) else cost.budget,
                f"{cost.plan.tokens:,}",
                f"{cost.saved:.0%}",
                f"{cost.pixels / 1e6:,.2f}",
                f"{cost.memory / 1e6:,.1f}",
                NONE if cost.seconds is None else f"{cost.seconds:.1f}",
            )
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setTextAlignment(int(Qt.AlignRight | Qt.AlignVCenter))
                if cost.refused:
                    item.setFlags(Qt.NoItemFlags)
                    item.setForeground(QColor(MUTED))
                    item.setToolTip(f"Not offered: {cost.refused}")
                self.setItem(row, column, item)
            if cost.budget == pinned and not cost.refused:
                self.selectRow(row)

    def _choose(self, row: int, _: int) -> None:
        if not self._costs[row].refused:
            self.chosen.emit(self._costs[row].budget)
