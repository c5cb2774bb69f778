"""Scores against hand-worked values, and the properties a reward must have."""

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.tasks import TASKS, Target, count_score, iou_score, match_boxes, token_f1
from napari_pathreason.types import Answer, AnswerBox

A, B = AnswerBox("t", 0, 0, 100, 100), AnswerBox("t", 200, 200, 300, 300)
FALSE = AnswerBox("t", 600, 600, 700, 700)


def test_words_shared():
    assert token_f1("Hair shaft.", "the hair shaft") == 1.0
    assert token_f1("hair", "hair shaft") == pytest.approx(2 / 3)
    assert token_f1("", "hair") == token_f1("", "") == token_f1("...", ".") == 0.0
    assert token_f1("A", "A") == 1.0
    assert token_f1("A", "B") == 0.0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *(("<1%", "≥1%"), ("3+4", "3/4"), ("3+4", "4+3"), ("1+", "1"), ("CD3+", "CD3-")),
        *((".5", "5"), ("3.5", "35"), ("-1", "1"), ("ER+", "ER")),
    ],
)
def test_signs_are_no_punctuation(a, b):
    assert token_f1(a, b) == 0.0
    assert token_f1(a, a) == 1.0


def test_spelling_that_does_not_count():
    assert token_f1("(3 + 4), tumour/stroma", "3+4 Tumour stroma.") == 1.0
    assert token_f1("< 1 %", "<1%") == 1.0
    assert token_f1("Barrett's", "“barrett's”") == 1.0


def test_counts_by_relative_error():
    assert count_score(9, 10) == pytest.approx(0.9)
    assert count_score(30, 10) == 0.0
    assert count_score(0, 0) == 1.0
    assert count_score(1, 0) == 0.0
    assert TASKS["vqa"].score(Answer("", "9"), Target("10")) == pytest.approx(0.9)
    assert TASKS["vqa"].score(Answer("", "nine"), Target("10")) == 0.0


def test_a_choice_is_right_or_wrong():
    task, choices = TASKS["vqa"], ("upper left", "upper right")
    assert task.score(Answer("", "Upper left"), Target("upper left", choices=choices)) == 1.0
    assert task.score(Answer("", "upper right"), Target("upper left", choices=choices)) == 0.0
    assert task.score(Answer("", "upper right"), Target("upper left")) == 0.5
    assert task.score(Answer("", ""), Target("A", choices=("A", "B"))) == 0.0
    assert task.score(Answer("", "centre"), Target("centre", choices=choices)) == 0.0


def test_boxes_by_hand():
    half = AnswerBox("t", 0, 0, 100, 50)
    assert iou_score([], []) == 1.0
    assert iou_score([A], []) == 0.0
    assert iou_score([], [A]) == 0.0
    assert iou_score([A, B], [B, A]) == 1.0
    assert iou_score([half], [A]) == pytest.approx(0.5)
    assert iou_score([A], [A, B]) == pytest.approx(0.5)


def test_every_false_box_costs_wherever_it_is_listed():
    first, last = iou_score([FALSE, A], [A]), iou_score([A, FALSE], [A])
    assert first == last == pytest.approx(0.5)


def test_labels_must_agree_and_a_box_is_used_once():
    for other in ("u", "t+", "t-"):
        assert iou_score([AnswerBox(other, 0, 0, 100, 100)], [A]) == 0.0
    assert iou_score([AnswerBox(" T", 0, 0, 100, 100)], [A]) == 1.0
    assert len(match_boxes([A, A], [A])) == 1


def test_unreadable_text_does_not_pass_for_an_empty_answer():
    task = TASKS["detection"]
    assert task.score(Answer("", "none found", (), True), Target()) == 1.0
    assert task.score(Answer("", "", (), False), Target()) == 0.0


corner, side = st.integers(0, 900), st.integers(1, 100)
boxes = st.lists(
    st.builds(lambda x, y, w, h: AnswerBox("t", x, y, x + w, y + h), corner, corner, side, side),
    max_size=5,
)


@given(boxes, boxes)
def test_score_is_bounded_and_symmetric(a, b):
    assert 0.0 <= iou_score(a, b) <= 1.0 + 1e-12
    assert iou_score(a, b) == pytest.approx(iou_score(b, a))


@given(boxes, boxes)
def test_one_more_false_box_never_helps(predicted, truth):
    outside = AnswerBox("t", 5000, 5000, 5001, 5001)
    if predicted or truth:
        assert iou_score([*predicted, outside], truth) <= iou_score(predicted, truth)
