"""Scores of answers against labels, each between 0 and 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from napari_pathreason._geometry import Box, iou
from napari_pathreason._types import AnswerBox

from ._parsing import normalise


def token_f1(predicted: str, truth: str) -> float:
    """F1 of the words two short answers share; 1 for an equal answer after normalisation."""
    a, b = normalise(predicted).split(), normalise(truth).split()
    if not a or not b:
        return float(a == b)
    shared = sum((Counter(a) & Counter(b)).values())
    return 2 * shared / (len(a) + len(b))


def count_score(predicted: int, truth: int) -> float:
    """One minus the relative error of a count, not below 0; an empty truth needs an exact 0."""
    if truth == 0:
        return float(predicted == 0)
    return max(0.0, 1.0 - abs(predicted - truth) / truth)


def match_boxes(
    predicted: Sequence[AnswerBox], truth: Sequence[AnswerBox], threshold: float = 0.5
) -> list[tuple[int, int, float]]:
    """Greedy one-to-one matches of equal label, best overlap first.

    Returns
    -------
    list of tuple
        (index of prediction, index of truth, intersection over union >= ``threshold``).
    """
    pairs = [
        (iou(_box(p), _box(t)), i, j)
        for i, p in enumerate(predicted)
        for j, t in enumerate(truth)
        if normalise(p.label) == normalise(t.label)
    ]
    taken_p: set[int] = set()
    taken_t: set[int] = set()
    matches = []
    for overlap, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if overlap >= threshold and i not in taken_p and j not in taken_t:
            taken_p.add(i)
            taken_t.add(j)
            matches.append((i, j, overlap))
    return matches


def iou_score(
    predicted: Sequence[AnswerBox], truth: Sequence[AnswerBox], threshold: float = 0.5
) -> float:
    """Sum of matched overlaps over the larger of the two counts; 1 where both are empty.

    Bounded, needs no confidences, and every false box costs (docs/paper_index.md: mended form of
    the paper's AP50 in listing order).
    """
    if not predicted and not truth:
        return 1.0
    total = sum(overlap for _, _, overlap in match_boxes(predicted, truth, threshold))
    return total / max(len(predicted), len(truth))


def _box(box: AnswerBox) -> Box:
    return Box.from_corners(box.x1, box.y1, box.x2, box.y2)
