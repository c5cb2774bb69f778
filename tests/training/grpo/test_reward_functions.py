"""Reward functions of a recipe: named and own ones, weighed, with TRL's signature."""

import math

import pytest
import torch

from napari_pathreason.errors import QueryError
from napari_pathreason.training.grpo import BoxRefiner, Rewards, group_advantages, zero_variance
from napari_pathreason.training.recipe import GRPORecipe, load_object
from napari_pathreason.training.samples import Area, Sample
from napari_pathreason.types import AnswerBox

TUMOUR = ("tumour", (0.0, 0.0, 0.5, 1.0))
WHERE = Sample(
    image="x.png",
    task="vqa",
    question="Where?",
    choices=("upper left", "upper right"),
    answer="upper right",  # as it lies; the view is turned
    boxes=(Area(label="tumour", corners=(8.0, 0.0, 16.0, 16.0)),),
    topic="place",
)
BOXES = Sample(image="x.png", task="detection", question="", choices=("tumour",))


@pytest.fixture
def view(one_box):
    """Left half tumour, the answer turned with it."""
    return one_box(TUMOUR, (2, 2), (64, 64), "upper left")


@pytest.fixture
def score(view, tmp_path):
    """What functions of a text beside the recipe give for completions of some samples."""

    def given(texts, samples, code="", refiner=None, **grpo):
        (tmp_path / "mine.py").write_text(code)
        rewards = Rewards(GRPORecipe.model_validate(grpo), (tmp_path,), refiner)
        ids = [[1, 2]] * len(texts)
        return rewards.score(texts, ids, [(sample, view) for sample in samples], 7)

    return given


def _said(answer, rationale="centre left: tumour; lower right: tumour"):
    return f"<think>{rationale}</think><answer>{answer}</answer>"


RIGHT, WRONG = _said("upper left"), _said("upper right")


def test_task_is_score_form_and_evidence(score):
    settings = {"format_weight": 0.5, "evidence_weight": 0.9}
    found = score([RIGHT, WRONG, "nowhere"], [WHERE] * 3, **settings)
    evidence = 0.9 * (1 - 1.5) / 9  # one of two facts holds
    assert found.rewards.tolist() == pytest.approx([1.5 + evidence, 0.5 + evidence, 0.0])
    assert [each.score for each in found.breakdowns] == [1.0, 0.0, 0.0]
    assert found.figures()["rewards/task/mean"] == round(float(found.rewards.mean()), 4)


def test_paper_and_task_each_score_by_their_own_rules(score):
    open_question = WHERE.model_copy(update={"choices": ()})
    settings = {"format_weight": 0.0}
    text = _said("upper left", "")
    task = score([text], [open_question], **settings)
    paper = score([text], [open_question], rewards=["paper"], **settings)
    both = score([text], [open_question], rewards=["paper", "task"], **settings)
    assert task.rewards.tolist() == [1.0]
    assert paper.rewards.tolist() == pytest.approx([0.221], abs=1e-3)  # BLEU-4 of two words
    assert both.rewards.tolist() == pytest.approx([1.221], abs=1e-3)
    assert [f.breakdowns[0].score for f in (task, paper, both)] == pytest.approx(
        [1.0, 0.221, 1.0], abs=1e-3
    )


