"""Boxes, regions and the map between what the model saw and the slide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import RegionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Outline = tuple[tuple[float, float], ...]
"""Corners (x, y) of a polygon in level-0 pixels; empty where it is a rectangle along the axes."""
FAR = 1e12
"""Pixels from which a coordinate lies on no slide, and sums of its squares lose what is said."""


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box (x, y, w, h); on a slide always in level-0 pixels."""

    x: float
    y: float
    w: float
    h: float

    @property
    def area(self) -> float:
        """Area in square units of the box's own frame."""
        return max(self.w, 0.0) * max(self.h, 0.0)

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """The box as (x1, y1, x2, y2)."""
        return self.x, self.y, self.x + self.w, self.y + self.h

    @classmethod
    def from_corners(cls, x1: float, y1: float, x2: float, y2: float) -> Box:
        """Box from any two opposite corners, in either order."""
        return cls(min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1))


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a slide in whole level-0 pixels, (x, y) its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def box(self) -> Box:
        """The same rectangle as a `Box`."""
        return Box(self.x, self.y, self.width, self.height)

    def within(self, other: Region) -> Region | None:
        """The part of this region that lies in another; None where they do not touch."""
        x1, y1 = max(self.x, other.x), max(self.y, other.y)
        x2 = min(self.x + self.width, other.x + other.width)
        y2 = min(self.y + self.height, other.y + other.height)
        return Region(x1, y1, x2 - x1, y2 - y1) if x1 < x2 and y1 < y2 else None

    def clipped(self, width: int, height: int) -> Region:
        """Return the part of this region that lies on a slide of the given size.

        Parameters
        ----------
        width, height : int
            Slide size in level-0 pixels.

        Raises
        ------
        RegionError
            If the region is empty or does not touch the slide.
        """
        if self.width <= 0 or self.height <= 0:
            raise RegionError(
                f"the region is empty ({self.width} x {self.height} px); "
                "give a width and a height above zero"
            )
        x1, y1 = max(self.x, 0), max(self.y, 0)
        x2, y2 = min(self.x + self.width, width), min(self.y + self.height, height)
        if x2 <= x1 or y2 <= y1:
            raise RegionError(
                f"the region {self.x} {self.y} {self.width} {self.height} lies outside the slide "
                f"({width} x {height} px); choose x, y, w, h inside it"
            )
        return Region(x1, y1, x2 - x1, y2 - y1)


@dataclass(frozen=True, slots=True)
class VisualFrame:
    """Affine map between a region and the resized picture that the model reads.

    Parameters
    ----------
    region : Region
        Where on the slide, level-0 pixels.
    size : tuple[int, int]
        (width, height) of the resized picture in pixels.
    """

    region: Region
    size: tuple[int, int]

    def to_slide(self, box: Box) -> Box:
        """Map a box from resized pixels to level-0 pixels."""
        sx, sy = self.region.width / self.size[0], self.region.height / self.size[1]
        return Box(self.region.x + box.x * sx, self.region.y + box.y * sy, box.w * sx, box.h * sy)

    def to_picture(self, box: Box) -> Box:
        """Map a box from level-0 pixels to resized pixels."""
        sx, sy = self.size[0] / self.region.width, self.size[1] / self.region.height
        return Box(
            (box.x - self.region.x) * sx, (box.y - self.region.y) * sy, box.w * sx, box.h * sy
        )


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes of one frame; 0 where both are empty."""
    ax1, ay1, ax2, ay2 = a.corners
    bx1, by1, bx2, by2 = b.corners
    inter = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    union = a.area + b.area - inter
    return inter / union if union > 0 else 0.0


def inside_outline(outline: Outline, region: Region, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels of a picture have their centre within an outline, by the even-odd rule.

    Parameters
    ----------
    outline : tuple of (float, float)
        Corners (x, y), level-0 pixels; the last is joined with the first.
    region : Region
        What the picture shows.
    size : tuple of int
        (width, height) of the picture in pixels.

    Returns
    -------
    bool array (height, width)
    """
    import numpy as np  # whoever asks has pictures, and with them numpy

    columns, rows = size
    scale = np.array([columns / region.width, rows / region.height])
    corners = (np.asarray(outline, dtype=float) - (region.x, region.y)) * scale - 0.5
    (x1, y1), (x2, y2) = corners.T, np.roll(corners, -1, axis=0).T
    # a side crosses the rows whose centres lie from its upper end on, and above its lower one
    first = np.clip(np.ceil(np.minimum(y1, y2)), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y1, y2)), 0, rows).astype(np.int64)
    counts = last - first
    side = np.repeat(np.arange(len(corners)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[side]
    x = x1[side] + (row - y1[side]) * (x2[side] - x1[side]) / (y2[side] - y1[side])
    column = np.clip(np.ceil(x), 0, columns).astype(np.int64)
    crossings = np.zeros((rows, columns + 1), np.int64)
    np.add.at(crossings, (row, column), 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :columns] % 2 == 1)


def count_points(coordinates: Any) -> int:
    """Points of the coordinates of a GeoJSON geometry, however nested.

    Parsers of geometry accept numbers that are not finite, and fail later or not at all.

    Raises
    ------
    ValueError
        If a coordinate is no finite number.
    """
    points = 0
    left = [coordinates]
    while left:
        value = left.pop()
        if not isinstance(value, list | tuple):
            raise ValueError("a coordinate is missing")
        if value and all(isinstance(part, list | tuple) for part in value):
            left.extend(value)
            continue
        for part in value:
            if isinstance(part, bool) or not isinstance(part, int | float):
                raise ValueError("a coordinate is no number")
            if not math.isfinite(part) or abs(part) > FAR:
                raise ValueError("a coordinate is not finite")
        points += bool(value)
    return points


def size_within(width: int, height: int, side: int) -> tuple[int, int]:
    """(width, height) of a picture with no side above ``side`` and its shape kept; not enlarged."""
    zoom = min(1.0, side / max(width, height))
    return max(1, round(width * zoom)), max(1, round(height * zoom))
