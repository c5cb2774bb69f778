"""Figures of answers by how probable the model called them: AUC, operating points, AP and FROC.

Of a question with two choices, one is the positive one: "yes", or the finding where the other
states its absence ("tumour" beside "normal"). Of any other choices each is held against the rest.
The areas need no threshold; sensitivity and specificity stand at one that is named beforehand, or
was chosen on `val`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.geometry import Box, iou
from napari_pathreason.tasks import same_label, states_absence
from napari_pathreason.types import AnswerBox

from ._classes import MOST_CLASSES, mean_of_known
from ._draws import Figure, Weights, bounded
from ._predictions import Prediction

Thresholds = Mapping[str, float | Mapping[str, float]]
"""By topic: of its positive choice, or of each of its choices against the rest."""
THRESHOLD = 0.5
"""Probability from which the positive choice counts as said."""
UNDECIDED = 0.5
"""Probability of the positive choice where a reply could not be read."""
FALSE_POSITIVES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False boxes per picture at which FROC reads the sensitivity (CAMELYON16; Bejnordi et al. 2017).
"""
OVERLAP = 0.5


def positive_of(choices: Sequence[str]) -> str | None:
    """The positive one of two choices; None where there are not two, or neither is a finding."""
    if len(choices) != 2:
        return None
    first, second = choices
    for one, other in ((first, second), (second, first)):
        if one.casefold() == "yes" or (
            states_absence(other, choices) and not states_absence(one, choices)
        ):
            return one
    return None


def probability_of_positive(item: Prediction, positive: str) -> float | None:
    """Probability that a model gives to the positive choice; None where it told none."""
    if not item.answer:
        return UNDECIDED
    if item.probability is None:
        return None
    return item.probability if item.answer == positive else 1 - item.probability


def two_choice_figures(
    items: Sequence[Prediction], seed: int, threshold: float = THRESHOLD
) -> dict[str, float]:
    """``auc``, and ``sensitivity`` and ``specificity`` at a threshold, with their bounds.

    Empty unless all items offer the same two choices, of which one is positive, and the model told
    how probable its answers are. A reply that could not be read is missed on either side.
    """
    ranked = _ranked(items)
    if ranked is None:
        return {}
    scores, truths, readable = ranked
    positive = scores >= threshold
    figures: dict[str, Figure] = {
        "auc": partial(auc, scores, truths),
        "sensitivity": partial(_share, truths, positive & readable),
        "specificity": partial(_share, ~truths, ~positive & readable),
    }
    return {**bounded(figures, items, seed), "threshold": threshold}


def best_threshold(items: Sequence[Prediction]) -> float | None:
    """The threshold with the highest sensitivity + specificity (Youden 1950); the lowest of equals.

    None where `two_choice_figures` has nothing.
    """
    ranked = _ranked(items)
    return None if ranked is None else _youden(*ranked[:2])


def _youden(scores: NDArray[np.float64], truths: NDArray[np.bool_]) -> float | None:
    """The threshold of `best_threshold`; None where one side is missing."""
    if truths.all() or not truths.any():
        return None
    candidates = np.unique(scores)
    positive = scores[None] >= candidates[:, None]
    youden = positive[:, truths].mean(1) + (~positive[:, ~truths]).mean(1)
    return float(candidates[int(youden.argmax())])


