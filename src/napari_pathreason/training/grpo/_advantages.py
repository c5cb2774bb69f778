"""How much better a completion was than the others of its group."""

from __future__ import annotations

import torch

EPSILON = 1e-4
"""Added to a group's standard deviation, as in TRL's GRPOTrainer."""


def group_advantages(rewards: torch.Tensor, *, scale: bool) -> torch.Tensor:
    """Advantage of each completion against its own group.

    ``A_i = r_i - mean(r)``, and with ``scale`` ``A_i / (std(r) + EPSILON)`` (DeepSeekMath,
    arXiv:2402.03300, section 4.1.2; std with G - 1, as TRL takes it). Without ``scale`` the
    advantage of Dr. GRPO (arXiv:2503.20783, section 3.2): the division weighs a question more the
    less its completions differ.

    Parameters
    ----------
    rewards : float tensor (groups, completions), at least two completions
    scale : bool

    Returns
    -------
    float tensor (groups, completions)
        Exactly 0 in a group of equal rewards, whatever rounding the mean brings.
    """
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    if scale:
        centred = centred / (rewards.std(dim=1, keepdim=True) + EPSILON)
    return centred.masked_fill(zero_variance(rewards)[:, None], 0.0)


def zero_variance(rewards: torch.Tensor) -> torch.Tensor:
    """Groups whose completions all earned the same: nothing can be learnt from them.

    Parameters
    ----------
    rewards : float tensor (groups, completions)

    Returns
    -------
    bool tensor (groups,)
    """
    return rewards.amax(dim=1) == rewards.amin(dim=1)
