"""Losses as pure functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ._number_loss import (
    COUNT_COST,
    COUNT_SPREAD,
    NUMBERS,
    count_scale,
    counts_to_write,
    expected_error,
    number_loss,
)

COORDINATE_SPREAD = 0.75
"""Standard deviation of a coordinate's target, in steps between coordinates."""


def sft_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    values: torch.Tensor,
    spread: torch.Tensor,
    step: torch.Tensor,
    numbers: torch.Tensor,
    number_weight: float = 1.0,
) -> torch.Tensor:
    """Mean cross-entropy of the target tokens; a measured number counts by `number_loss`.

    A count has `expected_error` added, as one word of it is written, not its distribution, and
    weighs ``number_weight`` times what other words do: a list of boxes has a hundred of them.

    Parameters
    ----------
    logits : float tensor (targets, vocabulary)
    labels : int64 tensor (targets,)
    values : int64 tensor (targets,)
        The number that a target token stands for; anything where ``spread`` is 0.
    spread : float tensor (targets,)
        Standard deviation of the target; 0 for a token that is no measured number.
    step : int64 tensor (targets,)
        Numbers to be written are multiples of it; 0: a count, written as `counts_to_write` and
        measured by `count_scale`.
    numbers : int64 tensor (NUMBERS,)
        Token ids of 0 to 1000.
    number_weight : float
    """
    logits = logits.float()
    weight = torch.where(step == 0, number_weight, 1.0)
    plain = functional.cross_entropy(logits, labels, reduction="none") * weight
    soft = spread > 0
    if not soft.any():
        return plain.mean()
    written = torch.arange(NUMBERS, device=logits.device)
    log_p = functional.log_softmax(logits[soft], dim=1)[:, numbers]
    values, step = values[soft], step[soft]
    counts, multiples = (step == 0)[:, None], written % step.clamp(min=1)[:, None] == 0
    allowed = torch.where(counts, counts_to_write().to(logits.device), multiples)
    scale = torch.where(counts, count_scale(written), written)
    values = torch.where(step == 0, count_scale(values), values)
    measured = number_loss(log_p, scale, values, spread[soft], allowed)
    measured = measured + counts[:, 0] * COUNT_COST * expected_error(log_p, scale, values, allowed)
    return (plain[~soft].sum() + (measured * weight[soft]).sum()) / len(labels)


