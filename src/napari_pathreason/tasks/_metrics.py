"""Scores of answers against labels, each between 0 and 1."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from napari_pathreason.geometry import Box, iou
from napari_pathreason.types import AnswerBox

_QUIET = re.compile(
    r"[;!?\"“”«»()\[\]{}…`]"
    r"|(?<!\w)['‘’]|['‘’](?!\w)"
    r"|(?<!\d)[,:]|[,:](?!\d)|\.(?!\d)|(?<=[^\W\d])[./](?=[^\W\d])"
)
"""Punctuation that only divides; signs, and what stands within a number, mean something."""
_APART = re.compile(r"(?<=[<>≤≥=±~])\s+(?=[\d.])|(?<=\d)\s+(?=%)|(?<=\d)\s*([+/×])\s*(?=\d)")
_ARTICLES = {"a", "an", "the"}

NEAR = 0.8
"""Score of a count that is right: no further from the truth than a fifth of it."""


def token_f1(predicted: str, truth: str) -> float:
    """F1 of the words two short answers share; an answer without words is never right.

    Case, articles and punctuation do not count; signs and what stands within a number do: ``<1%``
    is not ``≥1%``, ``3+4`` is neither ``3/4`` nor ``4+3``.
    """
    a, b = _words(predicted), _words(truth)
    if not a or not b:
        return 0.0
    shared = sum((Counter(a) & Counter(b)).values())
    return 2 * shared / (len(a) + len(b))


def _words(text: str) -> list[str]:
    joined = _APART.sub(lambda match: match[1] or "", text.casefold())
    words = _QUIET.sub(" ", joined).split()
    return [word for word in words if word not in _ARTICLES] or words


def same_label(a: str, b: str) -> bool:
    """Whether two labels of boxes are the same but for case and blanks."""
    return " ".join(a.split()).casefold() == " ".join(b.split()).casefold()


def count_score(predicted: int, truth: int) -> float:
    """One minus the relative error of a count, not below 0; an empty truth needs an exact 0."""
    if truth == 0:
        return float(predicted == 0)
    return max(0.0, 1.0 - abs(predicted - truth) / truth)


def is_right(score: float, truth: str = "", choices: Sequence[str] = ()) -> bool:
    """Whether a scored answer counts as right: a count within a fifth, any other exactly.

    Parameters
    ----------
    score : float
        See `Task.score`.
    truth : str
        The label; digits alone, and no ``choices``, are a count.
    choices : sequence of str
    """
    count = truth.strip().isdecimal() and not choices
    return score >= (NEAR if count else 1.0) - 1e-9


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
        if same_label(p.label, t.label)
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

    Bounded, needs no confidences, and every false box costs (docs/paper_index.md: corrected form of
    the paper's AP50 in listing order).
    """
    if not predicted and not truth:
        return 1.0
    total = sum(overlap for _, _, overlap in match_boxes(predicted, truth, threshold))
    return total / max(len(predicted), len(truth))


def _box(box: AnswerBox) -> Box:
    return Box.from_corners(box.x1, box.y1, box.x2, box.y2)
