"""A sample as the model sees it at one budget, with its labels in the same frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import plan
from napari_pathreason.geometry import Region

from ._augment import (
    STAY,
    Turn,
    draw_turn,
    levels,
    sharpness,
    stain,
    turn_array,
    turn_corners,
    turn_place,
)
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
        turn = draw_turn(rng) if augmentation.turn else STAY
        pixels = stain(pixels, augmentation.stain, rng)
        if not augmentation.varied or first.source in augmentation.varied:
            # where nothing changes nothing is drawn, so that older recipes see the same pictures
            if augmentation.sharpness > 0 and rng.random() < augmentation.sharpness:
                pixels = sharpness(pixels, rng)
            if augmentation.levels > 0 and rng.random() < augmentation.levels:
                pixels = levels(pixels, rng)
    pixels = turn_array(pixels, turn)
    picture: dict[str, Any] = {
        "pixels": pixels,
        "grid": (pixels.shape[1] // token_px, pixels.shape[0] // token_px),
        "areas": shares(first.facts.areas, region, turn),
        "lesions": shares(first.facts.boxes, region, turn),
        "centres": _points(first.facts.centres, region, turn),
        "known": first.facts.known,
        "nuclei": None if nuclei is None else turn_array(nuclei, turn),
        "size": (region.width, region.height)[:: -1 if turn[0] % 2 else 1],
    }
    return [
        View(
            answer=turn_place(sample.answer, turn),
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
        tx, ty, _, _ = turn_corners((px, py, px, py), turn)
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
    found = []
    for area in areas:
        x1, y1, x2, y2 = area.corners
        left, right = ((x - region.x) / region.width for x in (x1, x2))
        top, bottom = ((y - region.y) / region.height for y in (y1, y2))
        inside = (max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0))
        turned = turn_corners(inside, turn)
        if turned[2] > turned[0] and turned[3] > turned[1]:
            found.append((area.label, turned))
    return tuple(sorted(found, key=lambda item: (item[1][1], item[1][0])))