def test_own_functions_get_what_trl_gives_and_labels_as_the_model_saw_them(score, tmp_path):
    code = """
seen = {}
def look(prompts, completions, completion_ids, trainer_state, **columns):
    seen.update(columns, prompts=prompts, completions=completions, ids=completion_ids)
    seen.update(state=trainer_state)
    return [0.25, 1]
"""
    found = score([RIGHT, WRONG], [WHERE, BOXES], code, rewards=["mine:look"], steps=9)
    assert found.rewards.tolist() == [0.25, 1.0]
    assert list(found.by_function) == ["mine:look"]
    seen = load_object("mine:seen", (tmp_path,))
    assert (seen["completions"], seen["ids"]) == ([RIGHT, WRONG], [[1, 2], [1, 2]])
    assert "Where?" in seen["prompts"][0]
    assert "tumour" in seen["prompts"][1]
    assert seen["task"] == ["vqa", "detection"]
    assert seen["choices"] == [("upper left", "upper right"), ("tumour",)]
    assert seen["answer"] == ["upper left"] * 2
    assert seen["boxes"] == [(AnswerBox("tumour", 0, 0, 500, 1000),)] * 2
    assert [each.topic for each in seen["sample"]] == seen["topic"] == ["place", ""]
    assert [each.score for each in seen["breakdown"]] == [1.0, 0.0]
    assert seen["view"][0].grid == (2, 2)
    assert (seen["state"].global_step, seen["state"].max_steps) == (7, 9)
    assert all(len(column) == 2 for name, column in seen.items() if name != "state")


def test_a_function_that_does_not_apply_leaves_the_others_alone(score):
    code = """
def choices(completions, task, **_):
    return [None if kind == "detection" else 1.0 for kind in task]
def even(completions, **_):
    return [None, 2.0, None]
"""
    samples = [WHERE, WHERE, BOXES]
    found = score(
        [RIGHT] * 3, samples, code, rewards=["mine:choices", "mine:even"], reward_weights=[1, 0.5]
    )
    assert found.rewards.tolist() == pytest.approx([1.0, 2.0, math.nan], nan_ok=True)
    assert found.figures() == {
        "reward": 1.5,
        "rewards/mine:choices/mean": 1.0,
        "rewards/mine:even/mean": 2.0,
    }
    nothing = score([RIGHT], [BOXES], code, rewards=["mine:choices"])
    assert nothing.figures() == {}


def test_boxes_that_are_refined_count_as_that_leaves_them(score, one_box):
    rewards = GRPORecipe(format_weight=0.0)
    platelet = one_box(("platelet", (0.50, 0.50, 0.55, 0.55)), (8, 8), (640, 640))
    sample = BOXES.model_copy(update={"choices": ("platelet",)})
    text = _said('[{"bbox_2d":[440,560,490,610],"label":"platelet"}]')
    for refiner, worth in ((None, 0.0), (BoxRefiner(("platelet",), 32), 1.0)):
        found = Rewards(rewards, (), refiner).score([text], [[1]], [(sample, platelet)], 0)
        assert found.rewards.tolist() == pytest.approx([worth])


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("mine:one", "the reward function mine:one gave 1 rewards for 2 completions"),
        ("mine:number", "mine:number of grpo.rewards is no function"),
        ("mine:none", r"there is no none in mine\.py"),
        ("accuracy", r"grpo\.rewards names 'accuracy'; give task, paper, or module:function"),
    ],
)
def test_what_is_no_reward_function_is_named(score, reference, message):
    code = "number = 3\ndef one(**_):\n    return [1.0]\n"
    with pytest.raises(QueryError, match=message):
        score([RIGHT, WRONG], [WHERE] * 2, code, rewards=[reference])


def test_completions_without_a_reward_neither_learn_nor_weigh():
    nan = math.nan
    rewards = torch.tensor([[1.0, nan, 0.0, 1.0], [nan] * 4, [nan, nan, nan, 2.0], [1, nan, 1, 1]])
    plain = group_advantages(rewards, scale_rewards=False)
    third = 1 / 3
    assert plain[0].tolist() == pytest.approx([third, 0.0, -2 * third, third])
    assert not plain[1:].any()
    scaled = group_advantages(rewards, scale_rewards=True)
    deviation = math.sqrt(third)  # of 1, 0, 1 with one less
    assert scaled[0].tolist() == pytest.approx((plain[0] / (deviation + 1e-4)).tolist())
    assert not scaled[1:].any()
    assert zero_variance(rewards).tolist() == [False, True, True, True]
