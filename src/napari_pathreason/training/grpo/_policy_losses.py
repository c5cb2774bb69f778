"""The parts of the GRPO loss as pure functions of tensors.

All take (completions, tokens), right-padded, and leave padding to `aggregate`.
"""

from __future__ import annotations

import torch

from napari_pathreason.training.recipe import PolicyLoss


def clipped_surrogate(
    log_p: torch.Tensor,
    old_log_p: torch.Tensor,
    advantages: torch.Tensor,
    low: float,
    high: float,
) -> torch.Tensor:
    """Loss of each token: ``-min(w A, clip(w, 1 - low, 1 + high) A)``, ``w = p / p_old``.

    PPO (arXiv:1707.06347, equation 7); two bounds as in DAPO (arXiv:2503.14476, equation 10).

    Parameters
    ----------
    log_p, old_log_p : float tensor (completions, tokens)
        Log-probabilities of the drawn tokens, now and when they were drawn.
    advantages : float tensor (completions,)
    low, high : float
        How far the ratio may move before a token stops to teach.
    """
    ratio = (log_p - old_log_p).exp()
    gain = advantages[:, None]
    return -torch.minimum(ratio * gain, ratio.clamp(1 - low, 1 + high) * gain)


def k3(log_p: torch.Tensor, reference_log_p: torch.Tensor) -> torch.Tensor:
    """Estimate of KL(p, reference) at each token: ``exp(d) - d - 1``, ``d = log p_ref - log p``.

    Never negative, and unbiased for tokens drawn from p (DeepSeekMath, arXiv:2402.03300,
    equation 4; J. Schulman, "Approximating KL divergence", 2020).

    Parameters
    ----------
    log_p, reference_log_p : float tensor (completions, tokens)
    """
    difference = reference_log_p - log_p
    return difference.exp() - difference - 1


def aggregate(
    each: torch.Tensor, mask: torch.Tensor, loss: PolicyLoss, *, tokens: float, longest: int
) -> torch.Tensor:
    """One number out of the losses of tokens.

    ``grpo``: mean over completions of the mean over their tokens, so that a token of a long
    completion counts less (DeepSeekMath, arXiv:2402.03300, equation 3). ``dapo``: sum over
    ``tokens``, so that every token counts the same (DAPO, arXiv:2503.14476, equation 8).
    ``dr_grpo``: sum over a constant, completions times ``longest`` (Dr. GRPO, arXiv:2503.20783).

    Parameters
    ----------
    each : float tensor (completions, tokens)
    mask : bool tensor (completions, tokens)
        False where a completion has ended.
    loss : {"dapo", "dr_grpo", "grpo"}
    tokens : float
        Tokens in the step's completions; with several processes their mean, so that averaged
        gradients are those of one process with all completions.
    longest : int
        Tokens that a completion may have at the most.
    """
    kept = each.masked_fill(~mask, 0.0)  # padding may hold infinities, which no product removes
    if loss == "grpo":
        return (kept.sum(1) / mask.sum(1).clamp(min=1)).mean()
    if loss == "dapo":
        return kept.sum() / max(tokens, 1.0)
    return kept.sum() / (len(each) * longest)
