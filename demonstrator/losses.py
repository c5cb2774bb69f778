"""Losses as pure functions of tensors.

A measured number is written as one of the tokens of 0 to 1000. Its loss takes them as values on a
scale, not as words: neighbours are nearly right.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

NUMBERS = 1001
"""Number tokens stand for 0 to 1000."""
WIDER, FAR = 8.0, 13.0
"""Width of the wide half of a number's target, and the distance that costs one nat, in sigmas."""
COUNT_SIGMA = 0.06
"""Standard deviation of a count's target, on the scale of `count_scale`."""
COUNT_COST = 8.0
"""Nats that a count costs where it is off by a factor of e."""
COUNT_STEP = 0.1
"""Ratio between neighbouring counts that may be written, less one, where it exceeds one."""
COORDINATE_SIGMA = 0.75
"""Standard deviation of a coordinate's target, in steps between coordinates."""


def text_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    values: torch.Tensor,
    sigma: torch.Tensor,
    step: torch.Tensor,
    numbers: torch.Tensor,
    count_token_weight: float = 1.0,
) -> torch.Tensor:
    """Mean cross-entropy of the target tokens; a measured number counts by `number_loss`.

    A count has `expected_error` added, as one word of it is written, not its distribution, and
    weighs ``count_token_weight`` times what other words do: a list of boxes has a hundred of them.

    Parameters
    ----------
    logits : float tensor (targets, vocabulary)
    labels : int64 tensor (targets,)
    values : int64 tensor (targets,)
        The number that a target token stands for; anything where ``sigma`` is 0.
    sigma : float tensor (targets,)
        Standard deviation of the target; 0 for a token that is no measured number.
    step : int64 tensor (targets,)
        Numbers to be written are multiples of it; 0: a count, written as `counts_to_write` and
        measured by `count_scale`.
    numbers : int64 tensor (NUMBERS,)
        Token ids of 0 to 1000.
    count_token_weight : float
    """
    logits = logits.float()
    weight = torch.where(step == 0, count_token_weight, 1.0)
    plain = functional.cross_entropy(logits, labels, reduction="none") * weight
    soft = sigma > 0
    if not soft.any():
        return plain.mean()
    written = torch.arange(NUMBERS, device=logits.device)
    log_p = functional.log_softmax(logits[soft], dim=1)[:, numbers]
    values, step = values[soft], step[soft]
    counts, multiples = (step == 0)[:, None], written % step.clamp(min=1)[:, None] == 0
    allowed = torch.where(counts, counts_to_write().to(logits.device), multiples)
    scale = torch.where(counts, count_scale(written), written)
    values = torch.where(step == 0, count_scale(values), values)
    measured = number_loss(log_p, scale, values, sigma[soft], allowed)
    measured = measured + counts[:, 0] * COUNT_COST * expected_error(log_p, scale, values, allowed)
    return (plain[~soft].sum() + (measured * weight[soft]).sum()) / len(labels)


