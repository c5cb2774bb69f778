"""Reward of an allocated budget, and the policy gradient over the whole grid, pure functions."""

from __future__ import annotations

import torch


def gated(scores: torch.Tensor, costs: torch.Tensor, lambda_: float) -> torch.Tensor:
    """Reward of each budget: ``s(N) * (1 - lambda_ * c(N))``, never below 0.

    Cost counts inside correctness alone: where no budget helps, every budget earns 0 and nothing
    pulls towards the cheapest. However dear it is, right never earns less than wrong.

    Parameters
    ----------
    scores : float tensor (items, budgets)
        The performer's score at each budget, 0 to 1.
    costs : float tensor (items, budgets)
        FLOPs, the allocator's own counted; 1 is an answer at native size (`costing_one`).
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
    would erase the price.

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
