"""Reward of an allocated budget, written or chosen, and the head's policy gradient over the grid.

Pure functions of tables of s(N); the allocator's own FLOPs are always counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from napari_pathreason.budgets import snap
from napari_pathreason.models import BUDGETS, FALLBACK
from napari_pathreason.tasks import WrittenAllocation, parse_allocation
from napari_pathreason.training.recipe import AllocatorRecipe

from ._tables import Scored


def gated(scores: torch.Tensor, costs: torch.Tensor, lambda_: float) -> torch.Tensor:
    """Reward of each budget: ``s(N) * (1 - lambda_ * c(N))``, never below 0.

    Cost counts inside correctness alone: where no budget helps, every reward is 0 and nothing
    pulls towards the cheapest. However dear it is, right is never rewarded less than wrong.

    Parameters
    ----------
    scores : float tensor (items, budgets)
        The performer's score at each budget, 0 to 1.
    costs : float tensor (items, budgets)
        FLOPs, the allocator's own counted; 1 is an answer at native size (`native_flops`).
    lambda_ : float
        lambda; what the cost of a native answer takes off.
    """
    return scores * (1 - lambda_ * costs).clamp(min=0)


def paper(scores: torch.Tensor, tokens: torch.Tensor, native: torch.Tensor) -> torch.Tensor:
    """Reward of each budget in the paper's form: `paper_step`, plus 1 for its format.

    A budget of the budget grid is always well written, so the format's 1 is a constant here.
    """
    return paper_step(scores, tokens, native) + 1


def paper_step(scores: torch.Tensor, tokens: torch.Tensor, native: torch.Tensor) -> torch.Tensor:
    """The paper's reward of a number of tokens: ``s if N < T else s / 2``.

    ``T = min(native, 256)`` (Xu et al. 2025, arXiv:2505.15687).

    Parameters
    ----------
    scores : float tensor (items, budgets)
    tokens : int tensor (items, budgets)
        Realised visual tokens.
    native : int tensor (items,)
    """
    bound = native.clamp(max=256)[:, None]
    return torch.where(tokens < bound, scores, scores / 2)


def expected_gain(logits: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
    """Exact expected advantage of each item: ``sum_N p(N) A(N)``.

    Its gradient is the policy gradient without sampling, as s(N) is known at every budget.
    ``A = r - sum_N p(N) r(N)``, with the mean held constant and no division by a deviation, which
    would erase lambda.

    Parameters
    ----------
    logits, rewards : float tensor (items, budgets)

    Returns
    -------
    float tensor (items,)
        0 in value; its gradient teaches.
    """
    probabilities = logits.softmax(-1)
    mean = (probabilities.detach() * rewards).sum(-1, keepdim=True)
    return (probabilities * (rewards - mean)).sum(-1)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy of each item's policy in nats, float tensor (items,)."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def ranking_loss(logits: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
    """Warm start: ``log(1 + exp(l_worse - l_better))``, mean over pairs of unequal budgets.

    RankNet (Burges et al. 2005, equation 3), each pair weighed by its difference of rewards.

    Parameters
    ----------
    logits, rewards : float tensor (items, budgets)

    Returns
    -------
    float tensor ()
        0 where no item has two budgets that differ.
    """
    better = (rewards[:, :, None] - rewards[:, None, :]).clamp(min=0)
    margin = logits[:, :, None] - logits[:, None, :]
    each = better * torch.nn.functional.softplus(-margin)
    return each.sum() / better.sum().clamp(min=1e-9)


@dataclass(frozen=True, slots=True)
class ScoredAllocation:
    """A text beside what the performer scores at the budget that it leads to.

    ``cost`` is as `gated` takes it, the allocator's own FLOPs counted.
    """

    written: WrittenAllocation
    scored: Scored
    cost: float


def score_allocation(
    text: str, row: Sequence[Scored], own_flops: float, native: float
) -> ScoredAllocation:
    """Read a text as the main job would.

    Parameters
    ----------
    text : str
    row : sequence of Scored
        s(N) of the question at each of `BUDGETS`.
    own_flops : float
        That the allocator spent on it.
    native : float
        FLOPs that a cost of 1 stands for (`native_flops`).
    """
    written = parse_allocation(text)
    number = FALLBACK if written.number is None else written.number
    scored = row[BUDGETS.index(snap(number, row[0].native))]
    return ScoredAllocation(written, scored, (scored.flops + own_flops) / native)


def text_rewards(each: Sequence[ScoredAllocation], settings: AllocatorRecipe) -> torch.Tensor:
    """Reward of each text, float (texts,): that of its budget, and ``format_weight`` for its form.

    A text without a number gets neither, whatever the default budget scores.
    """
    scores = torch.tensor([0.0 if a.written.number is None else a.scored.score for a in each])
    if settings.reward == "paper":
        tokens = torch.tensor([[a.scored.tokens] for a in each])
        native = torch.tensor([a.scored.native for a in each])
        rewards = paper_step(scores[:, None], tokens, native)[:, 0]
    else:
        costs = torch.tensor([a.cost for a in each])
        rewards = gated(scores, costs, settings.lambdas[settings.text.effort])
    well_formed = torch.tensor([float(a.written.well_formed) for a in each])
    return rewards + settings.text.format_weight * well_formed


def text_figures(each: Sequence[ScoredAllocation]) -> dict[str, float]:
    """Means over texts: what users would get, default budgets taken where no number was written."""
    figures = {
        "score": [a.scored.score for a in each],
        "cost": [a.cost for a in each],
        "tokens": [float(a.scored.tokens) for a in each],
        "format": [float(a.written.well_formed) for a in each],
        "nothing": [float(a.written.number is None) for a in each],
    }
    return {name: round(sum(values) / len(values), 5) for name, values in figures.items()}
