"""The ladder as bars: visual tokens of each rung and, where there are any, probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from napari.utils.theme import get_theme
from qtpy.QtCore import Signal

from napari_pathreason.types import Budget
from napari_pathreason.viewer import Rung

PINNED, OTHERS, CHANCE = "#d9822b", "#4c84ff", "#7a8ca8"  # legible on dark and light ground

ROW_HEIGHT = 150
"""Least logical pixels of one row of bars with its labels."""


class LadderChart(FigureCanvasQTAgg):
    """Bars to click on; those of rungs that are not offered are dotted outlines.

    Signals
    -------
    chosen : object
        Budget of the rung that was clicked.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__(Figure(layout="constrained"))
        self.setMinimumHeight(ROW_HEIGHT)
        self.setStyleSheet("background-color: transparent;")
        self.figure.patch.set_alpha(0)
        self._rungs: list[Rung] = []
        self.mpl_connect("button_press_event", self._click)

    def show_rungs(self, rungs: Sequence[Rung], pinned: Budget, theme: str) -> None:
        """Draw the ladder anew in the colours of a napari theme."""
        self._rungs = list(rungs)
        ink = get_theme(theme).text.as_hex()
        self.figure.clear()
        chances = [rung.probability for rung in rungs if rung.probability is not None]
        rows = 2 if chances and len(chances) == len(rungs) else 1
        self.setMinimumHeight(ROW_HEIGHT if rows == 1 else round(1.4 * ROW_HEIGHT))
        places = range(len(rungs))
        for row in range(rows):
            axes = self.figure.add_subplot(rows, 1, row + 1)
            axes.patch.set_alpha(0)
            if row == 0:
                colors = [PINNED if rung.budget == pinned else OTHERS for rung in rungs]
                bars = axes.bar(places, [rung.plan.tokens for rung in rungs], color=colors)
                for bar, rung in zip(bars, rungs, strict=True):
                    if rung.refused:  # an outline, as it cannot be filled
                        bar.set(facecolor="none", edgecolor=CHANCE, linestyle=":")
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
                axes.set_ylabel("visual tokens", color=ink, fontsize=8)
            else:
                axes.bar(places, chances, color=CHANCE)
                axes.set_ylabel("probability", color=ink, fontsize=8)
            last = row == rows - 1
            axes.set_xticks(places, [str(rung.budget) if last else "" for rung in rungs])
            axes.tick_params(colors=ink, which="both", labelsize=8)
            axes.tick_params(axis="x", labelrotation=45)
            axes.spines[["top", "right"]].set_visible(False)
            axes.spines[["left", "bottom"]].set_color(ink)
        self.draw_idle()

    def _click(self, event: object) -> None:
        place = getattr(event, "xdata", None)
        if place is not None and self._rungs:
            nearest = min(max(round(place), 0), len(self._rungs) - 1)
            if not self._rungs[nearest].refused:
                self.chosen.emit(self._rungs[nearest].budget)