def dense_loss(logits: torch.Tensor, shares: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of covered shares, over annotated classes only.

    Parameters
    ----------
    logits, shares : float tensor (visual tokens, classes)
    known : bool tensor (visual tokens, classes)
    """
    each = functional.binary_cross_entropy_with_logits(logits.float(), shares, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def box_loss(log_p: torch.Tensor, corners: torch.Tensor, boxed: torch.Tensor) -> torch.Tensor:
    """Mean `number_loss` of box corners, over the boxes; the cells of a box share its weight.

    Were each cell to count the same, a thing of forty cells would outweigh one of a single cell,
    and the corners of small things would stay half their size wrong (docs/experiments.md).

    Parameters
    ----------
    log_p : float tensor (visual tokens, 4, coordinates)
        Of the coordinates that may be written, evenly from 0 to 1000.
    corners : float tensor (visual tokens, 4)
        Shares of width and height, 0 to 1.
    boxed : float tensor (visual tokens,)
        Each cell's share of the cells of its box; 0 outside of boxes.
    """
    inside = boxed > 0
    each = _coordinate_loss(log_p[inside], corners[inside])
    return (each.mean(1) * boxed[inside]).sum() / boxed.sum().clamp(min=1e-9)


def count_loss(
    predicted: torch.Tensor, numbers: torch.Tensor, known: torch.Tensor, tokens: Sequence[int]
) -> torch.Tensor:
    """Mean squared error of the number of things in a cell, relative to its variance.

    Its best guess is the mean, so that what the cells of a picture say adds up to what is there
    (quasi-likelihood of counts, Wedderburn 1974). Of an absolute error it is the median, which is
    0 wherever a cell holds less than half a thing on average (docs/experiments.md). The variance
    is ``1 + m + m^2 / 2``, m the predicted number or the mean of the picture, whichever is larger:
    it grows as in a negative binomial, so that cells of hundreds do not drown all other losses.

    Parameters
    ----------
    predicted, numbers : float tensor (visual tokens, counted classes)
    known : bool tensor (visual tokens, counted classes)
    tokens : sequence of int
        Of each picture.
    """
    predicted = predicted.float()
    usual = [n.mean(dim=0, keepdim=True).expand_as(n) for n in numbers.split(list(tokens))]
    expected = torch.maximum(predicted.detach(), torch.cat(usual))
    each = (predicted - numbers) ** 2 / (1 + expected + expected**2 / 2)
    return (each * known).sum() / known.sum().clamp(min=1)


def total_loss(log_p: torch.Tensor, totals: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean `number_loss` of how many things a whole picture holds.

    Parameters
    ----------
    log_p : float tensor (pictures, counted classes, NUMBERS)
    totals : float tensor (pictures, counted classes)
    known : bool tensor (pictures, counted classes)
    """
    written = count_scale(torch.arange(NUMBERS, device=log_p.device))
    values = count_scale(totals[known].round().clamp(max=NUMBERS - 1))
    spread = torch.full_like(values, COUNT_SPREAD)
    allowed = counts_to_write().to(log_p.device)[None]
    each = number_loss(log_p[known], written, values, spread, allowed)
    return each.sum() / max(1, len(each))


def look_loss(looks: torch.Tensor, cells: torch.Tensor, spoken_of: torch.Tensor) -> torch.Tensor:
    """How far attention is from the cells that words speak of: sum of divergences, in nats.

    A word that speaks of a box should look at its cells by shared area. A small model asked to
    write a place reads it off the visual tokens only once it looks at the right ones, and the loss
    of the text alone does not tell it which (docs/experiments.md).

    Parameters
    ----------
    looks : float tensor (words, heads, cells)
        Log of the attention of each word's token; what is missing from one looks elsewhere.
    cells : float tensor (cells, 4)
        Corners of each cell, in shares of the picture.
    spoken_of : float tensor (words, 4)
        Corners of what each word speaks of, in shares; not empty.

    Returns
    -------
    float tensor ()
        Kullback-Leibler divergence of attention from the wanted one; mean of heads, sum of words.
    """
    corners = spoken_of[:, None]
    sides = torch.minimum(cells[:, 2:], corners[..., 2:]) - torch.maximum(
        cells[:, :2], corners[..., :2]
    )
    shared = sides.clamp(min=0).prod(dim=-1)
    wanted = shared / shared.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return (torch.xlogy(wanted, wanted) - wanted * looks.mean(dim=1)).sum()


def turn_loss(
    turns: torch.Tensor,
    due: torch.Tensor,
    cells: torch.Tensor,
    shown: torch.Tensor,
    spoken_of: torch.Tensor,
) -> torch.Tensor:
    """How far the heads that read corners are from taking turns: sum of divergences, in nats.

    The head whose value is due looks at the cells of the box; the others look at the first token,
    which tells nothing.

    Parameters
    ----------
    turns : float tensor (words, 4, length)
        Log of the attention of each word's token.
    due : int64 tensor (words,)
        Which head's turn it is.
    cells : float tensor (length, 4)
        Corners of each cell, in shares of the picture.
    shown : bool tensor (length,)
        Which tokens are cells.
    spoken_of : float tensor (words, 4)
        Corners of the box that each word speaks of.

    Returns
    -------
    float tensor ()
        Of the head that is due, and mean of the others; sum of words.
    """
    words = torch.arange(len(due), device=due.device)
    reads = look_loss(turns[words, due][:, None, shown], cells[shown], spoken_of)
    first = turns[:, :, 0]
    waits = -(first.sum() - first[words, due].sum()) / (turns.shape[1] - 1)
    return reads + waits


def place_loss(log_p: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Mean `number_loss` of each cell's own place.

    Without it training wipes out where a visual token came from, and the language model cannot
    write where a thing is (docs/experiments.md).

    Parameters
    ----------
    log_p : float tensor (visual tokens, 2, coordinates)
        Of the coordinates that may be written, evenly from 0 to 1000.
    places : float tensor (visual tokens, 2)
        (x, y) in shares of width and height, 0 to 1.
    """
    each = _coordinate_loss(log_p, places)
    return each.sum() / max(1, each.numel())


def _coordinate_loss(log_p: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """`number_loss` of each coordinate, in the shape of ``shares``."""
    count = log_p.shape[-1]
    written = torch.linspace(0, NUMBERS - 1, count, device=log_p.device)
    values = (NUMBERS - 1) * shares.reshape(-1)
    spread = torch.full_like(values, COORDINATE_SPREAD * (NUMBERS - 1) / (count - 1))
    allowed = torch.ones(1, count, dtype=torch.bool, device=log_p.device)
    each = number_loss(log_p.reshape(-1, count).float(), written, values, spread, allowed)
    return each.reshape(shares.shape)
