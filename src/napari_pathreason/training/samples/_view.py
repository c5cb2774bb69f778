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

    Where the sample has views, ``parts`` holds one such reading for each, in its own frame, and
    ``within`` of a part are its corners in shares of the region. The labels of the whole are then
    in the frame of the region, and its pixels and grid those of the first part.
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
    parts: tuple[View, ...] = ()
    within: Corners = (0.0, 0.0, 1.0, 1.0)

    @property
    def shown(self) -> tuple[View, ...]:
        """Readings of all pictures, in the order of the prompt."""
        return self.parts or (self,)

    @property
    def pictures(self) -> tuple[NDArray[np.uint8], ...]:
        """Pixels of all pictures, in the order of the prompt."""
        return tuple(part.pixels for part in self.shown)

    @property
    def visual_tokens(self) -> tuple[int, ...]:
        """Visual tokens of each picture."""
        return tuple(part.grid[0] * part.grid[1] for part in self.shown)


def read_view(
    sample: Sample,
    pictures: Pictures,
    budget: int | None,
    token_px: int,
    augmentation: Augmentation | None = None,
    rng: Random | None = None,
) -> View:
    """Read a sample at a budget; without ``augmentation`` exactly as it is.

    The budget is of each picture.
    """
    return read_views([sample], pictures, budget, token_px, augmentation, rng)[0]


def read_views(
    samples: Sequence[Sample],
    pictures: Pictures,
    budget: int | None,
    token_px: int,
    augmentation: Augmentation | None = None,
    rng: Random | None = None,
) -> list[View]:
    """Read several questions about the same pictures; they share the pixels and their turn.

    Views of a sample have an order, and captions that may name places: they are not turned. Stain,
    levels and sharpness change in all of them alike, as in pictures of one slide.
    """
    first = samples[0]
    region, places = pictures.region(first), shown_regions(first, pictures)
    turns = augmentation is not None and augmentation.turn and not first.views
    turn, read = STAY, []
    state = None if rng is None else rng.getstate()
    for place in places:
        if rng is not None and state is not None:
            rng.setstate(state)
        size = plan(place, budget, token_px).size
        pixels = pictures.read(first, place, size, rng if turns else None)
        if augmentation is not None and rng is not None:
            turn = _augment.draw_turn(rng) if turns else STAY
            pixels = _changed(pixels, augmentation, first.source, rng)
        read.append(_augment.turn_array(pixels, turn))
    parts: tuple[View, ...] = ()
    if first.views:
        parts = tuple(
            View(
                **_picture(first, pictures, place, pixels, token_px, STAY),
                answer="",
                boxes=(),
                within=_within(place, region),
            )
            for place, pixels in zip(places, read, strict=True)
        )
    whole = _picture(first, pictures, region, read[0], token_px, turn)
    return [
        View(
            **whole,
            answer=_augment.turn_place(sample.answer, turn),
            boxes=shares(sample.boxes, region, turn),
            parts=parts,
        )
        for sample in samples
    ]


def _picture(
    sample: Sample,
    pictures: Pictures,
    region: Region,
    pixels: NDArray[np.uint8],
    token_px: int,
    turn: Turn,
) -> dict[str, Any]:
    """Parts of a `View` that speak of pixels, and of what the labels state of a region."""
    nuclei = pictures.nuclei(sample, region)
    return {
        "pixels": pixels,
        "grid": (pixels.shape[1] // token_px, pixels.shape[0] // token_px),
        "areas": shares(sample.facts.areas, region, turn),
        "lesions": shares(sample.facts.boxes, region, turn),
        "centres": _points(sample.facts.centres, region, turn),
        "known": sample.facts.known,
        "nuclei": None if nuclei is None else _augment.turn_array(nuclei, turn),
        "size": (region.width, region.height)[:: -1 if turn[0] % 2 else 1],
    }


def _within(place: Region, region: Region) -> Corners:
    """Corners of a place in shares of a region, which it may leave."""
    x, y = (place.x - region.x) / region.width, (place.y - region.y) / region.height
    return x, y, x + place.width / region.width, y + place.height / region.height


def _changed(
    pixels: NDArray[np.uint8], augmentation: Augmentation, source: str, rng: Random
) -> NDArray[np.uint8]:
    """A picture with another stain, and where the source varies so, another look."""
    pixels = _augment.stain(pixels, augmentation.stain, rng)
    if not augmentation.varied or source in augmentation.varied:
        # where nothing changes nothing is drawn, so that older recipes see the same pictures
        if augmentation.sharpness > 0 and rng.random() < augmentation.sharpness:
            pixels = _augment.sharpness(pixels, rng)
        if augmentation.levels > 0 and rng.random() < augmentation.levels:
            pixels = _augment.levels(pixels, rng)
    return pixels


def shown_regions(sample: Sample, pictures: Pictures) -> list[Region]:
    """What each picture of a sample shows, level-0 pixels: its views, else its region."""
    return [Region(*view.region) for view in sample.views] or [pictures.region(sample)]


def shown_size(
    sample: Sample, pictures: Pictures, budget: int | None, token_px: int
) -> tuple[int, int]:
    """(width, height) of what a sample shows at a budget of each picture, pixels.

    Of several pictures, that of a strip one token high with as many tokens as all of them.
    """
    sizes = [plan(one, budget, token_px).size for one in shown_regions(sample, pictures)]
    if len(sizes) == 1:
        return sizes[0]
    return sum(width * height for width, height in sizes) // token_px, token_px


def _points(
    centres: tuple[tuple[int, int], ...], region: Region, turn: Turn
) -> tuple[tuple[float, float], ...]:
    points = []
    for x, y in centres:
        px, py = (x - region.x) / region.width, (y - region.y) / region.height
        if not (0 <= px <= 1 and 0 <= py <= 1):  # of another part of the picture
            continue
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


SILENT = "<think></think>"
"""A rationale with nothing in it."""


def target_text(sample: Sample, view: View, quantum: int = 10, before: str = "") -> str:
    """Target completion: the answer alone; its rationale is left to GRPO.

    Parameters
    ----------
    sample, view : Sample, View
    quantum : int
        Box coordinates (0-1000) are rounded to multiples of it.
    before : str
        What stands before the answer: `SILENT` for a model that always begins so.
    """
    pieces = answer_pieces(sample, view, quantum)
    return before + "".join(piece.text for piece in pieces)


def answer_pieces(sample: Sample, view: View, quantum: int = 10) -> list[TargetPiece]:
    """The answer of a target with its tags, cut where it begins to speak of another place.

    Parameters but ``before`` as in `target_text`.
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
