"""The budgets a budget may stand on."""

from __future__ import annotations

from napari_pathreason.errors import QueryError
from napari_pathreason.types import Budget

BUDGET_GRID: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Visual tokens of each budget; native size stands above them."""


def parse_budget(text: str | int) -> Budget:
    """Read a budget from user input: ``auto``, ``native`` or a whole number of tokens.

    Raises
    ------
    QueryError
        If it is none of these.
    """
    word = str(text).strip().lower()
    if word == "auto":
        return "auto"
    if word == "native":
        return "native"
    if word.isdecimal() and int(word) > 0:
        return int(word)
    raise QueryError(
        f"the budget {text!r} is not understood; give auto, native or a number of visual tokens "
        f"such as {', '.join(map(str, BUDGET_GRID))}"
    )


def snap(number: int, native: int) -> int | None:
    """Budget for a number of visual tokens: the highest of the grid that is not above it.

    Below the budget grid it is the lowest budget; from ``native`` up, or where that budget reads no
    less, it is native size.

    Parameters
    ----------
    number : int
        Visual tokens that were asked for.
    native : int
        Visual tokens of the region at native size.

    Returns
    -------
    int or None
        One of `BUDGET_GRID`; None for native size.
    """
    budget = max((budget for budget in BUDGET_GRID if budget <= number), default=BUDGET_GRID[0])
    return None if number >= native or budget >= native else budget
