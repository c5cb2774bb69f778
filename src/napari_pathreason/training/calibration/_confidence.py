"""Confidence: questions with known answers put to a model, and its probabilities fitted to them.

Log-odds are scaled and shifted by likelihood, each form of answer by itself and each kind of
question that the model's training tells apart near to its form, so that of the answers with a
confidence of 0.8 four fifths are right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from random import Random
from threading import Event
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from tqdm import tqdm

from napari_pathreason import types
from napari_pathreason.engine import (
    ANSWERED,
    Answered,
    Job,
    Performer,
    ask,
    log_odds,
    read_probabilities,
    scale_of,
)
from napari_pathreason.models import FixedAllocator
from napari_pathreason.tasks import TASKS, form_of, is_right, match_boxes, topic_names
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

FORMS: tuple[Answered, ...] = get_args(Answered)
BUDGETS = (4, 16, 64, 256)
"""Each question is asked at one of them, drawn anew for each."""
MAX_NEW_TOKENS = 192
FEWEST = 10
"""Known answers below which nothing is fitted."""
PRIOR = 1.0
"""Weight, in answers, of the belief that nothing needs a change; keeps a few answers sober."""
TOPIC_PRIOR = 2.0
"""Weight of the belief that a kind of question is as all of its form; of 2 to 16, 2 did best."""
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


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What became of a question with a known answer: of boxes one outcome each, else a single one.

    ``form`` is how it was answered.
    """

    query: types.Query
    form: Answered
    outcomes: tuple[AnswerOutcome, ...]


def ask_known(
    performer: Performer, samples: Sequence[Sample], pictures: Pictures, seed: int
) -> list[KnownAnswer]:
    """Outcomes of answers; a box is right as a scored match, as is no box; else see `is_right`.

    ``performer`` must be one without a calibration. What a zoom leaves of the boxes is
    what counts. Answers whose probability is not known are left out.
    """
    rng = Random(f"{seed}-budgets")
    answers = []
    for sample in tqdm(samples, unit="answer", mininterval=5):
        form, outcomes = answer_outcomes(performer, sample, pictures, rng.choice(BUDGETS))
        if outcomes:
            answers.append(KnownAnswer(sample.query, form, outcomes))
    return answers


def answer_outcomes(
    performer: Performer, sample: Sample, pictures: Pictures, budget: int
) -> tuple[Answered, tuple[AnswerOutcome, ...]]:
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
) -> tuple[Answered, tuple[AnswerOutcome, ...]]:
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


def fit_confidence(
    answers: Sequence[KnownAnswer], metadata: types.Metadata | None
) -> types.Calibration:
    """A scale for each form of answer and each kind of question, and what is uncertain in any.

    Parameters
    ----------
    answers : sequence of KnownAnswer
    metadata : Metadata or None
        What the model says of its training: the kinds of question that its words tell apart.
    """
    fits = {form: fits_of(_outcomes_of(answers, form)) for form in FORMS}
    choice, open_, box = (likeliest(fits[form]) for form in FORMS)
    topics = []
    for (form, names), own in _by_topics(answers, metadata).items():
        outcomes = [*chain.from_iterable(one.outcomes for one in own)]
        if len(outcomes) >= FEWEST:
            scale = likeliest(fits_of(outcomes, fits[ANSWERED[form]], TOPIC_PRIOR))
            topics.append(types.TopicScale(form, names, scale))
    found = types.Calibration(choice, open_, box, topics=tuple(topics))
    shares = apply_calibration(found, answers, metadata)
    least = least_confidence([float(own.mean()) for own in shares])
    return replace(found, least=least)


def apply_calibration(
    calibration: types.Calibration,
    answers: Sequence[KnownAnswer],
    metadata: types.Metadata | None,
) -> list[Shares]:
    """Scaled probabilities of each answer's outcomes, float64 (outcomes,) each."""
    return [
        apply(scale_of(one.query, one.form, calibration, metadata), one.outcomes) for one in answers
    ]


def calibration_errors(
    answers: Sequence[KnownAnswer], metadata: types.Metadata | None
) -> dict[str, dict[str, Any]]:
    """ECE of each form and of all answers in words, before and after; see `held_out`."""
    after = held_out(answers, metadata)
    plain = apply_calibration(types.Calibration(), answers, None)
    groups: dict[str, list[int]] = {
        form: [i for i, one in enumerate(answers) if one.form == form] for form in FORMS
    }
    groups["choice and open"] = [i for i, one in enumerate(answers) if one.form != "box"]
    errors: dict[str, dict[str, Any]] = {}
    for name, places in groups.items():
        right = np.array([one.right for i in places for one in answers[i].outcomes], float)
        if len(right) < 2:
            continue
        before, now = (np.concatenate([own[i] for i in places]) for own in (plain, after))
        errors[name] = _before_and_after(before, now, right)
    return errors


