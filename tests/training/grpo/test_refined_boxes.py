"""What a first look earns where a zoom follows, against values worked out by hand."""

from dataclasses import replace

import pytest

from napari_pathreason.tasks import iou_score
from napari_pathreason.training.grpo import BoxRefiner, score_completion
from napari_pathreason.training.samples import Sample
from napari_pathreason.types import Answer, AnswerBox

SIDE = 640
"""Level-0 pixels; a window of four cells of 32 px is a fifth of it, 200 thousandths."""
PLATELET = ("platelet", (0.50, 0.50, 0.55, 0.55))
REFINER = BoxRefiner(("platelet",), 32)


@pytest.fixture
def view(one_box):
    """A smear with one platelet, read at 64 tokens."""
    return one_box(PLATELET, (8, 8), (SIDE, SIDE))


def _score(view, *boxes, refiner=REFINER, kind="task"):
    said = ",".join(f'{{"bbox_2d":{[*box]},"label":"{label}"}}' for label, *box in boxes)
    text = f"<think></think><answer>[{said}]</answer>"
    sample = Sample(image="x.png", task="detection", question="?", choices=("platelet", "cell"))
    return score_completion(text, sample, view, kind, refiner).score


def test_a_find_whose_window_holds_the_thing_counts_in_full(view):
    beside = ("platelet", 440, 560, 490, 610)
    assert _score(view, beside) == pytest.approx(1.0)
    assert _score(view, beside, refiner=None) == 0.0
    assert _score(view, beside, refiner=BoxRefiner((), 32)) == 0.0
    assert _score(view, beside, kind="paper") == 0.0


@pytest.mark.parametrize(("choices", "truth"), [(("yes", "no"), "yes"), ((), "4")])
def test_answers_in_words_are_scored_as_they_are(view, choices, truth):
    view = replace(view, answer=truth)
    sample = Sample(image="x.png", task="vqa", question="?", choices=choices)
    right, wrong = (f"<think></think><answer>{said}</answer>" for said in (truth, "no"))
    assert score_completion(right, sample, view, "task", REFINER).score == 1.0
    assert score_completion(wrong, sample, view, "task", REFINER).score == 0.0


def test_a_find_that_points_elsewhere_costs_as_before(view):
    beside, elsewhere = ("platelet", 440, 560, 490, 610), ("platelet", 0, 0, 50, 50)
    assert _score(view, elsewhere) == 0.0
    assert _score(view, beside, elsewhere) == pytest.approx(0.5)


def test_two_finds_of_one_thing_are_one_right_and_one_false(view):
    assert _score(view, ("platelet", 440, 560, 490, 610), ("platelet", 500, 500, 550, 550)) == 0.5


def test_a_thing_that_the_window_cuts_is_not_pointed_at(view):
    # the window about the middle (400, 525) ends at 500, where the platelet begins
    assert _score(view, ("platelet", 375, 500, 425, 550)) == 0.0


def test_other_names_and_large_finds_are_scored_as_they_are(view):
    assert _score(view, ("cell", 440, 560, 490, 610)) == 0.0
    assert _score(view, ("platelet", 300, 300, 800, 800)) == 0.0
    few = replace(view, grid=(3, 3))  # fewer tokens than one zoom
    assert _score(few, ("platelet", 440, 560, 490, 610)) == 0.0


def test_a_box_without_an_area_is_left_alone(view):
    answer = Answer("", "", (AnswerBox("platelet", 1200, 1200, 1300, 1300),))
    assert REFINER.refined(answer, (AnswerBox("platelet", 500, 500, 550, 550),), view) is answer


def test_boxes_of_a_wide_region_keep_their_axes(view):
    wide = replace(view, size=(2 * SIDE, SIDE))
    truth = AnswerBox("platelet", 500, 500, 525, 550)
    # 128 of 1,280 px: the window is 100 thousandths wide, 200 high
    for x1, held in ((470, True), (380, False)):
        found = (AnswerBox("platelet", x1, 560, x1 + 25, 610),)
        boxes = REFINER.refined(Answer("", "", found), (truth,), wide).boxes
        assert (boxes == (truth,)) is held
        assert iou_score(boxes, (truth,)) == float(held)
