"""Fitting what makes probabilities honest: log-odds scaled and shifted, by likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.engine import log_odds
from napari_pathreason.types import Scale

FEWEST = 10
"""Known answers below which nothing is fitted."""
PRIOR = 1.0
"""Weight, in answers, of the belief that nothing needs a change; keeps a few answers sober."""
CONFIDENT = 0.5
"""What is right more often than not is never called uncertain for its confidence."""
DOUBTED = 0.04
"""Share of the known questions whose answers are uncertain for their confidence."""
FLATTEST = 0.05
STEPS = 50

Shares = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A probability that a model gave, the least of its rationale, and whether it was right."""

    probability: float
    rationale: float
    right: bool


def fit_scale(outcomes: Sequence[Outcome]) -> Scale:
    """The likeliest scale, with the rationale's doubt where that makes it likelier."""
    if len(outcomes) < FEWEST:
        return Scale()
    fits = [_fit(outcomes, rationale) for rationale in (False, True)]
    return min(fits, key=lambda fit: fit[0])[1]


def apply(scale: Scale, outcomes: Sequence[Outcome]) -> Shares:
    """Scaled probabilities, float64 (outcomes,)."""
    return _share(_odds(outcomes, scale.rationale), 1 / scale.temperature, scale.offset)


def answer_confidence(scale: Scale, outcomes: Sequence[Outcome]) -> float:
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


def held_out(outcomes: Sequence[Outcome]) -> Shares:
    """Probabilities scaled by fits that did not see the answer: each half by the other's."""
    after = np.empty(len(outcomes))
    for half in (0, 1):
        after[half::2] = apply(fit_scale(outcomes[1 - half :: 2]), outcomes[half::2])
    return after


def _fit(outcomes: Sequence[Outcome], rationale: bool) -> tuple[float, Scale]:
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
    share = np.clip(_share(odds, *weights), 1e-9, 1 - 1e-9)
    surprise = -(right * np.log(share) + (1 - right) * np.log(1 - share)).sum()
    loss = float(surprise + 0.5 * PRIOR * ((weights - prior) ** 2).sum())
    return loss, Scale(float(1 / weights[0]), float(weights[1]), rationale)


def _odds(outcomes: Sequence[Outcome], rationale: bool) -> Shares:
    return np.array(
        [log_odds(o.probability * (o.rationale if rationale else 1.0)) for o in outcomes]
    )


def _share(odds: Shares, slope: float, offset: float) -> Shares:
    return 1 / (1 + np.exp(-np.clip(odds * slope + offset, -700, 700)))
