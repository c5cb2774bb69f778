"""What an allocator writes: asked for with the task's own words, read out of any text."""

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.tasks import (
    TASKS,
    WrittenAllocation,
    WrittenWindows,
    allocation_messages,
    parse_allocation,
    parse_windows,
    windows_messages,
)
from napari_pathreason.types import Query


def _framed(answer):
    return f"<think>64 may do, or 16</think><answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("128", 128),
        (" 7 tokens", 7),
        ("about 32, at most 64.", 32),
        ("1,024", 1024),
        ("0 or 16", 16),
        ("007", 7),
        ("9" * 5000, 10**9),
        ("", None),
        ("many", None),
        ("0", None),
        ("-5", None),
        ("12.5", None),
        ("1,02", None),
    ],
)
def test_the_first_positive_whole_number_of_the_answer_counts(answer, number):
    assert parse_allocation(_framed(answer)) == WrittenAllocation(number, number is not None)


def test_a_broken_form_is_told_and_a_thought_is_no_answer():
    assert parse_allocation("64") == WrittenAllocation(64, False)
    assert parse_allocation("<answer>64</answer>") == WrittenAllocation(64, False)
    assert parse_allocation("<think>it has 256 tokens, so") == WrittenAllocation(None, False)
    assert parse_allocation("") == WrittenAllocation(None, False)


@pytest.mark.parametrize("task", TASKS)
def test_the_prompt_holds_the_tokens_and_the_performers_own_question(task):
    query = Query(task, "", ("lung", "colon"))
    system, user = allocation_messages(query, 49, 5329)
    asked = TASKS[task].messages(query)
    assert system == asked[0]
    picture, text = user["content"]
    assert picture == {"type": "image"}
    assert asked[-1]["content"][-1]["text"] in text["text"]
    assert " 49 " in text["text"]
    assert " 5329." in text["text"]


@pytest.mark.parametrize(
    ("answer", "windows"),
    [
        ("3: 64, 7: 256", ((3, 64), (7, 256))),
        ("3:64,7:256", ((3, 64), (7, 256))),
        ("3 : 64\n7 : 256", ((3, 64), (7, 256))),
        ("windows 2: 1,024 and 1: 16.", ((2, 1024), (1, 16))),
        ("7: 16, 3: 64, 7: 256", ((7, 16), (3, 64))),
        ("1: " + "9" * 5000, ((1, 10**9),)),
    ],
)
def test_windows_are_read_in_the_order_in_which_they_stand(answer, windows):
    assert parse_windows(_framed(answer), 9) == WrittenWindows(windows, True)


@pytest.mark.parametrize(
    ("answer", "windows"),
    [
        ("", ()),
        ("none", ()),
        ("64", ()),
        ("3: many", ()),
        ("3: 0", ()),
        ("3: -5", ()),
        ("3: 12.5", ()),
        ("-3: 5", ()),
        ("10: 16", ()),  # there are nine
        ("0: 16, 2: 4", ((2, 4),)),
        ("9" * 5000 + ": 4", ()),
        ("12:30:16", ()),
    ],
)
def test_what_names_no_window_is_left_out_and_told(answer, windows):
    assert parse_windows(_framed(answer), 9) == WrittenWindows(windows, False)


def test_windows_in_a_thought_or_a_broken_form_are_told():
    assert parse_windows("<think>3: 64</think><answer>1: 4</answer>", 9).windows == ((1, 4),)
    assert parse_windows("1: 4", 9) == WrittenWindows(((1, 4),), False)
    assert parse_windows("<answer>1: 4</answer>", 9) == WrittenWindows(((1, 4),), False)
    assert parse_windows("<think>3: 64", 9) == WrittenWindows((), False)


@given(st.text(), st.integers(0, 30))
def test_any_text_names_windows_that_there_are_each_once(text, count):
    for one in (text, _framed(text)):
        windows = parse_windows(one, count).windows
        assert all(1 <= number <= count and tokens > 0 for number, tokens in windows)
        assert len({number for number, _ in windows}) == len(windows)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 10**8)), min_size=1))
def test_what_is_written_as_asked_is_read_back(windows):
    first = {}
    for number, tokens in windows:
        first.setdefault(number, tokens)
    words = ", ".join(f"{number}: {tokens}" for number, tokens in windows)
    assert parse_windows(_framed(words), 30) == WrittenWindows(tuple(first.items()), True)


@pytest.mark.parametrize("task", TASKS)
def test_the_prompt_of_windows_shows_where_they_lie(task):
    query = Query(task, "", ("lung", "colon"))
    _, user = windows_messages(query, 49, 324, [[True, False, True], [True, True, False]])
    text = user["content"][1]["text"]
    assert "\n1 - 2\n3 4 -\n" in text
    assert " 49 " in text
    assert " 324 " in text
    assert TASKS[task].messages(query)[-1]["content"][-1]["text"] in text
