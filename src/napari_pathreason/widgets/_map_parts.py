"""What the docks have beside a map of budgets: its legend, and buttons for what is picked on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.viewer import kind_colours

from ._fields import ChoiceBox

A_ROW = 3
SIDE = 12
"""Of a patch of colour, px."""


class PickedButtons(QWidget):
    """Give what is picked on a map another budget.

    Parameters
    ----------
    what : str
        Is picked, such as ``tiles``.
    first : QPushButton
        Stands first; its dock says what it does.
    budget_box : ChoiceBox
        What Pin gives.
    own : str
        What Release leaves them to.
    """

    def __init__(self, what: str, first: QPushButton, budget_box: ChoiceBox, own: str) -> None:
        super().__init__()
        self.budget_box = budget_box
        self.pin = button("Pin", f"Give picked {what} this budget")
        self.ban = button("Ban", f"Leave picked {what} out")
        self.higher = button("Raise", f"Give picked {what} one budget more than they have")
        self.release = button("Release", f"Leave picked {what} to {own} again")
        pins, others = QHBoxLayout(), QHBoxLayout()
        for row, widgets in (
            (pins, (first, budget_box, self.pin)),
            (others, (self.ban, self.higher, self.release)),
        ):
            for widget in widgets:
                row.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(pins)
        layout.addLayout(others)

    def enable(self, free: bool) -> None:
        """Let them be pressed, or not."""
        for one in (self.pin, self.ban, self.higher, self.release):
            one.setEnabled(free)


def legend(read: str = "skipped") -> QGridLayout:
    """Patches of colour with their budgets; ``read`` names those that have none."""
    grid = QGridLayout()
    grid.setSpacing(3)
    names = ["", read, *(f"{budget:,}" for budget in BUDGET_GRID), "native", "damaged"]
    entries = [(name, rgba) for name, rgba in zip(names, kind_colours(), strict=True) if name]
    for place, (name, rgba) in enumerate(entries):
        colour, text = QLabel(), QLabel(name)
        colour.setPixmap(patch(rgba))
        row, column = divmod(place, A_ROW)
        grid.addWidget(colour, row, 2 * column)
        grid.addWidget(text, row, 2 * column + 1)
        grid.setColumnStretch(2 * column + 1, 1)
    return grid


def patch(rgba: Sequence[float], filled: bool = True) -> QPixmap:
    """A square of a colour (0 to 1), or its outline."""
    picture = QPixmap(SIDE, SIDE)
    picture.fill(Qt.transparent)
    painter = QPainter(picture)
    painter.fillRect(picture.rect(), QColor.fromRgbF(*(float(v) for v in rgba)))
    if not filled:
        painter.setCompositionMode(QPainter.CompositionMode_Clear)
        painter.fillRect(picture.rect().adjusted(2, 2, -2, -2), Qt.transparent)
    painter.end()
    return picture


def patch_icon(kind: int, filled: bool) -> QIcon:
    """The colour of a kind: filled of what was read, an outline of what was not."""
    return QIcon(patch(kind_colours()[kind], filled))


def button(text: str, tip: str) -> Any:
    """A button with a tip."""
    made = QPushButton(text)
    made.setToolTip(tip)
    return made
