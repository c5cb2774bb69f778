"""Boxes of budgets that offer no more than a model's replies hold at."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.types import Budget
from napari_pathreason.viewer import largest_offered, why_not_offered

BUDGETS: list[tuple[str, Budget]] = [
    ("Auto", "auto"),
    *((f"{cost:,} visual tokens", cost) for cost in BUDGET_GRID),
    ("Native size", "native"),
]


def offer_budgets(box: QComboBox, most: int | None, native: int | None = None) -> str:
    """Enable the budgets of a box that are offered; the tips of the others say why they are not.

    A budget that is not offered any more gives way to the largest that is. Native size stays as it
    was chosen, as it depends on the region, which changes with each move.

    Parameters
    ----------
    box : QComboBox
        Its data are budgets.
    most, native
        As for `viewer.why_not_offered`.

    Returns
    -------
    str
        Why the chosen budget is not offered; empty where it is.
    """
    chosen = ""
    for place in range(box.count()):
        why = why_not_offered(box.itemData(place), most, native)
        if why != (box.itemData(place, Qt.ToolTipRole) or ""):
            item = _item(box, place)
            item.setEnabled(not why)
            item.setToolTip(why)
        if place == box.currentIndex():
            chosen = why
    if chosen and box.currentData() != "native":
        box.setCurrentIndex(box.findData(largest_offered(most)))
        return why_not_offered(box.currentData(), most, native)
    return chosen


def is_offered(box: QComboBox, place: int) -> bool:
    """Whether an entry of a box can be chosen."""
    return bool(_item(box, place).isEnabled())


def step_budget(box: QComboBox, up: int) -> None:
    """Choose the next entry that is offered, up (1) or down (-1) the list."""
    place = box.currentIndex() + up
    while 0 <= place < box.count():
        if is_offered(box, place):
            box.setCurrentIndex(place)
            return
        place += up


def _item(box: QComboBox, place: int) -> Any:
    model: Any = box.model()
    return model.item(place)
