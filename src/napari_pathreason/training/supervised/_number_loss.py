"""Loss of a measured number: the tokens of 0 to 1000 as values on a scale, not as words."""

from __future__ import annotations

import torch

NUMBERS = 1001
"""Number tokens stand for 0 to 1000."""
WIDER, FAR = 8.0, 13.0
"""Width of the wide half of a number's target, and the distance that costs one nat, in spreads."""
COUNT_SPREAD = 0.06
"""Standard deviation of a count's target, on the scale of `count_scale`."""
COUNT_COST = 8.0
"""Nats that a count costs where it is off by a factor of e."""
COUNT_STEP = 0.1
"""Ratio between neighbouring counts that may be written, less one, where it exceeds one."""


def counts_to_write() -> torch.Tensor:
    """Counts in even ratio, bool (NUMBERS,): 0 to 10 each, then every tenth more than the last.

    Each is as likely to be meant as the next, so that the peak, which greedy decoding takes, is
    the middle; see `count_scale`.
    """
    allowed = torch.zeros(NUMBERS, dtype=torch.bool)
    count = 0.0
    while round(count) < NUMBERS:
        allowed[round(count)] = True
        count += max(1.0, COUNT_STEP * count)
    return allowed


def count_scale(counts: torch.Tensor) -> torch.Tensor:
    """Logarithm of counts, float in their shape; 0 counts as one half.

    A count is off by a ratio. A target that is wide in numbers reaches far down and hardly up in
    ratios, so where a count is uncertain the small ones had the higher peaks: nuclei and red cells
    were told too few (docs/experiments.md).
    """
    return counts.float().clamp(min=0.5).log()


def number_loss(
    log_p: torch.Tensor,
    written: torch.Tensor,
    values: torch.Tensor,
    spread: torch.Tensor,
    allowed: torch.Tensor,
) -> torch.Tensor:
    """Loss of each number that should be written, (targets,); neighbours count as nearly right.

    Plain cross-entropy calls 499 for 500 as wrong as 0. Here the target of a number v is half a
    normal distribution around v and half one that is `WIDER`, so that there is a slope to follow
    from far away; the distance of the expected number from v is added (docs/experiments.md).

    Parameters
    ----------
    log_p : float tensor (targets, numbers)
        Log-probabilities of the numbers; they need not sum to one.
    written : tensor (numbers,) or (targets, numbers)
        Where the numbers lie on the scale that v is told on.
    values : tensor (targets,)
        v.
    spread : float tensor (targets,)
        Standard deviation of the narrow half, above 0.
    allowed : bool tensor (targets or 1, numbers)
        Numbers that may be written.
    """
    away = (written - values[:, None]) / spread[:, None]

    def normal(width: float) -> torch.Tensor:
        weight = torch.exp(-0.5 * (away / width) ** 2) * allowed
        return weight / weight.sum(1, keepdim=True).clamp(min=1e-9)

    said = _said(log_p, allowed)
    off = ((said * written).sum(1) - values).abs() / (FAR * spread)
    return off - (0.5 * (normal(1.0) + normal(WIDER)) * log_p).sum(1)


def expected_error(
    log_p: torch.Tensor, written: torch.Tensor, values: torch.Tensor, allowed: torch.Tensor
) -> torch.Tensor:
    """How far the numbers that would be drawn are from those meant, (targets,).

    Least where all probability lies on the median of what may be meant. Cross-entropy alone
    learns the distribution, whose likeliest number is not its middle (docs/experiments.md).
    Parameters are those of `number_loss`.
    """
    said = _said(log_p, allowed)
    return (said * (written - values[:, None]).abs()).sum(1)


def _said(log_p: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Probabilities of the numbers that may be written, (targets, numbers)."""
    return log_p.masked_fill(~allowed, -torch.inf).softmax(dim=1)
