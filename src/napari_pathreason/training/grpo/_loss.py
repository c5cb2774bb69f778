"""Advantages of completions and the parts of the GRPO loss, as pure functions of tensors.

Losses take (completions, tokens), right-padded, and leave padding to `aggregate`.
"""

from __future__ import annotations

import torch

from napari_pathreason.training.recipe import PolicyLoss

STD_EPSILON = 1e-4
"""Added to a group's standard deviation, as in TRL's GRPOTrainer."""


def group_advantages(rewards: torch.Tensor, *, scale_rewards: bool) -> torch.Tensor:
    """Advantage of each completion against its own group.

    ``A_i = r_i - mean(r)``, and with ``scale_rewards`` ``A_i / (std(r) + STD_EPSILON)``
    (DeepSeekMath, arXiv:2402.03300, section 4.1.2; std with G - 1, as TRL takes it). Without
    ``scale_rewards`` the advantage of Dr. GRPO (arXiv:2503.20783, section 3.2): the division weighs
    a question more the less its completions differ.

    Parameters
    ----------
    rewards : float tensor (groups, completions), at least two completions
        NaN where a completion cannot be rewarded: the others are compared without it.
    scale_rewards : bool

    Returns
    -------
    float tensor (groups, completions)
        Exactly 0 in a group of equal rewards, whatever rounding the mean brings, and where there
        is no reward.
    """
    mean, std = _mean_and_std(rewards)
    centred = rewards - mean
    if scale_rewards:
        centred = centred / (std + STD_EPSILON)
    nothing = rewards.isnan() | zero_variance(rewards)[:, None]
    return centred.masked_fill(nothing, 0.0)


def _mean_and_std(rewards: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each group (groups, 1), of the rewards that there are; as TRL's ``nanstd``."""
    missing = rewards.isnan()
    if not missing.any():
        return rewards.mean(dim=1, keepdim=True), rewards.std(dim=1, keepdim=True)
    mean = rewards.nanmean(dim=1, keepdim=True)
    squares = (rewards - mean).square().masked_fill(missing, 0.0).sum(dim=1, keepdim=True)
    count = (~missing).sum(dim=1, keepdim=True)
    return mean, (squares / (count - 1).clamp(min=1)).sqrt()


def zero_variance(rewards: torch.Tensor) -> torch.Tensor:
    """Groups of equal rewards: nothing can be learnt from them.

    Parameters
    ----------
    rewards : float tensor (groups, completions)

    Returns
    -------
    bool tensor (groups,)
    """
    missing = rewards.isnan()
    most = rewards.masked_fill(missing, -torch.inf).amax(dim=1)
    return most <= rewards.masked_fill(missing, torch.inf).amin(dim=1)


def clipped_surrogate(
    log_p: torch.Tensor,
    old_log_p: torch.Tensor,
    advantages: torch.Tensor,
    epsilon: float,
    epsilon_high: float,
) -> torch.Tensor:
    """Loss of each token: ``-min(w A, clip(w, 1 - epsilon, 1 + epsilon_high) A)``.

    ``w`` is the ratio of probabilities, ``p / p_old``.
    PPO (arXiv:1707.06347, equation 7); two bounds as in DAPO (arXiv:2503.14476, equation 10).

    Parameters
    ----------
    log_p, old_log_p : float tensor (completions, tokens)
        Log-probabilities of the tokens, now and when they were sampled.
    advantages : float tensor (completions,)
    epsilon, epsilon_high : float
        How far the ratio may move before a token stops to teach.
    """
    ratio = (log_p - old_log_p).exp()
    gain = advantages[:, None]
    return -torch.minimum(ratio * gain, ratio.clamp(1 - epsilon, 1 + epsilon_high) * gain)


def k3(log_p: torch.Tensor, reference_log_p: torch.Tensor) -> torch.Tensor:
    """Estimate of KL(p, reference) at each token: ``exp(d) - d - 1``, ``d = log p_ref - log p``.

    Never negative, and unbiased for tokens sampled from p (DeepSeekMath, arXiv:2402.03300,
    equation 4; J. Schulman, "Approximating KL divergence", 2020).

    Parameters
    ----------
    log_p, reference_log_p : float tensor (completions, tokens)
    """
    difference = reference_log_p - log_p
    return difference.exp() - difference - 1


def aggregate(
    each: torch.Tensor,
    mask: torch.Tensor,
    loss_type: PolicyLoss,
    *,
    tokens: float,
    max_completion_length: int,
) -> torch.Tensor:
    """One number out of the losses of tokens.

    ``grpo``: mean over completions of the mean over their tokens, so that a token of a long
    completion counts less (DeepSeekMath, arXiv:2402.03300, equation 3). ``dapo``: sum over
    ``tokens``, so that every token counts the same (DAPO, arXiv:2503.14476, equation 8).
    ``dr_grpo``: sum over a constant, completions times
    ``max_completion_length`` (Dr. GRPO, arXiv:2503.20783).

    Parameters
    ----------
    each : float tensor (completions, tokens)
    mask : bool tensor (completions, tokens)
        False where a completion has ended.
    loss_type : {"dapo", "dr_grpo", "grpo"}
    tokens : float
        Tokens in the step's completions; with several processes their mean, so that averaged
        gradients are those of one process with all completions.
    max_completion_length : int
        Tokens that a completion may have at the most.
    """
    inside = each.masked_fill(~mask, 0.0)  # padding may hold infinities, which no product removes
    if loss_type == "grpo":
        return (inside.sum(1) / mask.sum(1).clamp(min=1)).mean()
    if loss_type == "dapo":
        return inside.sum() / max(tokens, 1.0)
    return inside.sum() / (len(each) * max_completion_length)
