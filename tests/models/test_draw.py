"""Tokens are drawn by their probabilities, each row by its own number."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, strategies as st

from napari_pathreason.models import draw

NUMBERS = st.floats(0, 1, exclude_max=True)


def _logits(rows, vocabulary, seed=0, impossible=0.3):
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, vocabulary, generator=random)
    never = torch.rand(rows, vocabulary, generator=random) < impossible
    never[:, vocabulary // 2] = False
    return logits.masked_fill(never, -torch.inf)


def _f64(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@example(86, float(np.nextafter(1.0, 0.0)), 0.3, 1)  # rounded sums end before the number
@given(st.integers(1, 1600), NUMBERS, st.sampled_from([0.3, 1.0, 2.5]), st.integers(0, 5))
def test_the_first_token_whose_sum_lies_above_the_number(vocabulary, number, temperature, seed):
    logits = _logits(1, vocabulary, seed)
    (token,) = draw(logits, temperature, _f64(number)).tolist()
    sums = np.cumsum(torch.softmax(logits[0].double() / temperature, -1).numpy())
    below = sums[token - 1] if token else 0.0
    assert below - 1e-6 <= number * sums[-1] <= sums[token] + 1e-6
    assert torch.isfinite(logits[0, token])


@given(st.lists(NUMBERS, min_size=2, max_size=6))
def test_a_row_depends_on_its_own_number_alone(numbers):
    logits = _logits(len(numbers), 1300)
    together = draw(logits, 1.0, _f64(*numbers))
    alone = [draw(logits[[at]], 1.0, _f64(one)) for at, one in enumerate(numbers)]
    assert together.tolist() == [int(token) for token in alone]


@pytest.mark.parametrize("vocabulary", [1, 511, 512, 513, 2000])
def test_what_must_not_be_drawn_is_not_at_either_end(vocabulary):
    logits = torch.full((2, vocabulary), -torch.inf)
    logits[:, vocabulary // 2] = 1.0
    ends = _f64(0.0, np.nextafter(1.0, 0.0))
    assert draw(logits, 1.0, ends).tolist() == [vocabulary // 2] * 2


def test_shares_are_the_probabilities():
    logits = _logits(1, 700, impossible=0.9)
    numbers = torch.rand(20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = draw(logits.expand(20_000, -1), 1.0, numbers)
    shares = torch.bincount(drawn, minlength=700) / 20_000
    assert torch.allclose(shares, logits[0].softmax(-1), atol=0.015)
    assert shares.max() > 0.05  # else all shares are small, and close


def test_without_a_number_or_a_temperature_the_likeliest_is_taken():
    logits = _logits(3, 900)
    likeliest = logits.argmax(-1)
    assert torch.equal(draw(logits), likeliest)
    assert torch.equal(draw(logits, 0.0, _f64(0.1, 0.5, 0.9)), likeliest)
    assert torch.equal(draw(logits, 1e-6, _f64(0.1, 0.5, 0.9)), likeliest)
