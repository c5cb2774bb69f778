"""What a writing allocator's texts allot, and what they earn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from napari_pathreason.models import FALLBACK, RUNGS
from napari_pathreason.tasks import Allotment, read_allotment
from napari_pathreason.tokens import snap
from napari_pathreason.training.recipe import AllocatorRecipe

from ._allocator_rewards import gated, paper_step
from ._ladder_scores import Scored


@dataclass(frozen=True, slots=True)
class Allotted:
    """A text beside what the performer scores at the rung that it leads to.

    ``cost`` is as `gated` takes it, the allocator's own operations counted.
    """

    allotment: Allotment
    scored: Scored
    cost: float


def allotted(text: str, row: Sequence[Scored], look: float, one: float) -> Allotted:
    """Read a text as the main job would.

    Parameters
    ----------
    text : str
    row : sequence of Scored
        s(N) of the question at each of `RUNGS`.
    look : float
        Operations that the allocator spent on it.
    one : float
        Operations that a cost of 1 stands for (`costing_one`).
    """
    allotment = read_allotment(text)
    number = FALLBACK if allotment.number is None else allotment.number
    scored = row[RUNGS.index(snap(number, row[0].native))]
    return Allotted(allotment, scored, (scored.flops + look) / one)


def earned(given: Sequence[Allotted], settings: AllocatorRecipe) -> torch.Tensor:
    """Reward of each text, float (texts,): that of its rung, and ``format_weight`` for its form.

    A text without a number earns nothing of either, whatever the default rung scores.
    """
    scores = torch.tensor([0.0 if g.allotment.number is None else g.scored.score for g in given])
    if settings.reward == "paper":
        tokens = torch.tensor([[g.scored.tokens] for g in given])
        native = torch.tensor([g.scored.native for g in given])
        brought = paper_step(scores[:, None], tokens, native)[:, 0]
    else:
        costs = torch.tensor([g.cost for g in given])
        brought = gated(scores, costs, settings.prices[settings.text.effort])
    whole = torch.tensor([float(g.allotment.well_formed) for g in given])
    return brought + settings.text.format_weight * whole


def text_figures(given: Sequence[Allotted]) -> dict[str, float]:
    """Means over texts: what users would get, default rungs taken where no number was written."""
    each = {
        "score": [g.scored.score for g in given],
        "cost": [g.cost for g in given],
        "tokens": [float(g.scored.tokens) for g in given],
        "format": [float(g.allotment.well_formed) for g in given],
        "no_number": [float(g.allotment.number is None) for g in given],
    }
    return {name: round(sum(values) / len(values), 5) for name, values in each.items()}
