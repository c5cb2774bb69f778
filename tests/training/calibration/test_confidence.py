import numpy as np
import pytest

from napari_pathreason.training.calibration import (
    AnswerOutcome,
    answer_confidence,
    apply,
    fit_scale,
    held_out,
    least_confidence,
)
from napari_pathreason.training.evaluation import expected_calibration_error
from napari_pathreason.types import Scale


def told(n, slope, offset, seed=0, rationale=1.0):
    """Answers that are right as often as the scaled probability says."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(1, 2, n)
    honest = 1 / (1 + np.exp(-(slope * odds + offset)))
    right = rng.random(n) < honest
    said = 1 / (1 + np.exp(-odds))
    return [AnswerOutcome(float(p), rationale, bool(r)) for p, r in zip(said, right, strict=True)]


@pytest.mark.parametrize(("slope", "offset"), [(0.5, 0.0), (2.0, -0.5), (1.0, 1.0)])
def test_the_scale_that_made_the_answers_is_found(slope, offset):
    found = fit_scale(told(20_000, slope, offset))
    assert 1 / found.temperature == pytest.approx(slope, rel=0.1)
    assert found.offset == pytest.approx(offset, abs=0.1)


def test_an_overconfident_model_is_cooled_down():
    outcomes = told(3000, 0.3, 0.0)
    right = np.array([one.right for one in outcomes], float)
    before = expected_calibration_error(apply(Scale(), outcomes), right)
    after = expected_calibration_error(held_out(outcomes), right)
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
    held = held_out(outcomes)
    assert held[0] < 0.5 < held[1]


def test_the_least_confidence_is_one_that_almost_all_known_answers_have():
    rng = np.random.default_rng(0)
    answers = rng.uniform(0.3, 1.0, 1000)
    found = least_confidence(answers.tolist())
    assert np.mean(answers < found) == pytest.approx(0.04, abs=0.002)
    # what is right more often than not is not doubted
    assert least_confidence([0.9] * 99) == least_confidence([0.1] * 3) == 0.5


def test_the_confidence_of_boxes_is_their_mean():
    confident, unsure = AnswerOutcome(0.9, 1.0, True), AnswerOutcome(0.1, 1.0, False)
    assert answer_confidence(Scale(), (confident, unsure)) == pytest.approx(0.5)
