"""How far readers agree, with each other and with the model."""

import csv
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.errors import ExportError
from napari_pathreason.exports import (
    MODEL,
    AnswerRow,
    agreement_line,
    agreement_of,
    cohens_kappa,
    write_agreement,
    write_answer_table,
)
from napari_pathreason.types import Answer, Query
from tests.exports.conftest import result_with

YES_NO = Query("vqa", "Is there tumour?", ("yes", "no"))
SIGNS = {"+": "accepted", "-": "rejected"}


def rows(answers, query=YES_NO, **readers):
    """Rows with these answers; of each reader a sign for each, a blank where nothing is said."""
    return [
        AnswerRow(
            n,
            datetime.now(UTC),
            "",
            result_with(query=query, answer=Answer("", answer)),
            reviews={who: SIGNS[said[n]] for who, said in readers.items() if said[n] in SIGNS},
        )
        for n, answer in enumerate(answers)
    ]


def test_readers_are_held_against_each_other_on_what_both_have_judged():
    found = agreement_of(rows(["yes"] * 6, anna="++--+ ", bert="+---++"))
    pair = found[0]
    assert (pair.first, pair.second, pair.answers, pair.agreed) == ("anna", "bert", 5, 4)
    # by hand: observed 4/5; anna accepts 3/5, bert 2/5: chance 6/25 + 6/25
    assert pair.kappa == pytest.approx((0.8 - 0.48) / (1 - 0.48))


def test_with_the_model_to_accept_is_to_agree_and_the_other_choice_is_what_else():
    found = agreement_of(rows(["yes", "yes", "no", "no"], anna="+-++"))
    (one,) = found
    assert (one.first, one.second, one.answers, one.agreed) == ("anna", MODEL, 4, 3)
    # the reader says yes, no, no, no: by hand 3/4 against 2/16 + 6/16
    assert one.kappa == pytest.approx((0.75 - 0.5) / 0.5)


@pytest.mark.parametrize(
    "query",
    [Query("vqa", "Which?", ("a", "yes", "no")), Query("detection", "", ("tumour", "mitosis"))],
)
def test_what_else_would_be_right_is_not_known_of_other_questions(query):
    (one,) = agreement_of(rows(["yes", "no"], query, anna="+-"))
    assert one.agreed == 1
    assert one.kappa is None


def test_a_question_of_yes_or_no_needs_no_choices():
    query = Query("vqa", "Is there tumour?")
    (one,) = agreement_of(rows(["yes", "no"], query, anna="++"))
    assert one.kappa == 1


def test_nobody_and_nothing_in_common():
    assert agreement_of(rows(["yes"])) == []
    found = agreement_of(rows(["yes", "no"], anna="+ ", bert=" +"))
    assert [one.second for one in found] == [MODEL, MODEL]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=30))
def test_kappa_is_one_of_the_same_and_does_not_depend_on_the_order_of_raters(pairs):
    kappa = cohens_kappa(pairs)
    assert kappa == cohens_kappa([(b, a) for a, b in pairs])
    if kappa is not None:
        assert -1 <= kappa <= 1 + 1e-12
        assert (kappa == pytest.approx(1)) == all(a == b for a, b in pairs)
    alike = [(a, a) for a, _ in pairs]
    assert cohens_kappa(alike) in ((None,) if len(set(alike)) < 2 else (1,))


def test_a_line_and_a_table(tmp_path):
    found = agreement_of(rows(["yes", "no"], anna="+-", bert="++", **{"": "+ "}))
    line = agreement_line(found)
    assert "anna and bert 1 of 2 (50 %" in line
    assert "one reader and the model 1 of 1 (100 %)" in line
    assert agreement_line(agreement_of(rows(["yes", "no"], anna="++"))).startswith(
        "anna and the model 2 of 2"
    )
    assert agreement_line(agreement_of(rows(["yes"], **{"": "+"}))) == ""
    path = tmp_path / "agreement.csv"
    assert write_agreement(path, found) == len(found)
    table = list(csv.DictReader(path.read_text().splitlines()))
    assert {row["second"] for row in table} == {"anna", "bert", "model"}
    with pytest.raises(ExportError, match="no answer was assessed"):
        write_agreement(path, [])


def test_the_table_of_answers_names_each_reader(tmp_path):
    path = tmp_path / "a.csv"
    write_answer_table(path, rows(["yes"], bert="-", anna="+"))
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert row["reviews"] == "anna: accepted | bert: rejected"


def test_of_several_readers_the_most_decide():
    (one,) = rows(["yes"], anna="-", bert="+", cara="-")
    assert one.rejected
    assert not replace(one, review="accepted").rejected  # the reader who looks goes first
    assert not rows(["yes"], anna="-", bert="+")[0].rejected
