"""Loss of words and measured numbers, against values worked out by hand and by descent."""

import math

import pytest
import torch
from hypothesis import given, strategies as st

from demonstrator.losses import (
    COUNT_SIGMA,
    FAR,
    WIDER,
    counts_to_write,
    expected_error,
    number_loss,
    text_loss,
)


def _soft(value, sigma, step):
    """Arguments of the text loss for one target: the number ``value``; token ids are values."""
    numbers = torch.arange(1001)
    return (
        torch.tensor([value]),
        torch.tensor([value]),
        torch.tensor([float(sigma)]),
        torch.tensor([step]),
        numbers,
    )


def _learnt(truths):
    """What is written where any of ``truths`` may be there: probabilities of 0 to 1000."""
    values, rows = torch.tensor(truths), len(truths)
    logits = torch.zeros(1, 1001, requires_grad=True)
    descent = torch.optim.Adam([logits], lr=0.3)
    sigma, step = torch.full((rows,), COUNT_SIGMA), torch.zeros(rows, dtype=torch.int64)
    for _ in range(300):
        descent.zero_grad()
        shown = logits.expand(rows, -1)
        text_loss(shown, values, values, sigma, step, torch.arange(1001)).backward()
        descent.step()
    return logits.detach()[0].softmax(0)


def test_text_loss_by_hand():
    logits = torch.zeros(1, 1001)
    logits[0, 2] = math.log(1000)  # against 1000 others
    assert text_loss(logits, *_soft(2, 0, 1)).item() == pytest.approx(math.log(2), abs=1e-5)


def test_a_near_number_costs_less_than_a_far_one():
    def loss(guess):
        logits = torch.zeros(1, 1001)
        logits[0, guess] = 10.0
        return text_loss(logits, *_soft(500, 7.5, 10)).item()

    assert loss(500) < loss(510) < loss(520) < loss(700) < loss(900)
    assert loss(900) == pytest.approx(loss(100), rel=1e-3)
    assert loss(505) > loss(510)  # no multiple of ten: never a target


def test_counts_to_write_lie_in_even_ratio():
    counts = counts_to_write().nonzero().flatten()
    assert counts[:11].tolist() == list(range(11))
    ratio = counts[12:] / counts[11:-1]
    assert ratio.min() > 1.05
    assert ratio.max() < 1.16
    nearest = (counts - torch.arange(11, 900)[:, None]).abs().min(dim=1).values
    assert (nearest <= 0.08 * torch.arange(11, 900)).all()  # close to any number


def test_a_large_count_is_told_as_surely_as_a_small_one():
    def peak(count):
        learnt = _learnt([count])
        assert learnt.argmax() == count
        return float(learnt[count])

    peaks = [peak(count) for count in (13, 46, 159, 453)]
    assert min(peaks) > 0.8 * max(peaks)


def test_uncertain_counts_lie_on_either_side_of_their_middle():
    probabilities = _learnt([26, 35, 46, 61, 81])
    below, above = float(probabilities[:46].sum()), float(probabilities[47:].sum())
    assert below == pytest.approx(above, abs=0.1)
    assert probabilities.argmax() == 46


def test_number_loss_by_hand():
    written, allowed = torch.tensor([0, 10, 20]), torch.tensor([[True, True, False]])
    log_p = torch.tensor([[0.25, 0.75, 0.0]]).clamp(min=1e-9).log()
    loss = number_loss(log_p, written, torch.tensor([0]), torch.tensor([1.0]), allowed)
    narrow, wide = math.exp(-50), math.exp(-50 / WIDER**2)
    target = [0.5 / (1 + narrow) + 0.5 / (1 + wide), 0.5 * wide / (1 + wide)]
    expected = 7.5 / FAR - target[0] * math.log(0.25) - target[1] * math.log(0.75)
    assert loss.item() == pytest.approx(expected, abs=1e-4)


@given(st.integers(0, 1000), st.floats(0.01, 60.0), st.sampled_from((1, 10)))
def test_number_loss_falls_towards_the_number(value, sigma, step):
    value -= value % step
    written = torch.arange(1001)
    allowed = (written % step == 0)[None]
    right = (written == value).float().clamp(min=1e-4)
    wrong = (written == (value + 500) // step * step % 1001).float().clamp(min=1e-4)
    arguments = (written, torch.tensor([value]), torch.tensor([sigma]), allowed)
    near, half, far = (
        number_loss((share * right + (1 - share) * wrong).log()[None], *arguments).item()
        for share in (0.9, 0.5, 0.1)
    )
    assert near < half < far


def test_of_counts_that_may_be_meant_the_median_is_written():
    assert _learnt([3, 3, 9, 12, 13]).argmax() == 9  # 3 is the likeliest
    assert _learnt([2, 9, 10, 61, 74]).argmax() == 10


def test_expected_error_by_hand():
    written, allowed = torch.tensor([0.0, 1.0, 5.0]), torch.tensor([[True, True, False]])
    log_p = torch.tensor([[0.2, 0.2, 0.6]]).log()  # what may not be written does not count
    error = expected_error(log_p, written, torch.tensor([3.0]), allowed)
    assert error.tolist() == pytest.approx([0.5 * 3 + 0.5 * 2])


@pytest.mark.parametrize("count", [0, 12])
def test_a_count_weighs_what_the_recipe_says(count):
    logits = torch.zeros(2, 1001)
    other, told = _soft(3, 0, 1), _soft(count, COUNT_SIGMA if count else 0, 0)
    both = [torch.cat([a, b]) for a, b in zip(other[:4], told[:4], strict=True)]
    alone = text_loss(logits[:1], *told).item()
    plain = text_loss(logits[:1], *other).item()
    weighed = text_loss(logits, *both, other[4], 10.0).item()
    assert weighed == pytest.approx((plain + 10 * alone) / 2, rel=1e-5)
