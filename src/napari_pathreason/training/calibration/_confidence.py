"""Confidence: questions with known answers put to a model, and its probabilities fitted to them.

Log-odds are scaled and shifted by likelihood, each form of answer by itself, so that of the answers
with a confidence of 0.8 four fifths are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from tqdm import tqdm

from napari_pathreason import types
from napari_pathreason.engine import Job, Performer, ask, log_odds, read_probabilities
from napari_pathreason.models import FixedAllocator
from napari_pathreason.tasks import TASKS, is_right, match_boxes
from napari_pathreason.training.evaluation import (
    SMALLEST,
    ask_views,
    expected_calibration_error,
    relative,
)
from napari_pathreason.training.samples import (
    Pictures,
    Sample,
    read_view,
    region_target,
    score_target,
)

FORMS = ("choice", "open", "box")
BUDGETS = (4, 16, 64, 256)
"""Each question is asked at one of them, drawn anew for each."""
MAX_NEW_TOKENS = 192
FEWEST = 10
"""Known answers below which nothing is fitted."""
PRIOR = 1.0
"""Weight, in answers, of the belief that nothing needs a change; keeps a few answers sober."""
CONFIDENT = 0.5
"""What is right more often than not is never called uncertain for its confidence."""
DOUBTED = 0.04
"""Share of the known questions whose answers are uncertain for their confidence."""
FLATTEST = 0.05
"""Least slope of the log-odds: a model whose confidence says the opposite keeps its order."""
STEPS = 50
"""Of Newton's method, at the most."""

Shares = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AnswerOutcome:
    """A probability that a model gave, the least of its rationale, and whether it was right."""

    probability: float
    rationale: float
    right: bool


Outcomes = dict[str, list[tuple[AnswerOutcome, ...]]]
"""By the form of the answer, one tuple for each: of boxes one outcome each, else a single one."""


def ask_known(
    performer: Performer, samples: Sequence[Sample], pictures: Pictures, seed: int
) -> Outcomes:
    """Outcomes of answers; a box is right as a scored match, as is no box; else see `is_right`.

    ``performer`` must be one without a calibration. What a zoom leaves of the boxes is
    what counts.
    """
    rng = Random(f"{seed}-budgets")
    outcomes: Outcomes = {form: [] for form in FORMS}
    for sample in tqdm(samples, unit="answer", mininterval=5):
        form, own = answer_outcomes(performer, sample, pictures, rng.choice(BUDGETS))
        if own:
            outcomes[form].append(own)
    return outcomes


def answer_outcomes(
    performer: Performer, sample: Sample, pictures: Pictures, budget: int
) -> tuple[str, tuple[AnswerOutcome, ...]]:
    """Form of the answer to one question, and its outcomes; parameters as in `ask_known`."""
    settings = types.GenerationSettings(max_new_tokens=MAX_NEW_TOKENS)
    if sample.views:
        return _joint_outcome(performer, sample, pictures, budget, settings)
    listening = _Listening(performer)
    region = pictures.region(sample)
    request = types.Request(region, sample.query, budget, settings, policy="one_view")
    job = Job(pictures.slide(sample), request, bounded=False)
    result = ask(job, listening, FixedAllocator())
    task, first = TASKS[sample.task], listening.completions[0]
    target = score_target(
        sample, read_view(sample, pictures, SMALLEST, performer.info.dims.token_px)
    )
    probabilities = read_probabilities(
        first.written, sample.query, task.parse(first.text, sample.query)
    )
    if probabilities.boxes:
        boxes = relative(result).boxes
        hits = {index for index, _, _ in match_boxes(boxes, target.boxes)}
        each = [detection.confidence for detection in result.detections]
        whole = len(each) == len(boxes)  # else an empty box was left out
        rights = [(c, i in hits) for i, c in enumerate(each) if c is not None and whole]
    elif probabilities.answer is None:
        rights = []
    elif probabilities.form == "box":
        rights = [(probabilities.answer, not target.boxes)]
    else:
        score = task.score(result.answer, target)
        rights = [(probabilities.answer, is_right(score, target.text, target.choices))]
    return probabilities.form, tuple(
        AnswerOutcome(c, probabilities.rationale, hit) for c, hit in rights
    )


def _joint_outcome(
    performer: Performer,
    sample: Sample,
    pictures: Pictures,
    budget: int,
    settings: types.GenerationSettings,
) -> tuple[str, tuple[AnswerOutcome, ...]]:
    """The same of a sample whose views stand in one prompt; its answer is in words."""
    (one,) = ask_views(performer, [sample], pictures, budget, settings)
    probabilities = read_probabilities(one.completion.written, sample.query, one.answer)
    if probabilities.answer is None:
        return probabilities.form, ()
    target = region_target(sample, pictures.region(sample))
    score = TASKS[sample.task].score(one.answer, target)
    right = is_right(score, target.text, target.choices)
    return probabilities.form, (
        AnswerOutcome(probabilities.answer, probabilities.rationale, right),
    )


