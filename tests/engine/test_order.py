"""Whether an answer holds with its choices reversed."""

import numpy as np
import pytest

from napari_pathreason.engine import FLIPS, Job, ask, other_order, result_to_dict, token_line
from napari_pathreason.geometry import Region
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.types import (
    Allocation,
    Completion,
    GenerationSettings,
    ModelDims,
    ModelInfo,
    Query,
    Request,
)

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)
QUERY = Query("vqa", "Which is it?", ("red", "green", "blue"))


class Chooser:
    """Answers by a rule on the choices as they were listed; counts what it was asked."""

    def __init__(self, rule):
        self.info = ModelInfo("chooser", "qwen3_vl", "relative", DIMS)
        self.rule, self.listed, self.shapes = rule, [], []

    def generate(self, prompt, settings, cancel):
        words = prompt.messages[-1]["content"][-1]["text"]
        choices = words.partition("Choices: ")[2].rstrip(".").split(", ")
        self.listed.append(choices)
        self.shapes.append(prompt.shapes)
        text = f"<think>so</think><answer>{self.rule(choices)}</answer>"
        yield text
        tokens = sum(h * w for h, w in prompt.shapes) // 1024
        yield Completion(text, tokens + 20, tokens, 9, "stop", 0.1)


class Fixed:
    overview_budget = 0
    asked = 0

    def allocate(self, overview, query, native, effort):
        self.asked += 1
        return Allocation(16, "fixed")


def run(rule, query=QUERY, side=512, **changes):
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 220, (side, side, 3), np.uint8)
    model, allocator = Chooser(rule), Fixed()
    settings = GenerationSettings(check_order=changes.pop("check", True))
    with slide_from_arrays([pixels], "s") as slide:
        request = Request(Region(0, 0, side, side), query, settings=settings, **changes)
        return ask(Job(slide, request), model, allocator), model, allocator


def test_an_answer_that_follows_the_picture_holds():
    result, model, allocator = run(lambda choices: "green")
    assert result.order.answer == "green"
    assert not result.order.flipped
    assert FLIPS not in result.reliability.reasons
    assert model.listed == [["red", "green", "blue"], ["blue", "green", "red"]]
    assert model.shapes[0] == model.shapes[1]
    assert allocator.asked == 1  # the second asking is of the same picture


def test_an_answer_that_follows_the_place_flips():
    result, *_ = run(lambda choices: choices[0])
    assert result.answer.text == "red"
    assert (result.order.answer, result.order.flipped) == ("blue", True)
    assert FLIPS in result.reliability.reasons
    assert result.reliability.level != "reliable"
    assert result_to_dict(result)["order"] == {"answer": "blue", "flipped": True}


def test_an_unreadable_second_answer_does_not_hold():
    result, *_ = run(lambda choices: "red" if choices[0] == "red" else "nothing of that")
    assert (result.order.answer, result.order.flipped) == ("", True)


def test_where_it_is_not_asked_for_nothing_is_asked():
    result, model, _ = run(lambda choices: choices[0], check=False)
    assert result.order is None
    assert len(model.listed) == 1
    assert result_to_dict(result)["order"] is None


@pytest.mark.parametrize(
    "query",
    [Query("vqa", "What is it?"), Query("vqa", "Is it?", ("yes",))],
)
def test_without_choices_there_is_no_order(query):
    result, model, _ = run(lambda choices: "red", query=query)
    assert other_order(query) is None
    assert result.order is None
    assert len(model.listed) == 1
    assert [one for one in result.warnings if "no choices whose order" in one]


def test_boxes_have_no_order():
    assert other_order(Query("detection", options=("a", "b"))) is None


def test_the_account_counts_both_askings():
    once, *_ = run(lambda choices: "red", check=False)
    both, *_ = run(lambda choices: "red")
    assert both.tokens.realised == once.tokens.realised == 16
    assert both.tokens.check == 16
    assert both.tokens.read == 32
    for name in ("prompt_tokens", "new_tokens", "flops", "encoder_patches"):
        assert getattr(both.tokens, name) == pytest.approx(2 * getattr(once.tokens, name))
    assert "16 + 16 check of" in token_line(both)


@pytest.mark.parametrize("policy", ["uniform", "again", "random"])
def test_the_same_windows_are_asked_about_again(policy):
    result, model, _ = run(lambda choices: choices[-1], side=2048, budget=512, policy=policy)
    assert result.order.flipped
    half = len(model.shapes) // 2
    assert model.shapes[:half] == model.shapes[half:]
    assert {tuple(one) for one in model.listed[half:]} == {("blue", "green", "red")}
    assert result.tokens.check == result.tokens.realised
