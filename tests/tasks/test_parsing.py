"""Parsers are total: no text raises, whole text is read exactly, cut text is salvaged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathreason._types import AnswerBox, Query
from napari_pathreason.tasks import TASKS
from napari_pathreason.tasks._parsing import find_option, normalise, parse_boxes, split_frame

QUERIES = [
    Query("vqa", "Is there tumour?", ("yes", "no")),
    Query("vqa", "How many nuclei?"),
    Query("subtyping", "", ("adenocarcinoma", "normal")),
    Query("detection", "", ("tumour",)),
]
fragments = st.lists(
    st.one_of(
        st.sampled_from(
            ["<think>", "</think>", "<answer>", "</answer>", "[", "]", "{", "}", "(A)"]
        ),
        st.sampled_from(['"bbox_2d": ', '"label": ', "1e999", "NaN", "9" * 5000, "null", "```"]),
        st.text(max_size=8),
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: f"{q.task}-{len(q.options)}")
@given(text=fragments)
def test_no_text_raises(query, text):
    task = TASKS[query.task]
    answer = task.parse(text, query)
    assert 0.0 <= task.score(answer, task_target(query)) <= 1.0


def task_target(query):
    from napari_pathreason.tasks import Target

    if query.task == "detection":
        return Target(boxes=(AnswerBox("tumour", 0, 0, 10, 10),))
    return Target(text=query.options[0] if query.options else "12")


def test_frame_is_whole_only_when_nothing_surrounds_it():
    assert split_frame("<think>a</think>\n<answer>b</answer>") == ("a", "b", True)
    assert split_frame("<think>a</think><answer>b</answer> and more") == ("a", "b", False)
    assert split_frame("<think>a</think>b") == ("a", "b", False)
    assert split_frame("b") == ("", "b", False)
    assert split_frame("<think>cut off") == ("cut off", "", False)


@pytest.mark.parametrize("text", ["no", "(B) no", "B", "b)", "2", "(2)", "No.", "(x) no"])
def test_option_by_name_letter_or_number(text):
    assert find_option(text, ("yes", "no")) == "no"


@pytest.mark.parametrize("text", ["", "maybe", "C", "0", "yes and no"])
def test_no_option(text):
    assert find_option(text, ("yes", "no")) is None


def test_numbers_keep_their_point():
    assert normalise("The 3.5 um, a cell.") == "3.5 um cell"


corner = st.integers(0, 1000)


@given(st.lists(st.tuples(corner, corner, corner, corner), max_size=6))
def test_boxes_survive_a_round_trip(corners):
    items = [{"bbox_2d": list(c), "label": "tumour"} for c in corners]
    boxes, whole = parse_boxes(json.dumps(items), "x")
    with_area = [c for c in corners if c[0] != c[2] and c[1] != c[3]]
    assert len(boxes) == len(with_area)
    assert whole == (len(with_area) == len(corners))
    assert all(box.x1 < box.x2 and box.y1 < box.y2 for box in boxes)


def test_plain_lists_fences_and_cut_lists_are_read():
    assert parse_boxes("[[1, 2, 3, 4]]", "t") == ((AnswerBox("t", 1, 2, 3, 4),), True)
    assert parse_boxes("```json\n[[1, 2, 3, 4]]\n```", "t")[1]
    cut = '[{"bbox_2d": [1, 2, 3, 4], "label": "t"}, {"bbox_2d": [5,'
    assert parse_boxes(cut, "t") == ((AnswerBox("t", 1, 2, 3, 4),), False)


def test_a_label_nobody_asked_for_is_dropped_and_told():
    query = Query("detection", "", ("tumour",))
    text = '<think>.</think><answer>[{"bbox_2d": [0, 0, 9, 9], "label": "cat"}]</answer>'
    answer = TASKS["detection"].parse(text, query)
    assert answer.boxes == ()
    assert not answer.well_formed
