"""Which budgets a model's replies hold at, as forms offer them."""

from __future__ import annotations

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.types import Budget


def why_not_offered(budget: Budget, most: int | None, native: int | None = None) -> str:
    """Why a budget is not offered; empty where it is.

    Parameters
    ----------
    budget : int, "auto" or "native"
    most : int or None
        Visual tokens up to which the model's replies hold, see `Metadata.max_visual_tokens`; None
        where it says nothing.
    native : int, optional
        Visual tokens of the region at native size; without it native size is offered.
    """
    if most is None or budget == "auto":
        return ""
    limit = f"the {most:,} up to which this model's replies hold"
    if budget != "native":
        return f"more than {limit}" if budget > most else ""
    if native is None or native <= most:
        return ""
    return f"native size is {native:,} visual tokens, more than {limit}; mark a smaller region"


def largest_offered(most: int | None) -> int:
    """The highest budget that a model's replies hold at."""
    return max(
        (budget for budget in BUDGET_GRID if most is None or budget <= most), default=BUDGET_GRID[0]
    )
