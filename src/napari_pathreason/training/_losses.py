"""Losses as pure functions of tensors."""

from __future__ import annotations

import torch
from torch.nn import functional

NUMBERS = 1001
"""Number tokens stand for 0 to 1000."""


def sft_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    values: torch.Tensor,
    spread: torch.Tensor,
    step: torch.Tensor,
    numbers: torch.Tensor,
) -> torch.Tensor:
    """Mean cross-entropy of the target tokens; a number also counts its neighbours as nearly right.

    Plain cross-entropy calls 499 for 500 as wrong as 0. Here the target of a number v is a normal
    distribution around v over the numbers that may be written (multiples of ``step``).

    Parameters
    ----------
    logits : float tensor (targets, vocabulary)
    labels : int64 tensor (targets,)
    values : int64 tensor (targets,)
        The number that a target token stands for; anything where ``spread`` is 0.
    spread : float tensor (targets,)
        Standard deviation of the target; 0 for a token that is no measured number.
    step : int64 tensor (targets,)
        Numbers to be written are multiples of it.
    numbers : int64 tensor (NUMBERS,)
        Token ids of 0 to 1000.
    """
    logits = logits.float()
    plain = functional.cross_entropy(logits, labels, reduction="none")
    soft = spread > 0
    if not soft.any():
        return plain.mean()
    written = torch.arange(NUMBERS, device=logits.device)
    away = (written - values[soft, None]) / spread[soft, None]
    weight = torch.exp(-0.5 * away**2) * (written % step[soft, None] == 0)
    weight = weight / weight.sum(1, keepdim=True)
    log_p = functional.log_softmax(logits[soft], dim=1)[:, numbers]
    return (plain[~soft].sum() - (weight * log_p).sum()) / len(labels)


def dense_loss(logits: torch.Tensor, shares: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of covered shares, over annotated classes only.

    Parameters
    ----------
    logits, shares : float tensor (visual tokens, classes)
    known : bool tensor (visual tokens, classes)
    """
    each = functional.binary_cross_entropy_with_logits(logits.float(), shares, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def box_loss(predicted: torch.Tensor, corners: torch.Tensor, boxed: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of box corners, over the cells that lie in a box.

    Parameters
    ----------
    predicted, corners : float tensor (visual tokens, 4)
        Shares of width and height, 0 to 1.
    boxed : bool tensor (visual tokens,)
    """
    each = (predicted.float() - corners).abs().mean(dim=1)
    return (each * boxed).sum() / boxed.sum().clamp(min=1)


def count_loss(predicted: torch.Tensor, numbers: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean error of the number of things in a cell, relative to that number plus one.

    Parameters
    ----------
    predicted, numbers : float tensor (visual tokens, counted classes)
    known : bool tensor (visual tokens, counted classes)
    """
    each = (predicted.float() - numbers).abs() / (1 + numbers)
    return (each * known).sum() / known.sum().clamp(min=1)


def place_loss(predicted: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of each cell's own place.

    Without it training wipes out where a visual token came from, and the text part cannot write
    where a thing is (docs/experiments.md).

    Parameters
    ----------
    predicted, places : float tensor (visual tokens, 2)
        (x, y) in shares of width and height, 0 to 1.
    """
    return (predicted.float() - places).abs().mean()
