"""The budget grid for one region: what each budget would cost, before it is spent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from napari_pathreason.budgets import BUDGET_GRID, ReadPlan, plan
from napari_pathreason.geometry import Region
from napari_pathreason.slides import choose_level
from napari_pathreason.types import Allocation, Budget, Result

from ._offers import why_not_offered

BYTES_PER_PIXEL = 3 + 3 * 4
"""A picture as uint8 RGB and, for the encoder, as float32 RGB."""


@dataclass(frozen=True, slots=True)
class BudgetCost:
    """What one budget would cost for a region.

    Parameters
    ----------
    budget : int or "native"
    plan : ReadPlan
        Picture size in px, grid and realised visual tokens.
    pixels : int
        Pixels of the pyramid level that the region covers; whole tiles at its rim come on top.
    memory : int
        Bytes of the picture as read and as the encoder takes it; the model's weights and its
        working memory come on top.
    seconds : float or None
        Median of earlier answers of the same model at as many tokens; None without any.
    probability : float or None
        The allocator's; None where it has none.
    refused : str
        Why it is not offered; empty where it is.
    """

    budget: Budget
    plan: ReadPlan
    pixels: int
    memory: int
    seconds: float | None = None
    probability: float | None = None
    refused: str = ""

    @property
    def saved(self) -> float:
        """Share of the native tokens that are not spent, 0 to 1."""
        return 1 - self.plan.tokens / self.plan.native


def budget_costs(
    region: Region,
    token_px: int,
    level_sizes: Sequence[tuple[int, int]],
    past: Iterable[Result] = (),
    allocation: Allocation | None = None,
    most: int | None = None,
) -> list[BudgetCost]:
    """Cost of every budget, native last.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    token_px : int
        Side of a visual token in pixels.
    level_sizes : sequence of (width, height)
        Levels of the slide in pixels, level 0 first.
    past : iterable of Result
        Answers of the same model on this machine.
    allocation : Allocation, optional
        What the allocator said of this region; its probabilities follow the budget grid.
    most : int, optional
        Visual tokens up to which the model's replies hold; larger budgets are not offered.

    Raises
    ------
    RegionError
        If a side of the region is below one cell.
    """
    taken: dict[int, list[float]] = {}
    for result in past:
        taken.setdefault(result.tokens.realised, []).append(sum(result.seconds.values()))
    probabilities = (allocation.probabilities if allocation is not None else None) or ()
    budgets: list[int | Literal["native"]] = [*BUDGET_GRID, "native"]
    costs = []
    for i, budget in enumerate(budgets):
        planned = plan(region, None if budget == "native" else budget, token_px)
        width, height = planned.size
        level = level_sizes[choose_level(tuple(level_sizes), region, planned.size)]
        across = region.width * level[0] / level_sizes[0][0]
        down = region.height * level[1] / level_sizes[0][1]
        costs.append(
            BudgetCost(
                budget,
                planned,
                round(across * down),
                width * height * BYTES_PER_PIXEL,
                median(taken[planned.tokens]) if planned.tokens in taken else None,
                probabilities[i] if i < len(probabilities) else None,
                why_not_offered(budget, most, planned.tokens),
            )
        )
    return costs