def class_ranking(
    items: Sequence[Prediction], seed: int, thresholds: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Figures of each choice against the rest, with their bounds.

    ``auc`` (mean over the choices that are right of some questions and wrong of others; of
    probabilities, hence where the model told them) and ``class_auc_NAME``;
    ``class_sensitivity_NAME`` and ``class_specificity_NAME``, where a choice counts as said from
    its threshold on (``class_threshold_NAME``), and without one where it is the answer. A reply
    that could not be read is missed on either side, and ranks all choices alike.

    Empty unless all items offer the same choices, or where `two_choice_figures` are of them.

    Parameters
    ----------
    items : sequence of Prediction
    seed : int
    thresholds : mapping of str to float, optional
        Probabilities by choice; see `best_thresholds`.
    """
    names = _classes_of(items)
    if names is None:
        return {}
    truths = {name: np.array([item.truth == name for item in items]) for name in names}
    answers = {name: np.array([item.answer == name for item in items]) for name in names}
    readable = np.array([bool(item.answer) for item in items])
    scores = _class_scores(items, names)
    figures: dict[str, Figure] = {}
    if scores is not None:
        areas = {name: partial(auc, scores[:, at], truths[name]) for at, name in enumerate(names)}
        figures["auc"] = lambda weights: mean_of_known(
            np.stack([area(weights) for area in areas.values()], 1)
        )
        figures |= {f"class_auc_{_key(name)}": area for name, area in areas.items()}
    used = {name: float(t) for name, t in (thresholds or {}).items() if scores is not None}
    for at, name in enumerate(names):
        predicted = answers[name]
        if name in used and scores is not None:
            predicted = scores[:, at] >= used[name]
        own = truths[name]
        figures[f"class_sensitivity_{_key(name)}"] = partial(_share, own, predicted & readable)
        figures[f"class_specificity_{_key(name)}"] = partial(_share, ~own, ~predicted & readable)
    return bounded(figures, items, seed) | {
        f"class_threshold_{_key(name)}": used[name] for name in names if name in used
    }


def best_thresholds(items: Sequence[Prediction]) -> dict[str, float]:
    """The threshold of each choice against the rest, as of `best_threshold`.

    Empty where the model told no probabilities of the choices, or `class_ranking` has nothing;
    without those choices that are right nowhere or everywhere.
    """
    names = _classes_of(items)
    scores = None if names is None else _class_scores(items, names)
    if names is None or scores is None:
        return {}
    found = {
        name: _youden(scores[:, at], np.array([item.truth == name for item in items]))
        for at, name in enumerate(names)
    }
    return {name: threshold for name, threshold in found.items() if threshold is not None}


def _key(name: str) -> str:
    return name.replace(" ", "_")


def _classes_of(items: Sequence[Prediction]) -> tuple[str, ...] | None:
    """The choices that all items offer; None where there are none, or one is the positive one."""
    if not items or len({frozenset(item.choices) for item in items}) != 1:
        return None
    names = tuple(sorted(items[0].choices))
    if any(item.task == "detection" for item in items) or not 1 < len(names) <= MOST_CLASSES:
        return None
    return None if positive_of(names) is not None else names


def _class_scores(items: Sequence[Prediction], names: Sequence[str]) -> NDArray[np.float64] | None:
    """Probability of each choice, (items, choices).

    Where one was written in other words than its own, what its probability leaves of 1 is shared
    evenly by the others. None where no item tells more than that, or a readable one tells nothing.
    """
    if all(item.probabilities is None for item in items):
        return None
    scores = np.full((len(items), len(names)), 1 / len(names))
    for row, item in zip(scores, items, strict=True):
        if not item.answer:
            continue
        if item.probabilities is not None:
            by_name = dict(zip(item.choices, item.probabilities, strict=True))
            row[:] = [by_name[name] for name in names]
        elif item.probability is not None:
            row[:] = (1 - item.probability) / (len(names) - 1)
            row[names.index(item.answer)] = item.probability
        else:
            return None
    return scores


def _share(
    which: NDArray[np.bool_], right: NDArray[np.bool_], weights: Weights
) -> NDArray[np.float64]:
    """Share of some items that is right, (draws,); NaN where there are none."""
    below = weights[:, which].sum(1)
    above = weights[:, which & right].sum(1)
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def _ranked(
    items: Sequence[Prediction],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Probabilities of the positive choice, whether it is right, and whether the reply was read."""
    choices = {frozenset(item.choices) for item in items}
    if len(choices) != 1 or items[0].task == "detection":
        return None
    positive = positive_of(items[0].choices)
    if positive is None:
        return None
    scores = [probability_of_positive(item, positive) for item in items]
    if any(score is None for score in scores):
        return None
    truths = np.array([item.truth == positive for item in items])
    return np.array(scores, float), truths, np.array([bool(item.answer) for item in items])


def auc(
    scores: NDArray[np.float64], truths: NDArray[np.bool_], weights: Weights
) -> NDArray[np.float64]:
    """Probability that a positive one has the higher score than a negative one, ties half.

    The area under the ROC curve (Mann and Whitney 1947).

    Parameters
    ----------
    scores : float64 array (n,)
    truths : bool array (n,)
    weights : float64 array (draws, n)

    Returns
    -------
    float64 array (draws,)
        NaN where one of both is missing.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)
    positive = np.add.reduceat(weights[:, order] * truths[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~truths[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(1) * negative.sum(1)
    return np.where(pairs > 0, (positive * below).sum(1) / np.where(pairs > 0, pairs, 1), np.nan)


@dataclass(frozen=True, slots=True)
class RankedBoxes:
    """Boxes of all pictures from the most confident on, and what there is to find.

    ``hits`` bool (boxes,) whether a true one is met; ``owners`` int64 (boxes,) the picture's place;
    ``confidences`` float64 (boxes,); ``truths`` int64 (pictures,) true boxes of each picture.
    """

    hits: NDArray[np.bool_]
    owners: NDArray[np.int64]
    confidences: NDArray[np.float64]
    truths: NDArray[np.int64]


def ranked_boxes(items: Sequence[Prediction], label: str | None = None) -> RankedBoxes | None:
    """Boxes of one label or of all; None where a model told no confidence of some box.

    In each picture the more confident box takes the best true one of its label that is still free,
    at an overlap of 0.5.
    """
    found: list[tuple[float, bool, int]] = []
    truths = []
    for place, item in enumerate(items):
        if item.boxes is None or (item.boxes and item.box_confidences is None):
            return None
        confidences = item.box_confidences or ()
        if len(confidences) != len(item.boxes):
            return None
        free = [b for b in item.truth_boxes if label is None or same_label(b.label, label)]
        truths.append(len(free))
        pairs = sorted(zip(item.boxes, confidences, strict=True), key=lambda pair: -pair[1])
        for box, confidence in pairs:
            if label is not None and not same_label(box.label, label):
                continue
            best = max(
                (true for true in free if same_label(true.label, box.label)),
                key=lambda true: iou(_box(true), _box(box)),
                default=None,
            )
            hit = best is not None and iou(_box(best), _box(box)) >= OVERLAP
            if hit and best is not None:
                free.remove(best)
            found.append((confidence, hit, place))
    found.sort(key=lambda one: -one[0])
    columns = zip(*found, strict=True) if found else ((), (), ())
    confidences_, hits, owners = columns
    return RankedBoxes(
        np.array(hits, bool),
        np.array(owners, np.int64),
        np.array(confidences_, float),
        np.array(truths, np.int64),
    )


def box_figures(items: Sequence[Prediction], seed: int) -> dict[str, float]:
    """``ap`` (mean over labels, at an overlap of 0.5), ``ap_NAME`` and ``froc``, with bounds.

    Empty where the items are no boxes, or the model told no confidence of them.
    """
    if not items or any(item.matched is None for item in items):
        return {}
    labels = sorted({label for item in items for label in item.matched or ()})
    by_label = {label: ranked_boxes(items, label) for label in labels}
    pooled = ranked_boxes(items)
    known = {label: ranked for label, ranked in by_label.items() if ranked is not None}
    if pooled is None or len(known) < len(labels) or not labels:
        return {}

    def mean_ap(weights: Weights) -> NDArray[np.float64]:
        each = [average_precision(ranked, weights) for ranked in known.values()]
        return mean_of_known(np.stack(each, 1))

    figures: dict[str, Figure] = {"ap": mean_ap, "froc": partial(froc, pooled)}
    if len(known) > 1:
        for label, ranked in known.items():
            figures[f"ap_{label.replace(' ', '_')}"] = partial(average_precision, ranked)
    return bounded(figures, items, seed)


def average_precision(ranked: RankedBoxes, weights: Weights) -> NDArray[np.float64]:
    """Area under the interpolated curve of precision over recall, (draws,); NaN without a truth.

    Every step of recall counts with the highest precision at it or beyond (PASCAL VOC from 2010
    on; Everingham et al. 2015). Boxes of one confidence are one step.
    """
    total, hits, false = _curves(ranked, weights)
    if not hits.shape[1]:
        return np.where(total > 0, 0.0, np.nan)
    recall = hits / np.where(total > 0, total, 1)[:, None]
    listed = hits + false
    precision = hits / np.where(listed > 0, listed, 1)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    steps = np.diff(recall, axis=1, prepend=0.0)
    return np.where(total > 0, (steps * highest).sum(1), np.nan)


def froc(ranked: RankedBoxes, weights: Weights) -> NDArray[np.float64]:
    """Mean sensitivity at `FALSE_POSITIVES` false boxes per picture, (draws,)."""
    total, hits, false = _curves(ranked, weights)
    pictures = weights.sum(1)
    rate = false / np.where(pictures > 0, pictures, 1)[:, None]
    sensitivity = hits / np.where(total > 0, total, 1)[:, None]
    each = [
        np.where(rate <= limit + 1e-12, sensitivity, 0.0).max(axis=1, initial=0.0)
        for limit in FALSE_POSITIVES
    ]
    return np.where(total > 0, np.mean(each, axis=0), np.nan)


def _curves(
    ranked: RankedBoxes, weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """True boxes (draws,); boxes met, and false ones, down to each confidence, (draws, steps)."""
    total = weights @ ranked.truths
    if not ranked.hits.size:
        empty = np.zeros((len(weights), 0))
        return total, empty, empty
    own = weights[:, ranked.owners]
    ends = np.flatnonzero(np.diff(ranked.confidences, append=-np.inf) < 0)
    return (
        total,
        np.cumsum(own * ranked.hits, axis=1)[:, ends],
        np.cumsum(own * ~ranked.hits, axis=1)[:, ends],
    )


def _box(box: AnswerBox) -> Box:
    return Box.from_corners(box.x1, box.y1, box.x2, box.y2)
