"""Losses as pure functions of tensors."""

from __future__ import annotations

import torch
from torch.nn import functional

from ._batch import IGNORE


def sft_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the target tokens.

    Parameters
    ----------
    logits : float tensor (batch, length, vocabulary)
    labels : int64 tensor (batch, length)
        `IGNORE` where nothing is learnt; position i is predicted from position i - 1.
    """
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORE
    )


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
