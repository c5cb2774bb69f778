"""Questions made of labels: what a picture cannot answer, and what is offered beside it."""

from random import Random

import pytest

from napari_pathreason.training.convert import CANNOT_TELL, PHRASINGS, Questions
from napari_pathreason.training.samples import Area

PLATELET = Area(label="platelet", corners=(1, 2, 3, 4))


def _about(seed=0, split="train"):
    return Questions(Random(seed), split, "a.png", "set")


@pytest.mark.parametrize("subject", ["lymph", "lung", "blood", "nuclei"])
def test_a_question_that_cannot_be_answered_is_about_something_else(subject):
    rng = Random(0)
    asked = [
        sample
        for _ in range(60)
        for sample in Questions(rng, "train", "a.png", "set").cannot_tell(subject)
    ]
    assert 5 < len(asked) < 40
    words = {"lymph": "tumour", "lung": "lung", "blood": "cells"}.get(subject)
    for sample in asked:
        assert sample.answer == CANNOT_TELL
        assert not sample.choices or CANNOT_TELL in sample.choices
        if words == "lung":
            assert "lung" not in sample.question.lower()


def test_answers_follow_from_what_is_known():
    about = _about()
    boxes = about.boxes(("white cell", "platelet"), [PLATELET])
    assert (boxes.task, boxes.boxes, boxes.answer) == ("detection", (PLATELET,), "")
    assert boxes.topic == "boxes of white cell and platelet"
    number = about.number("nuclei", 7)
    assert (number.answer, number.topic) == ("7", "number of nuclei")
    assert "nuclei" in number.question
    for present, answer in ((True, "yes"), (False, "no")):
        assert about.presence("nuclei", present).answer == answer


def test_at_times_a_question_offers_that_it_cannot_be_told():
    about = _about()
    choices = {about.presence("nuclei", True).choices for _ in range(60)}
    assert choices == {("yes", "no"), ("yes", "no", CANNOT_TELL)}


def test_only_test_hears_phrasings_that_are_held_out():
    held_out = {
        phrase.format(name)
        for one in PHRASINGS
        for phrase in one.held_out
        for name in ("", "glands")
    }
    asked = {
        split: [about.number("glands", 1) for about in [_about(1, split)] for _ in range(80)]
        for split in ("train", "test")
    }
    assert {s.phrasing for s in asked["train"]} == {"trained"}
    assert not {s.question for s in asked["train"]} & held_out
    for sample in asked["test"]:
        assert (sample.question in held_out) == (sample.phrasing == "held_out")
    assert {s.phrasing for s in asked["test"]} == {"trained", "held_out"}
