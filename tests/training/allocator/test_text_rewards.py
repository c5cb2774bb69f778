"""What texts allocate, and their rewards, by hand."""

import pytest
import torch

from napari_pathreason.models import BUDGETS
from napari_pathreason.training.allocator import (
    Scored,
    paper,
    paper_step,
    score_allocation,
    text_figures,
    text_rewards,
)
from napari_pathreason.training.recipe import AllocatorRecipe

NATIVE = 1000
ROW = [Scored(0.9, r or NATIVE, float(r or NATIVE), NATIVE, float(NATIVE)) for r in BUDGETS]
"""The same score at every budget; a FLOP a token."""


def _framed(answer):
    return f"<think>so</think><answer>{answer}</answer>"


def _rewards(texts, **settings):
    given = [score_allocation(text, ROW, 50.0, NATIVE) for text in texts]
    return text_rewards(given, AllocatorRecipe(**settings)).tolist()


def test_a_number_is_looked_up_at_its_rung_with_the_look_counted():
    given = score_allocation(_framed("100"), ROW, 50.0, NATIVE)
    assert given.scored is ROW[BUDGETS.index(64)]
    assert given.cost == pytest.approx((64 + 50) / 1000)
    assert score_allocation(_framed("100"), ROW, 50.0, 4 * NATIVE).cost == given.cost / 4
    assert score_allocation(_framed("5000"), ROW, 0.0, NATIVE).scored is ROW[-1]


def test_gated_takes_the_price_off_the_score_and_adds_the_form():
    rewards = _rewards([_framed("64"), _framed("5000"), "64", _framed("many")])
    right = 0.9 * (1 - 0.3 * 0.114)
    assert rewards == pytest.approx([right + 1, 0.9 * (1 - 0.3 * 1.05) + 1, right, 0.0])
    half = _rewards([_framed("64")], text={"format_weight": 0.5, "effort": "low"})
    assert half == pytest.approx([0.9 * (1 - 0.8 * 0.114) + 0.5])


def test_a_right_answer_is_never_rewarded_less_than_a_wrong_one():
    given = [score_allocation(_framed("64"), ROW, 9000.0, NATIVE)]
    assert text_rewards(given, AllocatorRecipe()).tolist() == [1.0]


def test_the_papers_step_lies_at_the_smaller_of_native_and_256():
    rewards = _rewards([_framed("128"), _framed("255"), _framed("256"), "256"], reward="paper")
    assert rewards == pytest.approx([1.9, 1.9, 1.45, 0.45])
    scores, tokens = torch.tensor([[0.8, 0.8]]), torch.tensor([[16, 64]])
    assert paper_step(scores, tokens, torch.tensor([64])).tolist()[0] == pytest.approx([0.8, 0.4])
    assert paper(scores, tokens, torch.tensor([64])).tolist()[0] == pytest.approx([1.8, 1.4])


def test_figures_are_what_users_get_the_default_rung_included():
    told = text_figures(
        [score_allocation(text, ROW, 0.0, NATIVE) for text in (_framed("4"), "so many")]
    )
    assert told["tokens"] == (4 + 256) / 2
    assert told["score"] == 0.9
    assert told["nothing"] == told["format"] == 0.5


def test_advantages_are_divided_in_the_papers_form_alone():
    assert AllocatorRecipe(reward="paper").scaled
    assert not AllocatorRecipe().scaled
    assert not AllocatorRecipe(reward="paper", text={"loss_type": "dr_grpo"}).scaled
    assert AllocatorRecipe(text={"scale_rewards": True}).scaled
