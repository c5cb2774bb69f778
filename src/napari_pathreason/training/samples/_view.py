"""A sample as the model sees it at one budget: pixels, labels in the same frame, what to write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import plan
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import Target
from napari_pathreason.types import AnswerBox

from . import _augment
from ._augment import STAY, Turn
from ._pictures import Pictures
from ._sample import Area, Corners, Sample


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may change between two readings of one sample.

    ``stain`` is a strength, ``levels`` and ``sharpness`` the shares of readings whose levels and
    whose sharpness change, of the sources ``varied``, or of all where it is empty.
    """

    turn: bool = True
    stain: float = 0.08
    levels: float = 0.0
    sharpness: float = 0.0
    varied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a sample.

    ``boxes`` (of the question), ``areas`` and ``lesions`` (of the picture) are (label, corners)
    with corners in shares of width and height; ``centres`` are (x, y) of nuclei in such shares;
    ``nuclei`` is a 0/1 mask at native size, or None; ``grid`` is (columns, rows) of tokens, and
    ``size`` the region's (width, height) in level-0 pixels, both as turned.
    """

    pixels: NDArray[np.uint8]
    grid: tuple[int, int]
    answer: str
    boxes: tuple[tuple[str, Corners], ...]
    areas: tuple[tuple[str, Corners], ...]
    lesions: tuple[tuple[str, Corners], ...]
    centres: tuple[tuple[float, float], ...]
    known: tuple[str, ...]
    nuclei: NDArray[np.float32] | None
    size: tuple[int, int]


def read_view(
    sample: Sample,
    pictures: Pictures,
    budget: int | None,
    token_px: int,
    augmentation: Augmentation | None = None,
    rng: Random | None = None,
) -> View:
    """Read a sample at a budget; without ``augmentation`` exactly as it is."""
    return read_views([sample], pictures, budget, token_px, augmentation, rng)[0]


def read_views(
    samples: Sequence[Sample],
    pictures: Pictures,
    budget: int | None,
    token_px: int,
    augmentation: Augmentation | None = None,
    rng: Random | None = None,
) -> list[View]:
    """Read several questions about one picture; they share its pixels and its turn."""
    first = samples[0]
    region = pictures.region(first)
    reading = plan(region, budget, token_px)
    turn = STAY
    turned = rng if augmentation is not None and augmentation.turn else None
    pixels = pictures.read(first, region, reading.size, turned)
    nuclei = pictures.nuclei(first, region)
    if augmentation is not None and rng is not None:
        turn = _augment.draw_turn(rng) if augmentation.turn else STAY
        pixels = _augment.stain(pixels, augmentation.stain, rng)
        if not augmentation.varied or first.source in augmentation.varied:
            # where nothing changes nothing is drawn, so that older recipes see the same pictures
            if augmentation.sharpness > 0 and rng.random() < augmentation.sharpness:
                pixels = _augment.sharpness(pixels, rng)
            if augmentation.levels > 0 and rng.random() < augmentation.levels:
                pixels = _augment.levels(pixels, rng)
    pixels = _augment.turn_array(pixels, turn)
    picture: dict[str, Any] = {
        "pixels": pixels,
        "grid": (pixels.shape[1] // token_px, pixels.shape[0] // token_px),
        "areas": shares(first.facts.areas, region, turn),
        "lesions": shares(first.facts.boxes, region, turn),
        "centres": _points(first.facts.centres, region, turn),
        "known": first.facts.known,
        "nuclei": None if nuclei is None else _augment.turn_array(nuclei, turn),
        "size": (region.width, region.height)[:: -1 if turn[0] % 2 else 1],
    }
    return [
        View(
            answer=_augment.turn_place(sample.answer, turn),
            boxes=shares(sample.boxes, region, turn),
            **picture,
        )
        for sample in samples
    ]


def _points(
    centres: tuple[tuple[int, int], ...], region: Region, turn: Turn
) -> tuple[tuple[float, float], ...]:
    points = []
    for x, y in centres:
        px, py = (x - region.x) / region.width, (y - region.y) / region.height
        tx, ty, _, _ = _augment.turn_corners((px, py, px, py), turn)
        points.append((tx, ty))
    return tuple(points)


def shares(
    areas: tuple[Area, ...], region: Region, turn: Turn = STAY
) -> tuple[tuple[str, Corners], ...]:
    """Boxes of a picture in shares of a region of it, in reading order; what lies outside is cut.

    Parameters
    ----------
    areas : tuple of Area
        Level-0 pixels.
    region : Region
    turn : Turn
        How the region is turned.
    """
    boxes = []
    for area in areas:
        x1, y1, x2, y2 = area.corners
        left, right = ((x - region.x) / region.width for x in (x1, x2))
        top, bottom = ((y - region.y) / region.height for y in (y1, y2))
        inside = (max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0))
        turned = _augment.turn_corners(inside, turn)
        if turned[2] > turned[0] and turned[3] > turned[1]:
            boxes.append((area.label, turned))
    return tuple(sorted(boxes, key=lambda item: (item[1][1], item[1][0])))


class TargetPiece(NamedTuple):
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


def answer_pieces(sample: Sample, view: View, quantum: int = 10) -> list[TargetPiece]:
    """The answer of a target with its tags, cut where it begins to speak of another place.

    Parameters as in `target_text`.
    """
    answer = _boxes(view, quantum) if sample.task == "detection" else [TargetPiece(view.answer)]
    return [TargetPiece("<answer>"), *answer, TargetPiece("</answer>")]


def _boxes(view: View, quantum: int) -> list[TargetPiece]:
    """Boxes as compact JSON in reading order."""
    pieces = [TargetPiece("[")]
    for number, (label, corners) in enumerate(view.boxes):
        pieces.append(TargetPiece(f'{"," if number else ""}{{"bbox_2d":[', corners))
        for at, corner in enumerate(corners):
            pieces += [TargetPiece(",")] if at else []
            pieces.append(TargetPiece(str(round(corner * 1000 / quantum) * quantum), corners))
        pieces.append(TargetPiece(f'],"label":{json.dumps(label)}}}'))
    return [*pieces, TargetPiece("]")]


def score_target(sample: Sample, view: View) -> Target:
    """Label of a view as `Task.score` takes it."""
    return _target(sample, view.answer, view.boxes)


def region_target(sample: Sample, region: Region) -> Target:
    """Label of a sample's region as it lies; nothing is read for it."""
    return _target(sample, sample.answer, shares(sample.boxes, region))


def _target(sample: Sample, answer: str, boxes: tuple[tuple[str, Corners], ...]) -> Target:
    choices = () if sample.task == "detection" else sample.choices
    on_thousand = (AnswerBox(label, *(1000 * c for c in corners)) for label, corners in boxes)
    return Target(answer, tuple(on_thousand), choices)