def coverage_loss(logits: torch.Tensor, shares: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of covered shares, over annotated classes only.

    Parameters
    ----------
    logits, shares : float tensor (visual tokens, classes)
    known : bool tensor (visual tokens, classes)
    """
    each = functional.binary_cross_entropy_with_logits(logits.float(), shares, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def box_loss(log_p: torch.Tensor, corners: torch.Tensor, box_weight: torch.Tensor) -> torch.Tensor:
    """Mean `number_loss` of box corners, over the boxes; the tokens of a box share its weight.

    Were each token to count the same, a thing of forty would outweigh one of a single token, and
    the corners of small things would stay half their size wrong (demonstrator/experiments.md).

    Parameters
    ----------
    log_p : float tensor (visual tokens, 4, coordinates)
        Of the coordinates that may be written, evenly from 0 to 1000.
    corners : float tensor (visual tokens, 4)
        Shares of width and height, 0 to 1.
    box_weight : float tensor (visual tokens,)
        Each token's share of the tokens of its box; 0 outside of boxes.
    """
    inside = box_weight > 0
    each = _coordinate_loss(log_p[inside], corners[inside])
    return (each.mean(1) * box_weight[inside]).sum() / box_weight.sum().clamp(min=1e-9)


def count_loss(
    predicted: torch.Tensor, numbers: torch.Tensor, known: torch.Tensor, tokens: Sequence[int]
) -> torch.Tensor:
    """Mean squared error of the number of things in a token, relative to its variance.

    Its best guess is the mean, so that what the tokens of a picture say adds up to what is there
    (quasi-likelihood of counts, Wedderburn 1974). Of an absolute error it is the median, which is 0
    wherever a token holds less than half a thing on average (demonstrator/experiments.md). The
    variance is ``1 + m + m^2 / 2``, m the predicted number or the mean of the picture, whichever is
    larger: it grows as in a negative binomial, so that tokens of hundreds do not drown all other
    losses.

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
    sigma = torch.full_like(values, COUNT_SIGMA)
    allowed = counts_to_write().to(log_p.device)[None]
    each = number_loss(log_p[known], written, values, sigma, allowed)
    return each.sum() / max(1, len(each))


def attention_loss(
    attention: torch.Tensor, token_corners: torch.Tensor, grounding: torch.Tensor
) -> torch.Tensor:
    """How far attention is from the visual tokens that words speak of: sum of divergences, in nats.

    A word that speaks of a box should attend to its visual tokens by shared area. A small model
    asked to write a place reads it off the visual tokens only once it attends to the right ones,
    and the loss of the text alone does not tell it which (demonstrator/experiments.md).

    Parameters
    ----------
    attention : float tensor (words, heads, visual tokens)
        Logarithm; what is missing from one attends elsewhere.
    token_corners : float tensor (visual tokens, 4)
        In shares of the picture.
    grounding : float tensor (words, 4)
        Corners of what each word speaks of, in shares; not empty.

    Returns
    -------
    float tensor ()
        Kullback-Leibler divergence of attention from the wanted one; mean of heads, sum of words.
    """
    corners = grounding[:, None]
    sides = torch.minimum(token_corners[:, 2:], corners[..., 2:]) - torch.maximum(
        token_corners[:, :2], corners[..., :2]
    )
    shared = sides.clamp(min=0).prod(dim=-1)
    wanted = shared / shared.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return (torch.xlogy(wanted, wanted) - wanted * attention.mean(dim=1)).sum()


def routing_loss(
    attention: torch.Tensor,
    due: torch.Tensor,
    token_corners: torch.Tensor,
    visual: torch.Tensor,
    grounding: torch.Tensor,
) -> torch.Tensor:
    """How far the heads that read corners are from taking turns: sum of divergences, in nats.

    The head whose value is due attends to the visual tokens of the box; the others to the first
    token, which tells nothing.

    Parameters
    ----------
    attention : float tensor (words, 4, length)
        Logarithm, of the heads that read.
    due : int64 tensor (words,)
        Which of the heads should read for each word.
    token_corners : float tensor (length, 4)
        In shares of the picture.
    visual : bool tensor (length,)
        Which tokens are visual.
    grounding : float tensor (words, 4)
        Corners of the box that each word speaks of.

    Returns
    -------
    float tensor ()
        Of the head that is due, and mean of the others; sum of words.
    """
    words = torch.arange(len(due), device=due.device)
    own = attention[words, due][:, None, visual]
    reads = attention_loss(own, token_corners[visual], grounding)
    first = attention[:, :, 0]
    waits = -(first.sum() - first[words, due].sum()) / (attention.shape[1] - 1)
    return reads + waits


def place_loss(log_p: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Mean `number_loss` of each visual token's own place.

    Without it training wipes out where a visual token came from, and the language model cannot
    write where a thing is (demonstrator/experiments.md).

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
    sigma = torch.full_like(values, COORDINATE_SIGMA * (NUMBERS - 1) / (count - 1))
    allowed = torch.ones(1, count, dtype=torch.bool, device=log_p.device)
    each = number_loss(log_p.reshape(-1, count).float(), written, values, sigma, allowed)
    return each.reshape(shares.shape)


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
    were written too few (demonstrator/experiments.md).
    """
    return counts.float().clamp(min=0.5).log()


def number_loss(
    log_p: torch.Tensor,
    written: torch.Tensor,
    values: torch.Tensor,
    sigma: torch.Tensor,
    allowed: torch.Tensor,
) -> torch.Tensor:
    """Loss of each number that should be written, (targets,); neighbours count as nearly right.

    Plain cross-entropy calls 499 for 500 as wrong as 0. Here the target of a number v is half a
    normal distribution around v and half one that is `WIDER`, so that there is a slope to follow
    from far away; the distance of the expected number from v is added
    (demonstrator/experiments.md).

    Parameters
    ----------
    log_p : float tensor (targets, numbers)
        Log-probabilities of the numbers; they need not sum to one.
    written : tensor (numbers,) or (targets, numbers)
        Where the numbers lie on the scale of v.
    values : tensor (targets,)
        v.
    sigma : float tensor (targets,)
        Standard deviation of the narrow half, above 0.
    allowed : bool tensor (targets or 1, numbers)
        Numbers that may be written.
    """
    away = (written - values[:, None]) / sigma[:, None]

    def normal(width: float) -> torch.Tensor:
        weight = torch.exp(-0.5 * (away / width) ** 2) * allowed
        return weight / weight.sum(1, keepdim=True).clamp(min=1e-9)

    probability = _allowed_probabilities(log_p, allowed)
    off = ((probability * written).sum(1) - values).abs() / (FAR * sigma)
    return off - (0.5 * (normal(1.0) + normal(WIDER)) * log_p).sum(1)


def expected_error(
    log_p: torch.Tensor, written: torch.Tensor, values: torch.Tensor, allowed: torch.Tensor
) -> torch.Tensor:
    """How far the numbers that would be drawn are from those meant, (targets,).

    Least where all probability lies on the median of what may be meant. Cross-entropy alone
    learns the distribution, whose likeliest number is not its middle (demonstrator/experiments.md).
    Parameters are those of `number_loss`.
    """
    probability = _allowed_probabilities(log_p, allowed)
    return (probability * (written - values[:, None]).abs()).sum(1)


def _allowed_probabilities(log_p: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Probabilities of the numbers that may be written, (targets, numbers)."""
    return log_p.masked_fill(~allowed, -torch.inf).softmax(dim=1)
