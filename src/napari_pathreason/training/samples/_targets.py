"""What the performer should write for a view, and the label that its reply is scored by."""

from __future__ import annotations

import json
from typing import NamedTuple

from napari_pathreason.geometry import Region
from napari_pathreason.tasks import Target
from napari_pathreason.types import AnswerBox

from ._sample import Corners, Sample
from ._view import View, shares


class Piece(NamedTuple):
    """A part of a target; ``corners`` in shares of width and height hold what it speaks of."""

    text: str
    corners: Corners | None = None


def target_text(sample: Sample, view: View, quantum: int = 10) -> str:
    """Target completion: an empty rationale, which is left to GRPO, and the answer.

    Parameters
    ----------
    sample, view : Sample, View
    quantum : int
        Box coordinates (0-1000) are rounded to multiples of it.
    """
    pieces = answer_pieces(sample, view, quantum)
    return f"<think></think>{''.join(piece.text for piece in pieces)}"


def answer_pieces(sample: Sample, view: View, quantum: int = 10) -> list[Piece]:
    """The answer of a target with its tags, cut where it begins to speak of another place.

    Parameters as in `target_text`.
    """
    answer = _boxes(view, quantum) if sample.task == "detection" else [Piece(view.answer)]
    return [Piece("<answer>"), *answer, Piece("</answer>")]


def _boxes(view: View, quantum: int) -> list[Piece]:
    """Boxes as compact JSON in reading order."""
    pieces = [Piece("[")]
    for number, (label, corners) in enumerate(view.boxes):
        pieces.append(Piece(f'{"," if number else ""}{{"bbox_2d":[', corners))
        for at, corner in enumerate(corners):
            pieces += [Piece(",")] if at else []
            pieces.append(Piece(str(round(corner * 1000 / quantum) * quantum), corners))
        pieces.append(Piece(f'],"label":{json.dumps(label)}}}'))
    return [*pieces, Piece("]")]


def score_target(sample: Sample, view: View) -> Target:
    """Label of a view as `Task.score` takes it."""
    return _target(sample, view.answer, view.boxes)


def region_target(sample: Sample, region: Region) -> Target:
    """Label of a sample's region as it lies; nothing is read for it."""
    return _target(sample, sample.answer, shares(sample.boxes, region))


def _target(sample: Sample, answer: str, boxes: tuple[tuple[str, Corners], ...]) -> Target:
    choices = () if sample.task == "detection" else sample.choices
    found = tuple(AnswerBox(label, *(1000 * c for c in corners)) for label, corners in boxes)
    return Target(answer, found, choices)
