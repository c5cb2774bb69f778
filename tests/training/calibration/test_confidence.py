import numpy as np
import pytest

from napari_pathreason.tasks import words_of_query
from napari_pathreason.training.calibration import (
    AnswerOutcome,
    KnownAnswer,
    apply,
    apply_calibration,
    calibration_errors,
    fit_confidence,
    fit_scale,
    held_out,
    least_confidence,
)
from napari_pathreason.training.evaluation import expected_calibration_error
from napari_pathreason.types import Metadata, Query, Scale, Topic

YES_OR_NO = ("yes", "no")
TUMOUR = Query("vqa", "Is there tumour?", YES_OR_NO)
CELLS = Query("vqa", "Are there white cells?", YES_OR_NO)
TOPICS = Metadata(
    tuple(Topic(q.question, "yes/no", words_of_query(q), q) for q in (TUMOUR, CELLS)), ()
)


def told(n, slope, offset, seed=0, rationale=1.0):
    """Answers that are right as often as the scaled probability says."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(1, 2, n)
    honest = 1 / (1 + np.exp(-(slope * odds + offset)))
    right = rng.random(n) < honest
    said = 1 / (1 + np.exp(-odds))
    return [AnswerOutcome(float(p), rationale, bool(r)) for p, r in zip(said, right, strict=True)]


def chosen(outcome, query=TUMOUR):
    return KnownAnswer(query, "choice", (outcome,))


@pytest.mark.parametrize(("slope", "offset"), [(0.5, 0.0), (2.0, -0.5), (1.0, 1.0)])
def test_the_scale_that_made_the_answers_is_found(slope, offset):
    found = fit_scale(told(20_000, slope, offset))
    assert 1 / found.temperature == pytest.approx(slope, rel=0.1)
    assert found.offset == pytest.approx(offset, abs=0.1)


def test_an_overconfident_model_is_cooled_down():
    outcomes = told(3000, 0.3, 0.0)
    right = np.array([one.right for one in outcomes], float)
    before = expected_calibration_error(apply(Scale(), outcomes), right)
    after = expected_calibration_error(
        np.concatenate(held_out([chosen(one) for one in outcomes], None)), right
    )
    assert before > 0.15
    assert after < 0.04


def test_the_rationale_is_taken_in_only_where_it_tells():
    rng = np.random.default_rng(1)
    doubt = rng.uniform(0.05, 1, 2000)
    right = rng.random(2000) < doubt
    tells = [AnswerOutcome(0.999, float(d), bool(r)) for d, r in zip(doubt, right, strict=True)]
    assert fit_scale(tells).rationale
    silent = [
        AnswerOutcome(one.probability, float(d), one.right)
        for one, d in zip(told(2000, 1.0, 0.0), doubt, strict=True)
    ]
    assert not fit_scale(silent).rationale


def test_few_answers_change_nothing_and_answers_that_are_all_right_little():
    assert fit_scale(told(9, 0.2, 0.0)) == Scale()
    found = fit_scale([AnswerOutcome(0.9, 1.0, True)] * 30)
    assert 0 < found.temperature < np.inf
    assert 0.9 < apply(found, [AnswerOutcome(0.9, 1.0, True)])[0] < 1


def test_a_model_whose_confidence_says_the_opposite_keeps_its_order():
    found = fit_scale(told(500, -1.0, 0.0))
    assert 0 < found.temperature <= 20
    one, other = apply(found, [AnswerOutcome(0.2, 1.0, True), AnswerOutcome(0.9, 1.0, True)])
    assert one <= other


def test_halves_are_scaled_by_each_other():
    """A right answer in one half alone must not lift its own half."""
    outcomes = [AnswerOutcome(0.5, 1.0, index % 2 == 0) for index in range(200)]
    held = held_out([chosen(one) for one in outcomes], None)
    assert held[0] < 0.5 < held[1]


def test_the_least_confidence_is_one_that_almost_all_known_answers_have():
    rng = np.random.default_rng(0)
    answers = rng.uniform(0.3, 1.0, 1000)
    found = least_confidence(answers.tolist())
    assert np.mean(answers < found) == pytest.approx(0.04, abs=0.002)
    # what is right more often than not is not doubted
    assert least_confidence([0.9] * 99) == least_confidence([0.1] * 3) == 0.5


def kinds(seed=0):
    """As sure of tumour, a guess, as of white cells, which are always right."""
    rng = np.random.default_rng(seed)
    answers = []
    for _ in range(200):
        said = float(rng.uniform(0.9, 0.99))
        answers.append(chosen(AnswerOutcome(said, 1.0, True), CELLS))
        answers.append(chosen(AnswerOutcome(said, 1.0, bool(rng.random() < 0.5))))
    return answers


def test_a_kind_of_question_that_is_guessed_is_told_from_one_that_is_known():
    answers = kinds()
    fitted = fit_confidence(answers, TOPICS)
    shares = apply_calibration(fitted, answers, TOPICS)
    assert np.mean(shares[0::2]) == pytest.approx(1.0, abs=0.02)
    assert np.mean(shares[1::2]) == pytest.approx(0.5, abs=0.05)
    # what is not known to the training is as all of its form, and all of one form are alike there
    together = apply_calibration(fit_confidence(answers, None), answers, None)
    assert np.mean(together[0::2]) == pytest.approx(np.mean(together[1::2]), abs=0.01)
    by_topic, by_form = (calibration_errors(answers, m)["choice"] for m in (TOPICS, None))
    assert by_topic["before"] == by_form["before"] > 0.15
    assert by_topic["after"] < 0.1


def test_a_kind_of_question_with_few_answers_is_as_all_of_its_form():
    many = [chosen(AnswerOutcome(0.95, 1.0, i % 4 > 0), CELLS) for i in range(100)]
    few = [chosen(AnswerOutcome(0.95, 1.0, False)) for _ in range(9)]
    fitted = fit_confidence(many + few, TOPICS)
    assert [one.topics for one in fitted.topics] == [(CELLS.question,)]
    more = fit_confidence([*many, *few, *few], TOPICS)
    assert len(more.topics) == 2


def test_the_confidence_of_boxes_is_their_mean():
    """It decides which answers are uncertain."""
    sure, unsure = AnswerOutcome(0.99, 1.0, True), AnswerOutcome(0.01, 1.0, False)
    find = Query("detection", options=("lesion",))
    mixed = [KnownAnswer(find, "box", (sure, unsure)) for _ in range(50)]
    assert fit_confidence(mixed, None).least == pytest.approx(0.5, abs=0.01)
    low = [KnownAnswer(find, "box", (unsure,)) for _ in range(50)]
    assert fit_confidence([*mixed, *low], None).least < 0.1
