"""Scores of answers as the paper's public code takes them, for comparison (``reward: paper``).

Their flaws are known (docs/paper_index.md) and kept: false boxes after the true ones are free, a
picture without lesions can never score, and two right words of two score 0.22.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from napari_pathreason.geometry import Box, iou
from napari_pathreason.types import AnswerBox


def ap50(predicted: Sequence[AnswerBox], truth: Sequence[AnswerBox]) -> float:
    """Average precision at an overlap of 0.5, boxes in listing order, labels left aside.

    Each box takes the best true one that is still free; area under the interpolated curve of
    precision over recall; 0 where there are no true boxes, or none predicted.
    """
    if not predicted or not truth:
        return 0.0
    free = [_box(box) for box in truth]
    hits = 0
    curve = []  # (recall, precision) after each box
    for count, box in enumerate(predicted, 1):
        best = max(free, key=lambda true: iou(_box(box), true), default=None)
        if best is not None and iou(_box(box), best) >= 0.5:
            free.remove(best)
            hits += 1
        curve.append((hits / len(truth), hits / count))
    area, reached = 0.0, 0.0
    for index, (recall, _) in enumerate(curve):
        area += (recall - reached) * max(precision for _, precision in curve[index:])
        reached = recall
    return area


def bleu4(predicted: str, truth: str) -> float:
    """BLEU of a sentence against one other, orders 1 to 4 weighed alike, smoothing 4.

    Papineni et al. (2002); smoothing after Chen and Cherry (2014), method 4, with the constants
    and the corner cases of NLTK, which the paper's code calls.
    """
    said, meant = predicted.split(), truth.split()
    shares = []
    missing = 0
    for order in range(1, 5):
        theirs = _grams(said, order)
        shared = sum((theirs & _grams(meant, order)).values())
        if order == 1 and not shared:
            return 0.0
        among = max(1, sum(theirs.values()))
        if not shared and len(said) > 1:
            missing += 1
            shares.append(math.log(len(said)) / (5 * 2**missing) / among)
        elif shared:
            shares.append(shared / among)
    brevity = 1.0 if len(said) > len(meant) else math.exp(1 - len(meant) / len(said))
    return brevity * math.exp(sum(math.log(share) for share in shares) / 4)


def _grams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def _box(box: AnswerBox) -> Box:
    return Box.from_corners(box.x1, box.y1, box.x2, box.y2)
