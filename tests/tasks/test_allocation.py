"""An allocator's number: asked for with the task's own words, read out of any text."""

import pytest

from napari_pathreason.tasks import TASKS, WrittenAllocation, allocation_messages, parse_allocation
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