class _Listening:
    """A performer whose completions are kept."""

    def __init__(self, performer: Performer) -> None:
        self._performer = performer
        self.info = performer.info
        self.completions: list[types.Completion] = []

    def generate(
        self, prompt: types.Prompt, settings: types.GenerationSettings, cancel: Event
    ) -> Iterator[str | types.Completion]:
        """Satisfies `Performer`."""
        for piece in self._performer.generate(prompt, settings, cancel):
            if isinstance(piece, types.Completion):
                self.completions.append(piece)
            yield piece


def fit_confidence(outcomes: Outcomes) -> types.Calibration:
    """A scale for each form of answer, and the confidence below which any is uncertain."""
    scales = [fit_scale([*chain.from_iterable(outcomes[form])]) for form in FORMS]
    confidences = [
        answer_confidence(scale, answer)
        for scale, form in zip(scales, FORMS, strict=True)
        for answer in outcomes[form]
    ]
    choice, open_, box = scales
    return types.Calibration(choice, open_, box, least_confidence(confidences))


def calibration_errors(outcomes: Outcomes) -> dict[str, dict[str, Any]]:
    """ECE of each form and of all answers in words, before and after; see `held_out`."""
    errors, words = {}, []
    for form in FORMS:
        own = [*chain.from_iterable(outcomes[form])]
        if len(own) < 2:
            continue
        right = np.array([one.right for one in own], float)
        before, after = apply(types.Scale(), own), held_out(own)
        errors[form] = _before_and_after(before, after, right)
        if form != "box":
            words.append((before, after, right))
    if len(words) > 1:
        parts = (np.concatenate(part) for part in zip(*words, strict=True))
        errors["choice and open"] = _before_and_after(*parts)
    return errors


def _before_and_after(before: Shares, after: Shares, right: Shares) -> dict[str, Any]:
    return {
        "answers": len(right),
        "before": round(expected_calibration_error(before, right), 4),
        "after": round(expected_calibration_error(after, right), 4),
    }


def fit_scale(outcomes: Sequence[AnswerOutcome]) -> types.Scale:
    """The likeliest scale, with the rationale's doubt where that makes it likelier."""
    if len(outcomes) < FEWEST:
        return types.Scale()
    fits = [_fit(outcomes, rationale) for rationale in (False, True)]
    return min(fits, key=lambda fit: fit[0])[1]


def apply(scale: types.Scale, outcomes: Sequence[AnswerOutcome]) -> Shares:
    """Scaled probabilities, float64 (outcomes,)."""
    return _share(_odds(outcomes, scale.rationale), 1 / scale.temperature, scale.offset)


def answer_confidence(scale: types.Scale, outcomes: Sequence[AnswerOutcome]) -> float:
    """Of one answer: that of its words, or the mean of its boxes'."""
    return float(apply(scale, outcomes).mean())


def least_confidence(confidences: Sequence[float]) -> float:
    """Confidence that almost all answers have, at the most `CONFIDENT`.

    One for all forms of answer: calibrated, they are the same probability of being right, so
    those that are doubted are those that are wrong most often.

    Parameters
    ----------
    confidences : sequence of float
        Calibrated, of answers to questions that the model was trained on.
    """
    if len(confidences) < FEWEST:
        return CONFIDENT
    return min(CONFIDENT, round(float(np.quantile(confidences, DOUBTED)), 4))


def held_out(outcomes: Sequence[AnswerOutcome]) -> Shares:
    """Probabilities scaled by fits that did not see the answer: each half by the other's."""
    after = np.empty(len(outcomes))
    for half in (0, 1):
        after[half::2] = apply(fit_scale(outcomes[1 - half :: 2]), outcomes[half::2])
    return after


def _fit(outcomes: Sequence[AnswerOutcome], rationale: bool) -> tuple[float, types.Scale]:
    """Newton's method on the slope and the offset of the log-odds."""
    odds, right = _odds(outcomes, rationale), np.array([one.right for one in outcomes], float)
    design = np.stack([odds, np.ones_like(odds)], 1)
    prior = np.array([1.0, 0.0])
    weights = prior.copy()
    for _ in range(STEPS):
        share = _share(odds, *weights)
        slope = design.T @ (share - right) + PRIOR * (weights - prior)
        curve = design.T @ (design * (share * (1 - share))[:, None]) + PRIOR * np.eye(2)
        step = np.linalg.solve(curve, slope)
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        weights[0] = max(weights[0], FLATTEST)
        if np.abs(step).max() < 1e-9:
            break
    share = np.minimum(np.maximum(_share(odds, *weights), 1e-9), 1 - 1e-9)
    surprise = -(right * np.log(share) + (1 - right) * np.log(1 - share)).sum()
    loss = float(surprise + 0.5 * PRIOR * ((weights - prior) ** 2).sum())
    return loss, types.Scale(float(1 / weights[0]), float(weights[1]), rationale)


def _odds(outcomes: Sequence[AnswerOutcome], rationale: bool) -> Shares:
    return np.array(
        [log_odds(o.probability * (o.rationale if rationale else 1.0)) for o in outcomes]
    )


def _share(odds: Shares, slope: float, offset: float) -> Shares:
    share: Shares = expit(odds * slope + offset)
    return share
