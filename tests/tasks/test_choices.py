"""Two choices are never one: whatever signs, numbers and prefixes tell them apart."""

import pytest
from hypothesis import assume, given, strategies as st

from napari_pathreason.errors import QueryError
from napari_pathreason.tasks import (
    TASKS,
    Target,
    check_choices,
    equal_choices,
    find_option,
    same_choice,
)
from napari_pathreason.types import Answer, Query

PARTS = st.sampled_from(
    [
        *("1", "2", "10", "3+4", "4+3", "3/4", "3", "4", "1+", "2+", "<1%", ">1%", "≥1%", ">=1%"),
        *("-1", "0.1", "1.0", "+", "-", "A", "B", "a", "grade", "HER2", "CD3+", "CD3-", "ER"),
        *("no", "yes", "not", "tumour", "non-tumour", "normal", "I", "II", "A)", "(B)", "1.", "."),
    ]
)
labels = st.one_of(
    st.lists(PARTS, min_size=1, max_size=3).map(" ".join), st.text(min_size=1, max_size=6)
)
choices = st.lists(labels, min_size=2, max_size=6).filter(
    lambda names: all(name.strip() for name in names) and equal_choices(names) is None
)
tasks = st.sampled_from(["vqa", "subtyping"])


def _parsed(task, choices, reply, question="Which?"):
    return TASKS[task].parse(
        f"<think>x</think><answer>{reply}</answer>", Query(task, question, tuple(choices))
    )


@given(tasks, choices)
def test_every_choice_is_itself_and_no_other(task, choices):
    for own in choices:
        assume("<" not in own or "answer" not in own)
        answer = _parsed(task, choices, own)
        assert answer.text == own
        assert answer.well_formed
        for other in choices:
            target = Target(other, choices=tuple(choices))
            assert TASKS[task].score(answer, target) == (own == other)
            assert same_choice(own, other, choices) == (own == other)


@given(choices, st.sampled_from([str.upper, str.title, "{}.".format, '"{}"'.format, " {} ".format]))
def test_another_spelling_is_the_choice_or_none_and_never_another(choices, spell):
    for own in choices:
        said = find_option(spell(own), choices)
        # a case that changes the letters themselves, or a name that spells another one, may be lost
        assert said == own or said is None or spell(own).strip() == said.strip()


@given(st.lists(st.from_regex(r"[a-z]{2,5}( [1-9])?", fullmatch=True), min_size=2, unique=True))
def test_plain_names_are_found_in_other_spellings(choices):
    for own in choices:
        for spelt in (own.upper(), f"{own}.", f'"{own}"', f"**{own}**", own.replace(" ", "  ")):
            assert find_option(spelt, choices) == own


@given(labels, choices)
def test_any_text_is_a_choice_or_none(text, choices):
    assert find_option(text, choices) in (None, *choices)


@given(st.sampled_from(["", " ", ".", '""', "A", "the"]), choices)
def test_an_empty_reply_is_never_right(reply, choices):
    assume(reply not in choices)
    for task in ("vqa", "subtyping"):
        for meant in choices:
            if not reply.strip(' ."'):
                assert TASKS[task].score(
                    Answer("", reply), Target(meant, choices=tuple(choices))
                ) == float(meant.strip() == reply.strip() != "")
    assert find_option("", choices) is None


