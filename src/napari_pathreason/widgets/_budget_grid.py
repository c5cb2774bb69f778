"""The budget grid as bars and in numbers; matplotlib comes with it, so it is loaded when needed."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QTableWidgetItem

from napari_pathreason.types import Budget
from napari_pathreason.viewer import BudgetCost

from ._fields import RowTable

PINNED, OTHERS, PROBABILITY = "#d9822b", "#4c84ff", "#7a8ca8"  # legible on dark and light ground
ROW_HEIGHT = 150
"""Least logical pixels of one row of bars with its labels."""
COLUMNS = {
    "Budget": "Most visual tokens; native: the region as it is",
    "Tokens": "Visual tokens that the picture would have",
    "Saved": "Share of the native tokens that is not spent",
    "Mpx": "Pixels to decode, in millions; whole tiles at the rim come on top",
    "MB": "Memory of the picture as read and as the encoder takes it",
    "s": "Median of this machine's earlier answers at as many tokens",
}
NONE = "\N{EN DASH}"


class BudgetChart(FigureCanvasQTAgg):
    """Visual tokens of each budget and, where there are any, probabilities, as bars to click on.

    Bars of budgets that are read as windows are dotted outlines.

    Signals
    -------
    chosen : object
        The budget that was clicked.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__(Figure(layout="constrained"))
        self.setMinimumHeight(ROW_HEIGHT)
        self.setStyleSheet("background-color: transparent;")
        self.figure.patch.set_alpha(0)
        self._costs: list[BudgetCost] = []
        self.mpl_connect("button_press_event", self._click)

    def show_costs(self, costs: Sequence[BudgetCost], pinned: Budget, theme: str) -> None:
        """Draw the budget grid anew in the colours of a napari theme."""
        self._costs = list(costs)
        ink = get_theme(theme).text.as_hex()
        self.figure.clear()
        probabilities = [cost.probability for cost in costs if cost.probability is not None]
        rows = 2 if probabilities and len(probabilities) == len(costs) else 1
        self.setMinimumHeight(ROW_HEIGHT if rows == 1 else round(1.4 * ROW_HEIGHT))
        places = range(len(costs))
        for row in range(rows):
            axes = self.figure.add_subplot(rows, 1, row + 1)
            axes.patch.set_alpha(0)
            if row == 0:
                colors = [PINNED if cost.budget == pinned else OTHERS for cost in costs]
                bars = axes.bar(places, [cost.plan.tokens for cost in costs], color=colors)
                for bar, cost in zip(bars, costs, strict=True):
                    if cost.windows:
                        bar.set(facecolor="none", edgecolor=bar.get_facecolor(), linestyle=":")
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
                axes.yaxis.set_minor_formatter(NullFormatter())  # of a short axis: 6 x 10^0
                axes.set_ylabel("visual tokens", color=ink, fontsize=8)
            else:
                axes.bar(places, probabilities, color=PROBABILITY)
                axes.set_ylabel("probability", color=ink, fontsize=8)
            last = row == rows - 1
            axes.set_xticks(places, [str(cost.budget) if last else "" for cost in costs])
            axes.tick_params(colors=ink, which="both", labelsize=8)
            axes.tick_params(axis="x", labelrotation=45)
            axes.spines[["top", "right"]].set_visible(False)
            axes.spines[["left", "bottom"]].set_color(ink)
        self.draw_idle()

    def _click(self, event: object) -> None:
        place = getattr(event, "xdata", None)
        if place is not None and self._costs:
            nearest = min(max(round(place), 0), len(self._costs) - 1)
            self.chosen.emit(self._costs[nearest].budget)


class BudgetTable(RowTable):
    """Rows to click on; `chosen` is emitted with the budget of the row."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__(COLUMNS)
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
                if cost.windows:
                    item.setToolTip(f"{cost.windows[:1].upper()}{cost.windows[1:]}")
                self.setItem(row, column, item)
            if cost.budget == pinned:
                self.selectRow(row)

    def _choose(self, row: int, _: int) -> None:
        self.chosen.emit(self._costs[row].budget)
