"""What a writing allocator's texts allocate, and what they earn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from napari_pathreason.budgets import snap
from napari_pathreason.models import BUDGETS, FALLBACK
from napari_pathreason.tasks import WrittenAllocation, parse_allocation
from napari_pathreason.training.recipe import AllocatorRecipe

from ._allocator_rewards import gated, paper_step
from ._budget_scores import Scored


@dataclass(frozen=True, slots=True)
class ScoredAllocation:
    """A text beside what the performer scores at the budget that it leads to.

    ``cost`` is as `gated` takes it, the allocator's own FLOPs counted.
    """

    written: WrittenAllocation
    scored: Scored
    cost: float


def score_allocation(text: str, row: Sequence[Scored], look: float, one: float) -> ScoredAllocation:
    """Read a text as the main job would.

    Parameters
    ----------
    text : str
    row : sequence of Scored
        s(N) of the question at each of `BUDGETS`.
    look : float
        FLOPs that the allocator spent on it.
    one : float
        FLOPs that a cost of 1 stands for (`costing_one`).
    """
    written = parse_allocation(text)
    number = FALLBACK if written.number is None else written.number
    scored = row[BUDGETS.index(snap(number, row[0].native))]
    return ScoredAllocation(written, scored, (scored.flops + look) / one)


def text_rewards(given: Sequence[ScoredAllocation], settings: AllocatorRecipe) -> torch.Tensor:
    """Reward of each text, float (texts,): that of its budget, and ``format_weight`` for its form.

    A text without a number earns nothing of either, whatever the default budget scores.
    """
    scores = torch.tensor([0.0 if g.written.number is None else g.scored.score for g in given])
    if settings.reward == "paper":
        tokens = torch.tensor([[g.scored.tokens] for g in given])
        native = torch.tensor([g.scored.native for g in given])
        brought = paper_step(scores[:, None], tokens, native)[:, 0]
    else:
        costs = torch.tensor([g.cost for g in given])
        brought = gated(scores, costs, settings.lambdas[settings.text.effort])
    whole = torch.tensor([float(g.written.well_formed) for g in given])
    return brought + settings.text.format_weight * whole


def text_figures(given: Sequence[ScoredAllocation]) -> dict[str, float]:
    """Means over texts: what users would get, default budgets taken where no number was written."""
    each = {
        "score": [g.scored.score for g in given],
        "cost": [g.cost for g in given],
        "tokens": [float(g.scored.tokens) for g in given],
        "format": [float(g.written.well_formed) for g in given],
        "no_number": [float(g.written.number is None) for g in given],
    }
    return {name: round(sum(values) / len(values), 5) for name, values in each.items()}
