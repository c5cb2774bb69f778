"""Parsers are total: no text raises, whole text is read exactly, cut text is salvaged."""

import json
import time

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.tasks import TASKS, Target, parse_boxes, split_frame
from napari_pathreason.types import AnswerBox, Query

QUERIES = [
    Query("vqa", "Is there tumour?", ("yes", "no")),
    Query("vqa", "How many nuclei?"),
    Query("vqa", "What is shown?"),
    Query("vqa", "Which? A) yes B) no", ("yes", "no")),
    Query("detection", "", ("CD3+", "CD3-")),
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


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: f"{q.task}-{len(q.options)}-{q.question}")
@given(text=fragments)
def test_no_text_raises(query, text):
    task = TASKS[query.task]
    answer = task.parse(text, query)
    assert answer.reply == text
    assert answer.readable or (answer.boxes == () and not answer.well_formed)
    score = task.score(answer, task_target(query))
    assert 0.0 <= score <= 1.0
    assert answer.readable or score == 0.0


def task_target(query):
    if query.task == "detection":
        return Target(boxes=(AnswerBox("tumour", 0, 0, 10, 10),))
    return Target(query.options[0] if query.options else "12", choices=query.options)


def test_frame_is_whole_only_when_nothing_surrounds_it():
    assert split_frame("<think>a</think>\n<answer>b</answer>") == ("a", "b", True)
    assert split_frame("<think>a</think><answer>b</answer> and more") == ("a", "b", False)
    assert split_frame("<think>a</think>b") == ("a", "b", False)
    assert split_frame("b") == ("", "b", False)
    assert split_frame(" <answer>b</answer>\n") == ("", "b", True)
    assert split_frame("so <answer>b</answer>") == ("", "b", False)
    assert split_frame("<answer>a</answer><answer>b</answer>")[2] is False
    assert split_frame("<think>cut off") == ("cut off", "", False)


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


def test_a_box_without_a_label_is_dropped_where_several_are_asked_for():
    assert parse_boxes("[[1, 2, 3, 4]]", None) == ((), False)
    assert parse_boxes('[{"bbox_2d": [1, 2, 3, 4], "label": " "}]', "t") == ((), False)


def _detect(body, *labels):
    text = f"<think>.</think><answer>{body}</answer>"
    return TASKS["detection"].parse(text, Query("detection", "", labels or ("tumour",)))


def _box(label):
    return f'{{"bbox_2d": [0, 0, 9, 9], "label": "{label}"}}'


@pytest.mark.parametrize(
    "body",
    [
        "",
        "none",
        "there is tumour",
        "7",
        "null",
        "[1, 2]",
        '[{"bbox_2d": [0, 0,',
        '[{"bbox_2d": [5, 5, 5, 5], "label": "tumour"}]',
        f"[{_box('cat')}]",
    ],
)
def test_what_is_no_list_of_boxes_is_unknown_and_never_none(body):
    answer = _detect(body)
    assert (answer.text, answer.boxes, answer.well_formed) == ("", (), False)
    assert body in answer.reply
    assert not answer.readable


@pytest.mark.parametrize("body", ["[]", " [ ] ", "[[]]", "```json\n[]\n```"])
def test_an_empty_list_says_that_there_are_none(body):
    answer = _detect(body)
    assert (answer.text, answer.boxes, answer.well_formed) == ("none found", (), True)


def test_a_label_nobody_asked_for_is_dropped_and_told():
    answer = _detect(f"[{_box('cat')}, {_box('Tumour')}]")
    assert [box.label for box in answer.boxes] == ["tumour"]
    assert answer.text == "1 tumour"
    assert not answer.well_formed


def test_labels_that_differ_in_a_sign_are_different():
    answer = _detect(f"[{_box('cd3- ')}, {_box('CD3-')}, {_box('CD3')}]", "CD3+", "CD3-")
    assert answer.text == "2 CD3-"
    assert not answer.well_formed


def test_whole_boxes_of_a_cut_list_are_kept():
    answer = _detect(f"[{_box('tumour')}, {{")
    assert (answer.text, len(answer.boxes), answer.well_formed) == ("1 tumour", 1, False)


def _ask(question, body, *options):
    text = f"<think>.</think><answer>{body}</answer>"
    return TASKS["vqa"].parse(text, Query("vqa", question, options)).text


@pytest.mark.parametrize("body", ["", " ", "...", "9", "3+4", '[{"bbox_2d": [0, 0', '{"a": 1}'])
def test_no_answer_to_a_question_in_words(body):
    assert _ask("What tissue is this?", body) == ""
    assert _ask("Is there necrosis?", body) == ""


def test_an_answer_in_words_stays_as_it_was_written():
    assert _ask("What tissue is this?", "The liver, 2 mm wide.") == "The liver, 2 mm wide."
    assert _ask("What is the Gleason score?", "3+4") == "3+4"
    assert _ask("What percentage is positive?", "40 %") == "40 %"
    assert _ask("How many nuclei?", "There are 12 nuclei.") == "12"
    assert _ask("How many nuclei?", "a great many") == ""


def test_a_reply_outside_the_choices_is_no_answer():
    assert _ask("Is there tumour?", "maybe", "yes", "no") == ""
    assert _ask("Is there tumour?", f"[{_box('yes')}]", "yes", "no") == ""
    assert _ask("Which range?", "[2-5]", "[0-1]", "[2-5]") == "[2-5]"
    assert _ask("Which? A) lung B) liver", "B", "lung", "liver") == "liver"
    assert _ask("Which?", "B", "lung", "liver") == ""


@pytest.mark.parametrize("query", QUERIES[:4], ids=lambda q: q.question)
def test_thinking_that_was_cut_off_is_no_answer(query):
    answer = TASKS[query.task].parse("<think>centre: tumour, yes, 12 nuclei", query)
    assert not answer.readable
    assert answer.rationale == "centre: tumour, yes, 12 nuclei"


def test_a_choice_without_the_frame_counts_and_is_not_well_formed():
    answer = TASKS["vqa"].parse("The answer is no.", Query("vqa", "Is it?", ("yes", "no")))
    assert (answer.text, answer.well_formed) == ("no", False)


def test_a_prompt_names_the_pixels_that_boxes_are_written_in():
    query = Query("detection", "", ("tumour",))
    texts = {
        space: TASKS["detection"].messages(query, (), space)[-1]["content"][-1]["text"]
        for space in ("relative", "resized")
    }
    assert texts["resized"].startswith(texts["relative"])
    assert "pixels" in texts["resized"]
    assert "pixels" not in texts["relative"]


@pytest.mark.parametrize(
    "text",
    [
        "<think>" + "</think><answer>" * 20_000,
        "<think></think>" * 20_000,
        "<answer>" * 40_000,
        "yes " * 40_000,
        "<answer>" + "not yes, but no. " * 20_000 + "</answer>",
        "<think>a</think><answer>" + "(A) " * 30_000 + "</answer>",
        '[{"bbox_2d":' * 20_000,
        "3: 64, " * 20_000,
    ],
)
@pytest.mark.parametrize("task", ["vqa", "subtyping", "detection"])
def test_a_reply_without_end_is_parsed_at_once(task, text):
    began = time.monotonic()
    answer = TASKS[task].parse(text, Query(task, "Is there tumour?", ("yes", "no")))
    assert time.monotonic() - began < 3
    assert not answer.readable
    assert not answer.well_formed