@pytest.mark.parametrize(
    ("choices", "reply", "named"),
    [
        (("yes", "no"), "No.", "no"),
        (("yes", "no"), "no tumour is seen", "no"),
        (("yes", "no"), "(x) no", "no"),
        (("yes", "no"), "yes and no", None),
        (("yes", "no"), "nothing", None),
        (("yes", "no"), "B", None),
        (("yes", "no"), "2", None),
        (("3", "4", "5"), "1", None),
        (("3", "4", "5"), "(3)", "3"),
        (("3", "4", "5"), "3 nuclei", "3"),
        (("3", "4", "5"), "3.5", None),
        (("3", "4", "5"), "3 to 5", None),
        (("3", "4", "5"), "3, 6", None),
        (("3", "4", "5"), "more than 3", None),
        (("3", "4", "5"), "13", None),
        (("1", "1+"), "1+ staining", "1+"),
        (("1", "2"), "1+", None),
        (("1", "2"), "- 1", None),
        (("<1%", "≥1%"), "it is ≥1% of cells", "≥1%"),
        (("1%", "5%"), "< 1%", None),
        (("3", "4"), "3+4", None),
        (("3+4", "4+3"), "Gleason 3+4", "3+4"),
        (("grade 1", "grade 2"), "grade 10", None),
        (("grade 1", "grade 10"), "it is grade 10", "grade 10"),
        (("grade 1", "grade 2"), "grade 1 or 2", None),
        (("tumour", "no tumour"), "there is no tumour here", "no tumour"),
        (("tumour", "no tumour"), "There is tumour.", "tumour"),
        (("tumour", "normal"), "not tumour", None),
        (("tumour", "normal"), "tumour is not seen", None),
        (("tumour", "normal"), "it is not normal, it is tumour", "tumour"),
        (("tumour", "normal"), "non-tumour", None),
        (("tumour", "normal"), "tumour/normal", None),
        (("tumour", "normal"), "tumours", None),
        (("positive", "negative"), "negative for tumour", "negative"),
        (("CD3+", "CD3-"), "CD3", None),
        (("CD3", "CD8"), "CD3+", None),
        (("ER", "PR"), "ER + cells", None),
        (("A", "B"), "A", "A"),
        (("A", "B"), "a.", "A"),
        (("A", "B"), "a tumour", None),
        (("A", "B"), "The answer is B.", "B"),
        (("benign", "benign."), "benign.", "benign."),
        (("benign", "malignant"), "Answer: **benign**", "benign"),
        (("barrett", "normal"), "barrett's", None),
    ],
)
def test_a_choice_counts_as_whole_words_alone(choices, reply, named):
    assert find_option(reply, choices) == named


MARKED = ("A) adenocarcinoma", "B) squamous cell carcinoma", "C) normal")
NAMES = ("adenocarcinoma", "squamous cell carcinoma", "normal")


@pytest.mark.parametrize(
    "question",
    [
        "Which? A) adenocarcinoma B) squamous cell carcinoma C) normal",
        "Which? (a) adenocarcinoma, (b) squamous cell carcinoma, (c) normal.",
        "Which?\nA. Adenocarcinoma\nB. Squamous cell carcinoma\nC. Normal",
    ],
)
@pytest.mark.parametrize(
    "reply", ["B", "b)", "(B)", "B.", "B) squamous cell carcinoma", "The answer is (B).", NAMES[1]]
)
def test_letters_count_where_the_question_printed_them(question, reply):
    assert find_option(reply, NAMES, question) == NAMES[1]


def test_letters_count_where_the_choices_begin_with_them():
    for reply in ("A", "(a)", "A) adenocarcinoma", "Adenocarcinoma.", "A: adenocarcinoma"):
        assert find_option(reply, MARKED) == MARKED[0]
    assert find_option("A) normal", MARKED) is None
    assert find_option("D", MARKED) is None
    numbered = ("1. lung", "2. liver")
    assert find_option("2", numbered) == find_option("liver", numbered) == "2. liver"
    assert find_option("3", numbered) is None


def test_letters_do_not_count_where_only_some_were_printed():
    question = "Which is it: A) adenocarcinoma, or another?"
    assert find_option("A", NAMES, question) is None
    assert find_option("1", ("1.5 mm", "2.5 mm")) is None


def test_a_choice_by_name_goes_before_one_by_number():
    question = "How many? 1. 3 2. 1 3. 2"
    for name in ("1", "2", "3"):
        assert find_option(name, ("3", "1", "2"), question) == name


def test_choices_that_no_reply_tells_apart_are_refused_by_name():
    assert equal_choices(("a", "b", "A ")) == ("a", "A ")
    with pytest.raises(QueryError, match=r"choices 'Grade  1' and 'grade 1' are the same"):
        check_choices(("Grade  1", "grade 1", "grade 2"))
    with pytest.raises(QueryError, match="one of the labels is empty"):
        check_choices(("tumour", " "), "labels")
    check_choices(("1", "1+", "<1%", "≥1%", "3+4", "4+3", "3/4"))
