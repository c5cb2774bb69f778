"""Confidence out of hand-made tokens: what was written, and what stood beside it."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.engine import (
    Job,
    ask,
    calibration_of,
    calibration_values,
    confidence,
    confidence_line,
    read_probabilities,
    region_confidence,
    result_to_dict,
    scale_of,
    scaled,
    token_probability,
)
from napari_pathreason.tasks import TASKS, words_of_query
from napari_pathreason.types import (
    Answer,
    Calibration,
    Metadata,
    Query,
    Request,
    Scale,
    TokenLogprobs,
    Topic,
    TopicScale,
)

TUMOUR = Query("vqa", "Is there tumour?", ("yes", "no", "cannot tell"))
COUNT = Query("vqa", "How many nuclei are there?")
CELLS = Query("detection", options=("white cell", "platelet"))


def token(chosen: str, share: float, **beside: float) -> TokenLogprobs:
    choices = ((chosen, math.log(share)), *((t, math.log(p)) for t, p in beside.items()))
    return TokenLogprobs(choices)


THINK, OPEN, CLOSE = (token(t, 1.0) for t in ("<think></think>", "<answer>", "</answer>"))


def confident(written, query, calibration=None, metadata=None):
    text = "".join(one.text for one in [THINK, *written])
    answer = TASKS[query.task].parse(text, query)
    probabilities = read_probabilities([THINK, *written], query, answer)
    return confidence(probabilities, scale_of(query, probabilities.form, calibration, metadata))


def test_a_choice_is_weighed_against_the_other_choices_alone():
    written = [OPEN, token("yes", 0.6, no=0.2, tumour=0.15), CLOSE]
    assert confident(written, TUMOUR).answer == pytest.approx(0.75)


def choices_of(written, query):
    text = "".join(one.text for one in [THINK, *written])
    answer = TASKS[query.task].parse(text, query)
    return read_probabilities([THINK, *written], query, answer).choices


def test_each_choice_has_what_leads_to_it_alone():
    written = [OPEN, token("no", 0.6, yes=0.1, Yes=0.1, can=0.1, tumour=0.1), CLOSE]
    assert choices_of(written, TUMOUR) == pytest.approx((0.2 / 0.9, 0.6 / 0.9, 0.1 / 0.9))
    lung = Query("subtyping", options=("normal", "normal lung", "tumour"))
    written = [OPEN, token("normal", 0.8, tumour=0.2), token("</answer>", 0.25, **{" lung": 0.75})]
    assert choices_of(written, lung) == pytest.approx((0.2, 0.6, 0.2))


def test_a_beginning_that_several_choices_have_is_shared_by_them():
    colon = Query("subtyping", options=("tubular", "tubulovillous", "healthy"))
    written = [OPEN, token("healthy", 0.5, tub=0.3, tubul=0.1, h=0.1), CLOSE]
    assert choices_of(written, colon) == pytest.approx((0.2, 0.2, 0.6))


def test_choices_are_not_known_where_none_was_written():
    assert choices_of([OPEN, token("maybe", 0.5, yes=0.5), CLOSE], TUMOUR) == ()
    assert choices_of([OPEN, token("7", 0.5), CLOSE], COUNT) == ()
    assert choices_of([OPEN, token("[]", 0.8, x=0.2), CLOSE], CELLS) == ()


@given(st.lists(st.floats(1e-6, 1), min_size=3, max_size=3))
def test_choices_are_one_together_and_the_written_one_is_as_probable_as_the_answer(weights):
    yes, no, neither = (weight / sum(weights) for weight in weights)
    written = [OPEN, token("yes", yes, no=no, cannot=neither), CLOSE]
    choices = choices_of(written, TUMOUR)
    assert sum(choices) == pytest.approx(1)
    assert choices[0] == pytest.approx(confident(written, TUMOUR).answer, abs=1e-5)


def test_a_free_answer_is_weighed_against_everything():
    written = [OPEN, token("12", 0.6, **{"11": 0.2}), CLOSE]
    assert confident(written, COUNT).answer == pytest.approx(0.6)


def test_a_choice_of_several_tokens_loses_nothing_where_no_other_choice_goes_on_so():
    written = [OPEN, token("cannot", 0.9, yes=0.1), token(" tell", 0.5, **{" say": 0.5}), CLOSE]
    assert confident(written, TUMOUR).answer == pytest.approx(0.9)


def test_where_one_choice_begins_another_the_end_decides():
    lung = Query("subtyping", options=("normal", "normal lung"))
    end = token("</answer>", 0.3, **{" lung": 0.6, " heart": 0.1})
    written = [OPEN, token("normal", 1.0), end]
    assert confident(written, lung).answer == pytest.approx(1 / 3)


def test_digits_multiply_up_to_the_one_that_ends_the_number():
    written = [OPEN, token("4", 0.5), token("2", 0.5), token("</", 0.5), token("answer>", 1.0)]
    assert confident(written, COUNT).answer == pytest.approx(0.125)


def test_the_frame_may_share_tokens_with_the_answer():
    first = TokenLogprobs(((">yes", math.log(0.6)), (">no", math.log(0.2)), ("yes", math.log(0.2))))
    written = [token("<answer", 0.5), first, token("</", 1.0), token("answer>", 1.0)]
    assert confident(written, TUMOUR).answer == pytest.approx(0.75)


def test_the_frame_of_a_text_may_be_one_token():
    first = token("<think></think><answer>", 0.5, **{"<think>": 0.5})
    written = [first, token("yes", 0.6, no=0.2), CLOSE]
    answer = TASKS["vqa"].parse("<think></think><answer>yes</answer>", TUMOUR)
    assert read_probabilities(written, TUMOUR, answer).answer == pytest.approx(0.75)


def test_upper_case_is_no_other_choice():
    written = [OPEN, token("yes", 0.4, Yes=0.4, no=0.2), CLOSE]
    assert confident(written, TUMOUR).answer == pytest.approx(0.8)


def test_a_choice_within_a_longer_answer_is_weighed_as_free_text():
    written = [OPEN, token("surely yes", 0.5, yes=0.25, no=0.25), CLOSE]
    assert confident(written, TUMOUR).answer == pytest.approx(0.5)


def test_of_a_reply_that_is_none_of_the_choices_nothing_is_told():
    written = [OPEN, token("maybe", 0.5, yes=0.25, no=0.25), CLOSE]
    assert confident(written, TUMOUR).answer is None


@pytest.mark.parametrize(
    "written", [[], [OPEN, token("yes", 0.9)], [token("yes", 0.9), CLOSE]], ids=len
)
def test_without_a_whole_answer_nothing_is_told(written):
    assert confident(written, TUMOUR).answer is None


def test_an_empty_answer_tells_nothing():
    assert read_probabilities([OPEN, CLOSE], COUNT, Answer("", "")).answer is None


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
    found = confident(BOXES, CELLS)
    assert found.boxes == pytest.approx((0.4, 0.6))
    assert found.answer == pytest.approx(0.5)


def test_boxes_of_another_form_are_not_told():
    text = "[[1, 2, 300, 400]]"
    found = confident([OPEN, token(text, 0.7), CLOSE], Query("detection", options=("lesion",)))
    assert (found.answer, found.boxes) == (None, ())


def test_no_boxes_are_an_answer_like_words():
    found = confident([OPEN, token("[]", 0.7), CLOSE], CELLS)
    assert (found.answer, found.boxes) == (pytest.approx(0.7), ())


def test_each_form_of_answer_has_its_own_scale():
    heat = Calibration(Scale(2.0), Scale(4.0), Scale(8.0))
    chosen = confident([OPEN, token("yes", 0.8, no=0.2), CLOSE], TUMOUR, heat).answer
    counted = confident([OPEN, token("7", 0.8, **{"8": 0.2}), CLOSE], COUNT, heat).answer
    free = confident([OPEN, token("[]", 0.8, x=0.2), CLOSE], CELLS, heat).answer
    expected = [1 / (1 + 0.25 ** (1 / t)) for t in (2, 4, 8)]
    assert [chosen, counted, free] == pytest.approx(expected)


def test_a_kind_of_question_that_the_training_knows_apart_has_a_scale_of_its_own():
    """A model may be as sure of a kind of question that it cannot answer as of one that it can."""

    def topic(name, form, question, *options):
        query = Query("vqa", question, options)
        return Topic(name, form, words_of_query(query), query)

    tumour = topic("tumour", "yes/no", "Is there tumour?", "yes", "no", "cannot tell")
    cells = topic("white cells", "yes/no", "Are there white cells?", "yes", "no")
    red = topic("red cells", "yes/no", "Are there red cells?", "yes", "no")
    metadata = Metadata((tumour, cells, red), ())
    guessed = TopicScale("yes/no", ("tumour",), Scale(offset=-2.0))
    heat = Calibration(Scale(2.0), topics=(guessed,))

    def said(query, text="yes"):
        written = [OPEN, token(text, 0.8, no=0.2), CLOSE]
        return confident(written, query, heat, metadata).answer

    assert said(tumour.example) == pytest.approx(scaled(0.8, Scale(offset=-2.0)))
    general = pytest.approx(scaled(0.8, Scale(2.0)))
    assert said(cells.example) == general  # nobody has asked enough of them
    either = Query("vqa", "Any cells?", ("yes", "no"))
    assert said(either) == general  # its words leave open which cells
    assert said(Query("vqa", "Is there necrosis?", ("yes", "no"))) == general
    alone = Calibration(topics=(guessed,))
    assert confident([OPEN, token("yes", 0.8, no=0.2), CLOSE], tumour.example, alone).answer == (
        pytest.approx(0.8)
    )


def test_what_windows_are_put_together_to_has_a_scale_on_top_of_theirs():
    query = Query("vqa", "Is there tumour?", ("yes", "no"))
    tumour = Topic("tumour", "yes/no", words_of_query(query), query)
    metadata = Metadata((tumour,), ())
    own, others = Scale(2.0, -1.0), Scale(1.0, 0.5)
    regions = (TopicScale("yes/no", ("tumour",), own), TopicScale("yes/no", (), others))
    heat = Calibration(Scale(9.0), regions=regions)
    assert region_confidence(0.8, query, heat, metadata) == pytest.approx(scaled(0.8, own))
    white = Query("vqa", "Are there white cells?", ("yes", "no"))
    assert region_confidence(0.8, white, heat, metadata) == pytest.approx(scaled(0.8, others))
    assert region_confidence(0.8, query, heat, None) == pytest.approx(scaled(0.8, others))
    assert region_confidence(0.8, COUNT, heat, metadata) == 0.8  # nobody has asked any
    assert region_confidence(0.8, CELLS, heat, metadata) == 0.8  # boxes have theirs
    assert region_confidence(None, query, heat, metadata) is None
    assert region_confidence(0.8, query, None, metadata) == 0.8
    assert region_confidence(0.8, query, Calibration(Scale(9.0)), metadata) == 0.8


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["choice", "yes/no", "count", "boxes", "free text"]),
            st.frozensets(st.text(max_size=5), min_size=1, max_size=3),
            st.floats(0.1, 9),
            st.floats(-3, 3),
            st.booleans(),
        ),
        max_size=3,
    ),
    st.floats(0, 1),
)
def test_a_calibration_comes_back_from_its_values(topics, least):
    own = tuple(
        TopicScale(form, tuple(sorted(names)), Scale(*scale)) for form, names, *scale in topics
    )
    of_all = tuple(TopicScale(one.form, (), one.scale) for one in own)
    made = Calibration(Scale(2.0, 1.0, True), Scale(3.0), Scale(0.5), least, own, of_all)
    assert calibration_of(json.loads(json.dumps(calibration_values(made)))) == made


def test_the_least_sure_word_of_the_rationale_counts_where_the_calibration_says_so():
    rationale = [token("<think>", 1.0), token("tumour", 0.6), token("</think>", 0.9)]
    written = [*rationale, OPEN, token("yes", 0.8, no=0.2), CLOSE]
    answer = TASKS["vqa"].parse("".join(one.text for one in written), TUMOUR)
    probabilities = read_probabilities(written, TUMOUR, answer)
    assert (probabilities.answer, probabilities.rationale) == pytest.approx((0.8, 0.6))
    taken, left = (Scale(rationale=r) for r in (True, False))
    assert confidence(probabilities, taken).answer == pytest.approx(0.48)
    assert confidence(probabilities, left).answer == pytest.approx(0.8)


def test_the_end_of_the_rationale_is_no_word_of_it():
    """How surely ``<answer>`` is opened says nothing of what is in it."""
    first = token("<think></think><answer>", 0.5, **{"<think>": 0.5})
    written = [first, token("yes", 0.6, no=0.2), CLOSE]
    answer = TASKS["vqa"].parse("<think></think><answer>yes</answer>", TUMOUR)
    assert read_probabilities(written, TUMOUR, answer).rationale == 1.0


probabilities = st.floats(0, 1)
scales = st.builds(Scale, st.floats(0.05, 50), st.floats(-5, 5))


@given(probabilities, probabilities, scales)
def test_scaling_keeps_the_order_of_answers(one, other, scale):
    if one >= other:
        assert scaled(one, scale) >= scaled(other, scale)


@given(probabilities, st.floats(1, 50))
def test_heat_takes_a_probability_towards_the_half_and_not_past_it(probability, temperature):
    after = scaled(probability, Scale(temperature))
    assert 0 <= after <= 1
    assert abs(after - 0.5) <= abs(probability - 0.5) + 1e-9
    assert (after - 0.5) * (probability - 0.5) >= 0


@given(st.floats(1e-5, 1 - 1e-5))
def test_without_a_calibration_the_model_is_taken_at_its_word(probability):
    assert scaled(probability, Scale()) == pytest.approx(probability)


@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=8))
def test_chances_of_what_could_have_been_written_keep_their_order_and_sum(weights):
    total = sum(weights)
    beside = tuple((f"t{i}", math.log(w / total)) for i, w in enumerate(weights))
    among = [
        token_probability(TokenLogprobs(beside, i), lambda text: True) for i in range(len(beside))
    ]
    assert sum(among) == pytest.approx(1)
    for one, weight in zip(among, weights, strict=True):
        assert one == pytest.approx(weight / total)


def test_a_result_and_its_json_tell_the_confidence(slide, performer, allocator, whole, find):
    plain = ask(Job(slide, Request(whole, find, 64)), performer, allocator)
    assert (plain.confidence, result_to_dict(plain)["confidence"]) == (None, None)

    made = performer._completion

    def telling(pixels, text, finish):
        box = text.removesuffix("</answer>").split("<answer>")[1]
        assert box.startswith("[{"), "the finder has found nothing"
        written = (THINK, OPEN, token("[{", 0.75), token(box[2:], 1.0), CLOSE)
        return replace(made(pixels, text, finish), written=written)

    performer._completion = telling
    found = ask(Job(slide, Request(whole, find, 64)), performer, allocator)
    told = result_to_dict(found)
    assert found.confidence == pytest.approx(0.75)
    assert told["confidence"] == told["detections"][0]["confidence"] == pytest.approx(0.75)
    assert told["calibrated"] is False
    assert confidence_line(plain) == ""
    assert confidence_line(found) == "Confidence 0.75 (not calibrated)"
    calibrated = replace(found, model=replace(found.model, calibration=Calibration()))
    assert confidence_line(calibrated) == "Confidence 0.75"
