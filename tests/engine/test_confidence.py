"""Confidence out of hand-made tokens: what was written, and what stood beside it."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathreason._types import Answer, Calibration, Query, WrittenToken
from napari_pathreason.engine import Job, ask, result_to_dict
from napari_pathreason.engine._chances import token_chance
from napari_pathreason.engine._confidence import confidence
from napari_pathreason.tasks import TASKS

TUMOUR = Query("vqa", "Is there tumour?", ("yes", "no", "cannot tell"))
COUNT = Query("vqa", "How many nuclei are there?")
CELLS = Query("detection", options=("white cell", "platelet"))


def token(chosen: str, share: float, **beside: float) -> WrittenToken:
    choices = ((chosen, math.log(share)), *((t, math.log(p)) for t, p in beside.items()))
    return WrittenToken(choices)


OPEN, CLOSE = token("<answer>", 1.0), token("</answer>", 1.0)


def sure(written, query, calibration=None):
    text = "<think></think>" + "".join(one.text for one in written)
    return confidence(written, query, TASKS[query.task].parse(text, query), calibration)


def test_a_choice_is_weighed_against_the_other_choices_alone():
    written = [OPEN, token("yes", 0.6, no=0.2, tumour=0.15), CLOSE]
    assert sure(written, TUMOUR).answer == pytest.approx(0.75)


def test_a_free_answer_is_weighed_against_everything():
    written = [OPEN, token("12", 0.6, **{"11": 0.2}), CLOSE]
    assert sure(written, COUNT).answer == pytest.approx(0.6)


def test_a_choice_of_several_tokens_loses_nothing_where_no_other_choice_goes_on_so():
    written = [OPEN, token("cannot", 0.9, yes=0.1), token(" tell", 0.5, **{" say": 0.5}), CLOSE]
    assert sure(written, TUMOUR).answer == pytest.approx(0.9)


def test_where_one_choice_begins_another_the_end_decides():
    lung = Query("subtyping", options=("normal", "normal lung"))
    end = token("</answer>", 0.3, **{" lung": 0.6, " heart": 0.1})
    written = [OPEN, token("normal", 1.0), end]
    assert sure(written, lung).answer == pytest.approx(1 / 3)


def test_digits_multiply_up_to_the_one_that_ends_the_number():
    written = [OPEN, token("4", 0.5), token("2", 0.5), token("</", 0.5), token("answer>", 1.0)]
    assert sure(written, COUNT).answer == pytest.approx(0.125)


def test_the_frame_may_share_tokens_with_the_answer():
    first = WrittenToken(((">yes", math.log(0.6)), (">no", math.log(0.2)), ("yes", math.log(0.2))))
    written = [first, token("</", 1.0), token("answer>", 1.0)]
    text = "<think></think><answer>yes</answer>"
    found = confidence(written, TUMOUR, TASKS["vqa"].parse(text, TUMOUR))
    assert found.answer == pytest.approx(0.75)


def test_upper_case_is_no_other_choice():
    written = [OPEN, token("yes", 0.4, Yes=0.4, no=0.2), CLOSE]
    assert sure(written, TUMOUR).answer == pytest.approx(0.8)


def test_an_answer_that_is_none_of_the_choices_is_weighed_as_free_text():
    written = [OPEN, token("maybe", 0.5, yes=0.25, no=0.25), CLOSE]
    assert sure(written, TUMOUR).answer == pytest.approx(0.5)


@pytest.mark.parametrize(
    "written", [[], [OPEN, token("yes", 0.9)], [token("yes", 0.9), CLOSE]], ids=len
)
def test_without_a_whole_answer_nothing_is_told(written):
    assert sure(written, TUMOUR).answer is None


def test_an_empty_answer_tells_nothing():
    assert confidence([OPEN, CLOSE], COUNT, Answer("", "")).answer is None


BOXES = [
    OPEN,
    token('[{"bbox_2d":[', 0.8, **{"[]": 0.2}),
    *(token(text, 1.0 if text == "," else 0.1) for text in "10 , 20 , 300 , 400".split()),
    token('],"label":"', 1.0),
    token("white cell", 0.5, platelet=0.5),
    token('"},{"bbox_2d":[', 0.6, **{'"}]': 0.4}),
    *(token(text, 1.0) for text in ("500", ",", "500", ",", "900", ",", "900")),
    token('],"label":"', 1.0),
    token("platelet", 1.0),
    token('"}]', 0.9),
    CLOSE,
]


def test_a_box_is_as_sure_as_its_beginning_and_its_label():
    found = sure(BOXES, CELLS)
    assert found.boxes == pytest.approx((0.4, 0.6))
    assert found.answer == pytest.approx(0.5)


def test_boxes_of_another_form_are_not_told():
    text = "[[1, 2, 300, 400]]"
    found = sure([OPEN, token(text, 0.7), CLOSE], Query("detection", options=("lesion",)))
    assert (found.answer, found.boxes) == (None, (None,))


def test_no_boxes_are_an_answer_like_words():
    found = sure([OPEN, token("[]", 0.7), CLOSE], CELLS)
    assert (found.answer, found.boxes) == (pytest.approx(0.7), ())


def test_each_form_of_answer_has_its_own_temperature():
    heat = Calibration(choice=2.0, open=4.0, box=8.0)
    chosen = sure([OPEN, token("yes", 0.8, no=0.2), CLOSE], TUMOUR, heat).answer
    counted = sure([OPEN, token("7", 0.8, **{"8": 0.2}), CLOSE], COUNT, heat).answer
    free = sure([OPEN, token("[]", 0.8, x=0.2), CLOSE], CELLS, heat).answer
    expected = [1 / (1 + 0.25 ** (1 / t)) for t in (2, 4, 8)]
    assert [chosen, counted, free] == pytest.approx(expected)


shares = st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=8)
temperatures = st.floats(0.05, 50)


@given(shares, temperatures)
def test_temperature_keeps_the_order_of_what_could_have_been_written(weights, temperature):
    total = sum(weights)
    choices = tuple((f"t{i}", math.log(w / total)) for i, w in enumerate(weights))
    tokens = [WrittenToken(choices, i) for i in range(len(choices))]
    before = [token_chance(one) for one in tokens]
    after = [token_chance(one, temperature) for one in tokens]
    for i, one in enumerate(before):
        for j, other in enumerate(before):
            if one > other * (1 + 1e-6):
                assert after[i] >= after[j]


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), temperatures)
def test_temperature_keeps_the_order_of_answers_to_yes_or_no(one, other, temperature):
    heat = Calibration(choice=temperature)
    query = Query("vqa", "Tumour?", ("yes", "no"))

    def of(share, calibration):
        return sure([OPEN, token("yes", share, no=1 - share), CLOSE], query, calibration).answer

    if of(one, None) > of(other, None):
        assert of(one, heat) >= of(other, heat)


@given(shares, temperatures)
def test_confidence_is_a_share_and_heat_takes_it_towards_the_even_one(weights, temperature):
    total = sum(weights)
    choices = tuple((f"t{i}", math.log(w / total)) for i, w in enumerate(weights))
    best = max(range(len(choices)), key=lambda i: choices[i][1])
    taken = WrittenToken(choices, best)
    allowed = lambda text: True  # noqa: E731
    before, after = (token_chance(taken, t, allowed) for t in (1.0, temperature))
    assert 0 <= after <= 1
    if temperature > 1:
        assert after <= before + 1e-12
    else:
        assert after >= before - 1e-12


def test_a_result_and_its_json_tell_the_confidence(slide, performer, allocator, whole, find):
    plain = ask(Job(slide, whole, find, 64), performer, allocator)
    assert (plain.confidence, result_to_dict(plain)["confidence"]) == (None, None)

    made = performer._completion

    def telling(pixels, text, finish):
        box = text.removesuffix("</answer>").split("<answer>")[1]
        assert box.startswith("[{"), "the finder has found nothing"
        written = (OPEN, token("[{", 0.75), token(box[2:], 1.0), CLOSE)
        return replace(made(pixels, text, finish), written=written)

    performer._completion = telling
    found = ask(Job(slide, whole, find, 64), performer, allocator)
    told = result_to_dict(found)
    assert found.confidence == pytest.approx(0.75)
    assert told["confidence"] == told["detections"][0]["confidence"] == pytest.approx(0.75)
    assert told["calibrated"] is False