def _before_and_after(before: Shares, after: Shares, right: Shares) -> dict[str, Any]:
    return {
        "answers": len(right),
        "before": round(expected_calibration_error(before, right), 4),
        "after": round(expected_calibration_error(after, right), 4),
    }


def fit_scale(outcomes: Sequence[AnswerOutcome]) -> types.Scale:
    """The likeliest scale, with the rationale's doubt where that makes it likelier."""
    return likeliest(fits_of(outcomes))


def apply(scale: types.Scale, outcomes: Sequence[AnswerOutcome]) -> Shares:
    """Scaled probabilities, float64 (outcomes,)."""
    return _share(_odds(outcomes, scale.rationale), 1 / scale.temperature, scale.offset)


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


def held_out(answers: Sequence[KnownAnswer], metadata: types.Metadata | None) -> list[Shares]:
    """As `apply_calibration`, by fits that did not see the answer: each half by the other's.

    Both halves have every second answer of each kind of question.
    """
    after: list[Shares] = [np.empty(0)] * len(answers)
    halves: tuple[list[int], list[int]] = ([], [])
    counts: Counter[tuple[str, types.Form, tuple[str, ...]]] = Counter()
    for place, one in enumerate(answers):
        kind = (one.form, *_kind(one.query, metadata))
        halves[counts[kind] % 2].append(place)
        counts[kind] += 1
    for own, others in (halves, halves[::-1]):
        fitted = fit_confidence([answers[place] for place in others], metadata)
        shares = apply_calibration(fitted, [answers[place] for place in own], metadata)
        for place, share in zip(own, shares, strict=True):
            after[place] = share
    return after


@dataclass(frozen=True, slots=True)
class _Fit:
    """Slope and offset of the log-odds, float64 (2,), and how unlikely they make the answers."""

    weights: Shares
    loss: float


Fits = dict[bool, _Fit]
"""With and without the doubt of the rationale."""
_SOBER = _Fit(np.array([1.0, 0.0]), 0.0)


def fits_of(
    outcomes: Sequence[AnswerOutcome], near: Fits | None = None, prior: float = PRIOR
) -> Fits:
    """Both fits, held near to others by the weight of ``prior`` answers."""
    near = near or {False: _SOBER, True: _SOBER}
    if len(outcomes) < FEWEST:
        return near
    return {
        rationale: _fit(_odds(outcomes, rationale), outcomes, near[rationale].weights, prior)
        for rationale in (False, True)
    }


def likeliest(fits: Fits) -> types.Scale:
    rationale = fits[True].loss < fits[False].loss
    slope, offset = fits[rationale].weights
    return types.Scale(float(1 / slope), float(offset), rationale)


def _fit(odds: Shares, outcomes: Sequence[AnswerOutcome], near: Shares, prior: float) -> _Fit:
    """Newton's method on the slope and the offset of the log-odds."""
    right = np.array([one.right for one in outcomes], float)
    design = np.stack([odds, np.ones_like(odds)], 1)
    weights = near.copy()
    for _ in range(STEPS):
        share = _share(odds, *weights)
        slope = design.T @ (share - right) + prior * (weights - near)
        curve = design.T @ (design * (share * (1 - share))[:, None]) + prior * np.eye(2)
        step = np.linalg.solve(curve, slope)
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        weights[0] = max(weights[0], FLATTEST)
        if np.abs(step).max() < 1e-9:
            break
    share = np.minimum(np.maximum(_share(odds, *weights), 1e-9), 1 - 1e-9)
    surprise = -(right * np.log(share) + (1 - right) * np.log(1 - share)).sum()
    return _Fit(weights, float(surprise + 0.5 * prior * ((weights - near) ** 2).sum()))


def _outcomes_of(answers: Sequence[KnownAnswer], form: Answered) -> list[AnswerOutcome]:
    return [*chain.from_iterable(one.outcomes for one in answers if one.form == form)]


def _kind(
    query: types.Query, metadata: types.Metadata | None
) -> tuple[types.Form, tuple[str, ...]]:
    """Form of a question's answer, and the topics that its words leave open."""
    return form_of(query), topic_names(query, metadata)


def _by_topics(
    answers: Sequence[KnownAnswer], metadata: types.Metadata | None
) -> dict[tuple[types.Form, tuple[str, ...]], list[KnownAnswer]]:
    """Answers of the form that was asked for, by kind of question."""
    groups: dict[tuple[types.Form, tuple[str, ...]], list[KnownAnswer]] = {}
    for one in answers:
        form, names = _kind(one.query, metadata)
        if names and ANSWERED[form] == one.form:
            groups.setdefault((form, names), []).append(one)
    return groups


def _odds(outcomes: Sequence[AnswerOutcome], rationale: bool) -> Shares:
    return np.array(
        [log_odds(o.probability * (o.rationale if rationale else 1.0)) for o in outcomes]
    )


def _share(odds: Shares, slope: float, offset: float) -> Shares:
    share: Shares = expit(odds * slope + offset)
    return share
