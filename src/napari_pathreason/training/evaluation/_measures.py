"""Figures of a group of items: each is a sum over items divided by another, with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.tasks import is_right
from napari_pathreason.training.convert import CANNOT_TELL

from ._prediction import Prediction

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
    said = answer.strip()
    if not said.isdecimal() or len(said) > MOST_DIGITS:
        return False
    return abs(int(said) - int(truth)) <= tolerance * int(truth) + 1e-9


def _counted_of_true(item: Prediction) -> Part | None:
    """All that was counted over all that is there: above 1 where too much is counted."""
    said = item.answer.strip()
    if not counted(item) or not (said.isdecimal() and len(said) <= MOST_DIGITS):
        return None
    return float(said), float(item.truth)


def _f1(label: str | None) -> Measure:
    """Micro F1 of boxes at an overlap of 0.5: 2 matched / (predicted + true) over all pictures."""

    def part(item: Prediction) -> Part | None:
        if item.matched is None or (label is not None and label not in item.matched):
            return None
        found = item.matched.values() if label is None else [item.matched[label]]
        return 2.0 * sum(m for m, _, _ in found), float(sum(p + t for _, p, t in found))

    return part


def _empty_right(item: Prediction) -> Part | None:
    if item.matched is None or any(true for _, _, true in item.matched.values()):
        return None
    return item.score, 1.0


def _shuffled(item: Prediction) -> Part | None:
    return None if item.shuffled is None else (item.shuffled, item.cited)


def _flagged(item: Prediction) -> Part | None:
    """Pictures of the kind that is asked about, called strange all the same."""
    if item.ood is None or item.topic == CANNOT_TELL:
        return None
    return float(item.ood > 1), 1.0


def _missed(item: Prediction) -> Part | None:
    """Pictures that the question is not about, not called strange."""
    if item.ood is None or item.topic != CANNOT_TELL:
        return None
    return float(item.ood <= 1), 1.0


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
    their number makes believe. None where all questions are of one group, which tells nothing of
    others.
    """
    units: dict[str | int, NDArray[np.float64]] = {}
    for number, item in enumerate(items):
        if (part := measure(item)) is not None:
            unit = item.group or number
            units[unit] = units.get(unit, np.zeros(2)) + part
    if len(units) == 1 and isinstance(next(iter(units)), str):
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
    known, new, known_drawn, new_drawn, total = 0.0, 0.0, np.zeros(DRAWS), np.zeros(DRAWS), 0
    for place, topic in enumerate(sorted({item.topic for item in items})):
        sides = [
            np.array([i.score for i in items if i.topic == topic and i.phrasing == phrasing])
            for phrasing in ("trained", "held_out")
        ]
        if not all(map(len, sides)):
            continue
        weight = sum(map(len, sides))
        total += weight
        known += weight * float(sides[0].mean())
        new += weight * float(sides[1].mean())
        drawn = [
            _weights(len(side), seed + 2 * place + side_index, DRAWS) @ side / len(side)
            for side_index, side in enumerate(sides)
        ]
        known_drawn += weight * drawn[0]
        new_drawn += weight * drawn[1]
    if not total:
        return {}
    low, high = np.quantile((known_drawn - new_drawn) / total, (0.025, 0.975))
    return {
        "trained": known / total,
        "held_out": new / total,
        "gap": (known - new) / total,
        "gap_low": float(low),
        "gap_high": float(high),
    }


def calibration_error(items: Sequence[Prediction], bins: int = 10) -> float | None:
    """ECE: mean distance of confidence from the share of right answers, over equal-width bins.

    `is_right` says what is right: of counts those within a fifth; boxes are left out. None where
    the model gave no confidence. Guo et al. 2017 (arXiv:1706.04599), eq. 3.
    """
    asked = [item for item in items if item.confidence is not None and item.task != "detection"]
    if not asked:
        return None
    confident = np.array([item.confidence for item in asked], float)
    right = np.array([is_right(item.score, item.truth, item.choices) for item in asked], float)
    return expected_error(confident, right, bins)


def expected_error(
    confident: NDArray[np.float64], right: NDArray[np.float64], bins: int = 10
) -> float:
    """ECE of probabilities (answers,) against 0 or 1 (answers,); see `calibration_error`."""
    bin_of = np.minimum((confident * bins).astype(int), bins - 1)
    gaps = [abs((confident - right)[bin_of == index].sum()) for index in range(bins)]
    return float(sum(gaps)) / len(confident)


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
