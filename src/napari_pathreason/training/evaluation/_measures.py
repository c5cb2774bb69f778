"""Figures of a group of items: each is a sum over items divided by another, with its interval.

The bootstrap is written out: `scipy.stats.bootstrap` draws places where this draws how often each
unit comes, so that it would move every published interval, and it keeps resamples with nothing
below the fraction line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.tasks import is_right, same_choice
from napari_pathreason.training.convert import CANNOT_TELL

from ._predictions import Prediction

Part = tuple[float, float]
"""What an item adds above and below the fraction line."""

Measure = Callable[[Prediction], Part | None]
"""None where the item does not speak to the measure."""

DRAWS = 1000
MOST_DIGITS = 9
"""A longer number counts nothing that a picture shows."""


def counted(item: Prediction) -> bool:
    """Whether the answer of a question is a number of things."""
    return item.task == "vqa" and item.truth.isdecimal()


def _within(tolerance: float) -> Measure:
    def part(item: Prediction) -> Part | None:
        if not counted(item):
            return None
        return float(near(item.answer, item.truth, tolerance)), 1.0

    return part


def near(answer: str, truth: str, tolerance: float) -> bool:
    """Whether a count is within a share of the truth; a truth of 0 needs an exact 0."""
    number = answer.strip()
    if not number.isdecimal() or len(number) > MOST_DIGITS:
        return False
    return abs(int(number) - int(truth)) <= tolerance * int(truth) + 1e-9


def _counted_of_true(item: Prediction) -> Part | None:
    """All that was counted over all that is there: above 1 where too much is counted."""
    number = item.answer.strip()
    if not counted(item) or not (number.isdecimal() and len(number) <= MOST_DIGITS):
        return None
    return float(number), float(item.truth)


def _f1(label: str | None) -> Measure:
    """Micro F1 of boxes at an overlap of 0.5: 2 matched / (predicted + true) over all pictures."""

    def part(item: Prediction) -> Part | None:
        if item.matched is None or (label is not None and label not in item.matched):
            return None
        counts = item.matched.values() if label is None else [item.matched[label]]
        return 2.0 * sum(m for m, _, _ in counts), float(sum(p + t for _, p, t in counts))

    return part


def _empty_right(item: Prediction) -> Part | None:
    if item.matched is None or any(true for _, _, true in item.matched.values()):
        return None
    return item.score, 1.0


def _shuffled(item: Prediction) -> Part | None:
    return None if item.shuffled is None else (item.shuffled, item.cited)


def _flagged(item: Prediction) -> Part | None:
    """Pictures of the kind that is asked about, called out of distribution all the same."""
    if item.ood is None or item.topic == CANNOT_TELL:
        return None
    return float(item.ood > 1), 1.0


def _missed(item: Prediction) -> Part | None:
    """Pictures that the question is not about, not called out of distribution."""
    if item.ood is None or item.topic != CANNOT_TELL:
        return None
    return float(item.ood <= 1), 1.0


def _flips(item: Prediction) -> Part | None:
    """Answers that are others with the choices reversed; unreadable ones are none that hold."""
    if item.other_order is None:
        return None
    return float(not same_choice(item.answer, item.other_order, item.choices)), 1.0


EVERY: dict[str, Measure] = {
    "score": lambda item: (item.score, 1.0),
    "tokens": lambda item: (item.tokens, 1.0),
    "flops": lambda item: (item.flops, 1.0),
    "share_of_native": lambda item: (item.flops, item.flops_native),
    "well_formed": lambda item: (float(item.well_formed), 1.0),
    "unreadable": lambda item: (float(not item.answer), 1.0),
    "confirmed": lambda item: (item.confirmed, item.cited),
    "shuffled": _shuffled,
    "flagged": _flagged,
    "missed": _missed,
    "flips": _flips,
}
"""Measures that stand in every row."""

TOLERANCES: dict[str, float] = {"exact": 0.0, "within_10": 0.1, "within_15": 0.15, "within_20": 0.2}

BY_TOPIC: dict[str, Measure] = {name: _within(share) for name, share in TOLERANCES.items()} | {
    "counted_of_true": _counted_of_true,
    "f1": _f1(None),
    "empty_right": _empty_right,
}
"""Measures that speak of one kind of question only."""


def topic_measures(items: Sequence[Prediction]) -> dict[str, Measure]:
    """`BY_TOPIC`, and the F1 of each label where there are several."""
    labels = sorted({label for item in items for label in item.matched or ()})
    single = {f"f1_{label.replace(' ', '_')}": _f1(label) for label in labels}
    return BY_TOPIC | (single if len(labels) > 1 else {})


def ratio(measure: Measure, items: Sequence[Prediction]) -> float | None:
    """Value of a measure; None where no item speaks to it."""
    parts = _parts(measure, items)
    below = float(parts[:, 1].sum())
    return float(parts[:, 0].sum()) / below if below > 0 else None


def interval(
    measure: Measure, items: Sequence[Prediction], seed: int, draws: int = DRAWS
) -> tuple[float, float] | None:
    """95 % bootstrap interval of a measure, drawn with replacement.

    What is drawn are groups of pictures (`Prediction.group`), each with all its questions, and
    questions whose picture belongs to none: questions about one slide say less of another than
    their number makes believe. None where all questions are of one group, or there is one
    alone, which tells nothing of others.
    """
    units: dict[str | int, NDArray[np.float64]] = {}
    for number, item in enumerate(items):
        if (part := measure(item)) is not None:
            unit = item.group or number
            units[unit] = units.get(unit, np.zeros(2)) + part
    if len(units) == 1:
        return None
    parts = np.array(list(units.values())).reshape(-1, 2)
    sums = _weights(len(parts), seed, draws) @ parts
    sums = sums[sums[:, 1] > 0]
    low, high = np.quantile(sums[:, 0] / sums[:, 1], (0.025, 0.975))
    return float(low), float(high)


def phrasing_gap(items: Sequence[Prediction], seed: int) -> dict[str, float]:
    """Mean score in trained and in held-out phrasings, and by how much the first is higher.

    Both means are taken per topic and then over topics that were asked in both, each with the
    weight of its questions, so that one mixture of topics stands on both sides. Empty where no
    topic was asked in both.
    """
    means, resampled, total = np.zeros(2), np.zeros((2, DRAWS)), 0
    for place, topic in enumerate(sorted({item.topic for item in items})):
        sides = [
            np.array([i.score for i in items if i.topic == topic and i.phrasing == phrasing])
            for phrasing in ("trained", "held_out")
        ]
        if not all(map(len, sides)):
            continue
        weight = sum(map(len, sides))
        total += weight
        for side, scores in enumerate(sides):
            means[side] += weight * scores.mean()
            weights = _weights(len(scores), seed + 2 * place + side, DRAWS)
            resampled[side] += weight * (weights @ scores / len(scores))
    if not total:
        return {}
    low, high = np.quantile((resampled[0] - resampled[1]) / total, (0.025, 0.975))
    return {
        "trained": float(means[0]) / total,
        "held_out": float(means[1]) / total,
        "gap": float(means[0] - means[1]) / total,
        "gap_low": float(low),
        "gap_high": float(high),
    }


def calibration_error(items: Sequence[Prediction]) -> float | None:
    """ECE of the answers of some items (`expected_calibration_error`).

    `is_right` says what is right: of counts those within a fifth; boxes are left out. None where
    the model gave no confidence.
    """
    answers = [item for item in items if item.confidence is not None and item.task != "detection"]
    if not answers:
        return None
    confidence = np.array([item.confidence for item in answers], float)
    right = np.array([is_right(i.score, i.truth, i.choices) for i in answers], float)
    return expected_calibration_error(confidence, right)


def expected_calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.float64], bins: int = 10
) -> float:
    """ECE: mean distance of confidence from the share of right answers, over equal-width bins.

    Guo et al. 2017 (arXiv:1706.04599), eq. 3.

    Parameters
    ----------
    confidence : float64 array (answers,)
        Probabilities.
    right : float64 array (answers,)
        0 or 1.
    bins : int
    """
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs((confidence - right)[bin_of == index].sum()) for index in range(bins)]
    return float(sum(gaps)) / len(confidence)


def best_guess(items: Sequence[Prediction], tolerance: float) -> float:
    """Largest share of counts that one fixed number gets within a tolerance."""
    truths = [item.truth for item in items]
    hits = [sum(near(guess, truth, tolerance) for truth in truths) for guess in set(truths)]
    return max(hits) / len(truths)


def _parts(measure: Measure, items: Sequence[Prediction]) -> NDArray[np.float64]:
    parts = [part for item in items if (part := measure(item)) is not None]
    return np.array(parts, float).reshape(-1, 2)


def _weights(n: int, seed: int, draws: int) -> NDArray[np.float64]:
    """How often each of ``n`` items is drawn, float64 (draws, n)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), draws).astype(np.float64)
