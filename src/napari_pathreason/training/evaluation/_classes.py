"""Figures of answers out of a fixed set of classes: what is confused with what, and how much.

Balanced accuracy, F1 of each class, Cohen's kappa (Cohen 1960) and, where classes are grades, its
quadratic form (Cohen 1968). An answer that is none of the classes counts as wrong in all of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ._draws import Figure, Weights, bounded
from ._predictions import Prediction

MOST_CLASSES = 40
"""Classes up to which they are told apart one by one."""
_NUMBER = re.compile(r"\d+")
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5}


Counts = NDArray[np.float64]
"""Confusions, (draws, classes, classes + 1); see `Confusion`."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Answers by class.

    ``counts`` int64 (classes, classes + 1): rows are the truth, columns the answers, the last one
    for those that are none of the classes.
    """

    classes: tuple[str, ...]
    counts: NDArray[np.int64]


def confusion(items: Sequence[Prediction]) -> Confusion | None:
    """Confusion of the answers to questions with choices; None where these are none.

    Classes are the choices, in the order of their grades if they are grades, that were right at
    least once or were answered.
    """
    chosen = [item for item in items if item.choices and item.task != "detection"]
    if not chosen or len(chosen) < len(items):
        return None
    names = {item.truth for item in chosen} | {
        item.answer for item in chosen if item.answer in item.choices
    }
    if not 1 < len(names) <= MOST_CLASSES:
        return None
    classes = tuple(sorted(names, key=lambda name: (grade_of(name) or 0, name)))
    counts = np.zeros((len(classes), len(classes) + 1), np.int64)
    places = {name: at for at, name in enumerate(classes)}
    for item in chosen:
        counts[places[item.truth], places.get(item.answer, len(classes))] += 1
    return Confusion(classes, counts)


def grade_of(name: str) -> int | None:
    """The number of a grade: ``grade 2``, ``G2``, ``grade II``, ``3+4`` (its sum); else None."""
    numbers = _NUMBER.findall(name)
    if numbers and "+" in name:
        return sum(map(int, numbers))
    if len(numbers) == 1:
        return int(numbers[0])
    romans = [_ROMAN[word] for word in name.casefold().split() if word in _ROMAN]
    return romans[0] if len(romans) == 1 and not numbers else None


def class_figures(items: Sequence[Prediction], seed: int) -> dict[str, float]:
    """Figures of a topic with choices, each with its bounds (``X_low``, ``X_high``).

    ``balanced`` (mean recall of the classes), ``macro_f1``, ``kappa``, ``kappa_quadratic`` where
    all classes are different grades, and ``class_f1_NAME`` of each class. Empty where the items
    are no choices of one set.
    """
    found = confusion(items)
    if found is None:
        return {}
    k = len(found.classes)
    places = {name: at for at, name in enumerate(found.classes)}
    cells = np.array([places[i.truth] * (k + 1) + places.get(i.answer, k) for i in items], np.int64)

    def of_counts(reckon: Callable[[Counts], NDArray[np.float64]]) -> Figure:
        def figure(weights: Weights) -> NDArray[np.float64]:
            counts = np.zeros((len(weights), k * (k + 1)))
            for row, own in zip(counts, weights, strict=True):
                row += np.bincount(cells, own, k * (k + 1))
            return reckon(counts.reshape(-1, k, k + 1))

        return figure

    figures: dict[str, Figure] = {
        "balanced": of_counts(balanced_accuracy),
        "macro_f1": of_counts(macro_f1),
        "kappa": of_counts(kappa),
    }
    grades = [grade_of(name) for name in found.classes]
    if k > 2 and None not in grades and max(Counter(grades).values()) == 1:
        figures["kappa_quadratic"] = of_counts(partial(kappa, quadratic=True))
    for place, name in enumerate(found.classes):
        figures[f"class_f1_{name.replace(' ', '_')}"] = of_counts(partial(_f1_of, place))
    return bounded(figures, items, seed)


def recalls(counts: Counts) -> NDArray[np.float64]:
    """Recall of each class, (draws, classes); NaN where nothing is of it."""
    of_class = counts.sum(2)
    right = np.diagonal(counts, axis1=1, axis2=2)
    with np.errstate(invalid="ignore"):
        return np.where(of_class > 0, right / np.where(of_class > 0, of_class, 1), np.nan)


def balanced_accuracy(counts: Counts) -> NDArray[np.float64]:
    """Mean recall over the classes that there are, (draws,)."""
    return mean_of_known(recalls(counts))


def f1_of_classes(counts: Counts) -> NDArray[np.float64]:
    """``2 TP / (2 TP + FP + FN)`` of each class, (draws, classes); NaN where none is of it."""
    right = np.diagonal(counts, axis1=1, axis2=2)
    below = counts.sum(2) + counts[:, :, :-1].sum(1)
    return np.where(below > 0, 2 * right / np.where(below > 0, below, 1), np.nan)


def _f1_of(place: int, counts: Counts) -> NDArray[np.float64]:
    return f1_of_classes(counts)[:, place]


def macro_f1(counts: Counts) -> NDArray[np.float64]:
    """Mean F1 over the classes that there are, (draws,)."""
    return mean_of_known(f1_of_classes(counts))


def kappa(counts: Counts, *, quadratic: bool = False) -> NDArray[np.float64]:
    """Cohen's kappa, (draws,); NaN where all answers and labels are of one class.

    Agreement beyond that of two raters who name each class as often and know nothing of each
    other. ``quadratic`` weighs a disagreement by the square of its steps; an answer that is none
    of the classes lies as many steps off as there are.
    """
    k = counts.shape[1]
    steps = np.abs(np.arange(k)[:, None] - np.arange(k + 1)[None]).astype(float)
    steps[:, k] = k - 1
    cost = steps**2 if quadratic else (steps > 0).astype(float)
    cost[:, k] = max(1.0, float(k - 1) ** 2) if quadratic else 1.0
    total = counts.sum((1, 2))
    expected = (
        counts.sum(2)[:, :, None] * counts.sum(1)[:, None] / np.maximum(total, 1)[:, None, None]
    )
    below = (cost * expected).sum((1, 2))
    return np.where(
        below > 0, 1 - (cost * counts).sum((1, 2)) / np.where(below > 0, below, 1), np.nan
    )


def mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each row without what is NaN in it, (draws,); NaN where all is."""
    known = ~np.isnan(values)
    number = known.sum(1)
    sums = np.where(known, values, 0).sum(1)
    return np.where(number > 0, sums / np.maximum(number, 1), np.nan)
