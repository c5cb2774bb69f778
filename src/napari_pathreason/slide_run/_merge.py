"""Boxes of overlapping tiles to lesions: what two tiles saw of one thing becomes one box."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_pathreason import exports
from napari_pathreason.geometry import Box
from napari_pathreason.types import NOT_ASSESSED, Detection, Reliability

from ._tiles import Tile

AGREE = 0.5
"""Share of the smaller box, within what both tiles saw, from which two boxes are one lesion."""
TOUCH = 0.03
"""Share of a tile's side within which a box counts as cut by its border."""
REACH = 2
"""Tiles on each side that a tile has more than a line of pixels in common with."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """One lesion of a slide and the tiles that saw it; the box is level-0 pixels.

    Confidence and reliability are both those of the tile whose box is the most confident; see
    `merge`.
    """

    detection: Detection
    tiles: tuple[int, ...]
    reliability: Reliability = NOT_ASSESSED


@dataclass(frozen=True, slots=True)
class _Part:
    tile: Tile
    detection: Detection


def merge(
    tiles: Iterable[tuple[Tile, Sequence[Detection]]],
    assessed: Mapping[int, Reliability] | None = None,
) -> list[Lesion]:
    """Join boxes across the borders of tiles.

    Two boxes of one name from two tiles are one lesion if they agree where both tiles looked: the
    parts that lie in the common strip are laid over each other, and the overlap is held against
    the smaller of them (the measure IOS of sliced inference, Akyon et al. 2022,
    arXiv:2202.06934). So a lesion that a border cuts is joined however little of it the second
    tile holds, and one that both see whole counts once. Where each tile's border cuts the box
    inside the other tile, both go on beyond the strip, and any overlap there is enough: of a
    slanting lesion the two boxes have little more than that in common. Joining is passed on: a
    lesion over five tiles is one. Boxes of the same tile are joined only through another's.

    Parameters
    ----------
    tiles : iterable of (Tile, sequence of Detection)
        Boxes in level-0 pixels, those of each tile inside it; the order does not matter.
    assessed : mapping of int to Reliability, optional
        Reliability of the answer of each tile, by its index; one that is missing is not judged.

    Returns
    -------
    list of Lesion
        From top to bottom, then left to right. A box is the bounds of its parts, a confidence the
        highest of theirs. Reliability comes with it from the same tile, so that no box is shown
        with more confidence than the tile that has it may be relied on; of tiles of equal
        confidence, or of none, the worst counts.
    """
    parts: list[_Part] = []
    at: dict[tuple[int, int], list[int]] = defaultdict(list)
    for tile, detections in sorted(tiles, key=lambda pair: pair[0].index):
        for one in detections:
            at[tile.column, tile.row].append(len(parts))
            parts.append(_Part(tile, one))
    same = [
        (index, other)
        for index, part in enumerate(parts)
        for other in _neighbours(part.tile, at)
        if other > index and _same(part, parts[other])
    ]
    lesions = [_lesion([parts[i] for i in chain], assessed or {}) for chain in _chains(parts, same)]
    return sorted(lesions, key=lambda one: (*_place(one.detection.box), one.detection.label))


def _neighbours(tile: Tile, at: dict[tuple[int, int], list[int]]) -> Iterable[int]:
    for row in range(tile.row - REACH, tile.row + REACH + 1):
        for column in range(tile.column - REACH, tile.column + REACH + 1):
            if (column, row) != (tile.column, tile.row):
                yield from at.get((column, row), ())


def _chains(parts: Sequence[_Part], same: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Places of the parts that hang together, whatever the length of the chain between them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not parts:
        return []
    ends = tuple(np.array(same, int).reshape(-1, 2).T)
    graph = coo_array((np.ones(len(same), bool), ends), shape=(len(parts), len(parts)))
    count, labels = connected_components(graph, directed=False)
    chains: list[list[int]] = [[] for _ in range(count)]
    for index, label in enumerate(labels):
        chains[label].append(index)
    return chains


def _same(a: _Part, b: _Part) -> bool:
    if a.detection.label != b.detection.label:
        return False
    common = _meet(a.tile.region.box, b.tile.region.box)
    one, two = _meet(a.detection.box, common), _meet(b.detection.box, common)
    agreed, smaller = _meet(one, two).area, min(one.area, two.area)
    if agreed <= 0:
        return False
    return agreed >= AGREE * smaller or (_cut_inside(a, b.tile) and _cut_inside(b, a.tile))


def _cut_inside(part: _Part, other: Tile) -> bool:
    """Whether a border of the part's tile, on its way through the other tile, cuts the box."""
    own, box, region = part.tile.region.box, part.detection.box, other.region.box
    near_x, near_y = TOUCH * own.w, TOUCH * own.h
    (x1, y1, x2, y2), (bx1, by1, bx2, by2) = own.corners, box.corners
    left, top, right, bottom = region.corners
    return (
        (left < x1 < right and bx1 - x1 <= near_x)
        or (left < x2 < right and x2 - bx2 <= near_x)
        or (top < y1 < bottom and by1 - y1 <= near_y)
        or (top < y2 < bottom and y2 - by2 <= near_y)
    )


def _meet(a: Box, b: Box) -> Box:
    ax1, ay1, ax2, ay2 = a.corners
    bx1, by1, bx2, by2 = b.corners
    x, y = max(ax1, bx1), max(ay1, by1)
    return Box(x, y, max(0.0, min(ax2, bx2) - x), max(0.0, min(ay2, by2) - y))


def _lesion(parts: list[_Part], assessed: Mapping[int, Reliability]) -> Lesion:
    corners = [part.detection.box.corners for part in parts]
    x1, y1 = (min(c[i] for c in corners) for i in (0, 1))
    x2, y2 = (max(c[i] for c in corners) for i in (2, 3))
    most = max((c for part in parts if (c := part.detection.confidence) is not None), default=None)
    most_confident = [part.tile.index for part in parts if part.detection.confidence == most]
    reliability = min(
        (assessed.get(index, NOT_ASSESSED) for index in sorted(most_confident)),
        key=lambda one: exports.RANK[one.level],
    )
    detection = Detection(parts[0].detection.label, Box(x1, y1, x2 - x1, y2 - y1), most)
    return Lesion(detection, tuple(sorted({part.tile.index for part in parts})), reliability)


def _place(box: Box) -> tuple[float, float, float, float]:
    return box.y, box.x, box.h, box.w
