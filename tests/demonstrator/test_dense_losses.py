"""Losses of what visual tokens show, against values worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, strategies as st

from demonstrator.losses import box_loss, count_loss, coverage_loss, place_loss


def test_coverage_loss_counts_annotated_classes_only():
    logits, shares = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [0.5, 1.0]])
    known = torch.tensor([[True, False], [True, False]])
    assert coverage_loss(logits, shares, known).item() == pytest.approx(math.log(2), abs=1e-5)
    assert coverage_loss(logits, shares, torch.zeros_like(known)).item() == 0.0


def test_box_loss_counts_tokens_in_boxes_only():
    words, corners = torch.zeros(2, 4, 101).log_softmax(-1), torch.full((2, 4), 0.5)
    words[1] = -99.0
    even = box_loss(words, corners, torch.tensor([1.0, 0.0])).item()
    assert even == pytest.approx(math.log(101), rel=1e-3)  # the expected coordinate is right
    assert box_loss(words, corners, torch.zeros(2)).item() == 0.0


def test_box_loss_weighs_a_box_of_one_token_like_one_of_many():
    words, corners = torch.zeros(5, 4, 101).log_softmax(-1), torch.full((5, 4), 0.5)
    corners[0] = 0.0
    alone, many = (box_loss(words[at], corners[at], torch.ones(1)) for at in ([0], [1]))
    share = torch.tensor([1.0, 0.25, 0.25, 0.25, 0.25])
    both = box_loss(words, corners, share)
    assert both.item() == pytest.approx((alone + many).item() / 2, rel=1e-5)
    assert alone > many


def test_count_loss_counts_annotated_classes_only():
    predicted, numbers = torch.tensor([[2.0, 9.0]]), torch.tensor([[1.0, 0.0]])
    assert count_loss(
        predicted, numbers, torch.tensor([[True, False]]), [1]
    ).item() == pytest.approx(0.2)
    assert count_loss(predicted, numbers, torch.tensor([[False, False]]), [1]).item() == 0.0


def test_tokens_of_hundreds_weigh_no_more_than_others():
    known = torch.ones(2, 1, dtype=torch.bool)
    many, few = torch.tensor([[300.0], [100.0]]), torch.tensor([[3.0], [1.0]])
    blind = [count_loss(torch.zeros(2, 1), numbers, known, [2]).item() for numbers in (many, few)]
    # means of 200 and 2: (300^2 + 100^2) / 2 / 20201 and (3^2 + 1^2) / 2 / 5
    assert blind == pytest.approx([50_000 / 20_201, 1.0])
    # pictures have means of their own
    apart = count_loss(torch.zeros(4, 1), torch.cat([many, few]), known.repeat(2, 1), [2, 2])
    assert apart.item() == pytest.approx(sum(blind) / 2)


def test_the_best_count_of_tokens_adds_up_to_what_is_there():
    numbers = torch.tensor([[0.0], [0.0], [0.0], [3.0]])
    known = torch.ones_like(numbers, dtype=torch.bool)
    guess = torch.tensor(1.0, requires_grad=True)
    for _ in range(300):
        (slope,) = torch.autograd.grad(count_loss(guess.expand(4, 1), numbers, known, [4]), guess)
        guess = (guess - 0.3 * slope).detach().requires_grad_()
    assert guess.item() == pytest.approx(numbers.mean().item(), abs=1e-3)


@given(st.floats(0, 1), st.floats(0, 1))
def test_place_loss_is_less_where_the_place_is_said(x, y):
    said = torch.full((1, 2, 101), 1e-3)
    said[0, 0, round(100 * x)] = said[0, 1, round(100 * y)] = 1.0
    words = said.log().log_softmax(-1)
    right, wrong = torch.tensor([[x, y]]), torch.tensor([[(x + 0.5) % 1, y]])
    assert place_loss(words, right) < place_loss(words, wrong)
