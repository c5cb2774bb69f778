"""Which questions ask for a number, and which number a reply gives."""

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.tasks import TASKS, asks_count, asks_number
from napari_pathreason.types import Query


def _count(reply):
    text = f"<think></think><answer>{reply}</answer>"
    return TASKS["vqa"].parse(text, Query("vqa", "How many nuclei are there?")).text


@pytest.mark.parametrize(
    "question",
    [
        "How many nuclei are there?",
        "Count the nuclei.",
        "Please count the mitoses in this field",
        "Can you count the nuclei?",
        "What is the number of nuclei in this region?",
        "Number of platelets?",
        "What is the mitotic count?",
        "This is lung. How many cells are there? Answer briefly.",
    ],
)
def test_questions_for_a_count(question):
    assert asks_count(question)
    assert asks_number(question)


@pytest.mark.parametrize(
    "question",
    [
        "What percentage of cells is positive?",
        "What is the Gleason score?",
        "Which grade is this?",
        "Grade this.",
        "How large is the lesion?",
        "Ki-67?",
        "Wie viele Kerne?",
    ],
)
def test_questions_that_a_number_may_answer(question):
    assert asks_number(question)
    assert not asks_count(question)


@pytest.mark.parametrize(
    "question",
    [
        "What tissue is this?",
        "Is there necrosis?",
        "Is the number of mitoses high?",
        "Where is the number of nuclei highest?",
        "In which part are most nuclei?",
        "What does the number of mitoses tell?",
        "Describe the lesion.",
        "On what account is it benign?",
    ],
)
def test_questions_in_words(question):
    assert not asks_number(question)
    assert not asks_count(question)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        *(("12", "12"), ("12 nuclei.", "12"), ("about 1,024", "1024"), ("2.5", "2.5")),
        *(("nine", "9"), ("No nuclei.", "0"), ("none found", "0"), ("There are no mitoses", "0")),
        *(("more than 100", "more than 100"), ("<5", "<5")),
        *(("cannot tell", "cannot tell"), ("I cannot tell.", "I cannot tell.")),
        *(("", ""), ("many", ""), ("10-20", ""), ("3 or 4", ""), ("-3", ""), ("5/10", "")),
        *(("CD3", ""), ("10^3", ""), ("9" * 20, ""), ("I have no idea", ""), ("no answer", "")),
        *(("one or two", ""), ("[3]", "")),
    ],
)
def test_a_count_is_the_one_number_of_a_reply(reply, text):
    assert _count(reply) == text


@given(st.integers(0, 999_999_999))
def test_every_number_is_read_as_itself(number):
    assert _count(str(number)) == _count(f"{number:,} nuclei") == str(number)


@given(st.text())
def test_any_question_is_read(question):
    assert asks_number(question) or not asks_count(question)
