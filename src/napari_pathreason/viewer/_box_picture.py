"""Very many boxes as a picture, of which only the part is drawn that the screen shows."""

from __future__ import annotations

import math
import operator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = 8
"""Colours of boxes at most; those of one colour more share the last."""
LINE = 2
"""Width of an outline in pixels of the level that is shown: at least one of the screen's, whose
nearest pixels are taken."""
THIN = 5
"""Boxes with a side below this are outlined by one pixel."""
SMALLEST = 1024
"""Longest side of the coarsest level: napari keeps that one whole."""
STEP = 1.5
"""Each level is so much coarser than the one before. napari shows one that has as many pixels as
the screen or more: up to 2.25 times as many, where halved sides would make it four times."""
CHUNK = 128
"""napari asks for whole chunks, so a small step of the camera draws nothing anew."""
MOST_DRAWN = 2048
"""Levels with no longer side are drawn once and stay in memory: 30 MB at most."""
LARGE = 64
"""Rectangles with a longer side are filled one by one; there cannot be many on a screen."""
Window = tuple[int, int, int, int]


class BoxPicture:
    """A pyramid over a slide whose pixels name the box that they lie in.

    A level holds nothing and draws what it is asked for, but for those of `prepare`. Each pixel is
    0 or the value of a box, of which there are two: one for its outline and one for its inside,
    so that a Labels layer can show the first and has features of both. Small boxes lie on top of
    large ones, outlines on top of all.

    Parameters
    ----------
    size : tuple of int
        (width, height) of the slide, level-0 pixels.
    corners : array (n, 4)
        (x1, y1, x2, y2) of the boxes, level-0 pixels.
    colours : array of int (n,)
        Of each, from 0; see `COLOURS`.
    """

    def __init__(
        self,
        size: tuple[int, int],
        corners: NDArray[np.float64],
        colours: NDArray[np.int64],
    ) -> None:
        self.size = size
        self.corners = np.asarray(corners, np.float64).reshape(-1, 4)
        count = len(self.corners)
        kinds = np.minimum(np.asarray(colours, np.int32), COLOURS - 1)
        self.outlines = (np.arange(count, dtype=np.int32) * (2 * COLOURS)) + kinds + 1
        self.insides = self.outlines + np.int32(COLOURS)
        x1, y1, x2, y2 = self.corners.T
        self.order = np.argsort(-(x2 - x1) * (y2 - y1), kind="stable")
        zooms = [1, STEP]  # of a single level napari makes no pyramid
        while max(size) > SMALLEST * zooms[-1]:
            zooms.append(STEP * zooms[-1])
        self.levels = [BoxLevel(self, zoom) for zoom in zooms]

    def prepare(self) -> None:
        """Draw the levels that show most boxes, for a worker: the others are drawn in parts."""
        for level in self.levels:
            level.prepare()

    def box_at(self, x: float, y: float) -> int | None:
        """Number of the smallest box around a place, level-0 pixels."""
        x1, y1, x2, y2 = self.corners.T
        around = (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
        numbers = self.order[around[self.order]]
        return int(numbers[-1]) if len(numbers) else None


class BoxLevel:
    """An array-like (height, width), int32, of one level; draws on ``__getitem__``.

    Parameters
    ----------
    picture : BoxPicture
    zoom : float
        Level-0 pixels a pixel.
    """

    def __init__(self, picture: BoxPicture, zoom: float) -> None:
        width, height = picture.size
        self._picture = picture
        self.shape = (math.ceil(height / zoom), math.ceil(width / zoom))
        self.dtype = np.dtype(np.int32)
        self.ndim = 2
        self.size = self.shape[0] * self.shape[1]
        self.nbytes = 4 * self.size
        self._whole: NDArray[np.int32] | None = None
        self.chunks = (min(CHUNK, self.shape[0]), min(CHUNK, self.shape[1]))

    @cached_property
    def _boxes(self) -> NDArray[np.int32]:
        """Corners in pixels of this level, at least one pixel each, the largest box first."""
        picture = self._picture
        x1, y1, x2, y2 = picture.corners[picture.order].T
        # napari stretches a level over the whole slide, whatever its size was divided by
        across = self.shape[1] / picture.size[0]
        down = self.shape[0] / picture.size[1]
        left, top = np.floor(x1 * across), np.floor(y1 * down)
        right = np.maximum(np.ceil(x2 * across), left + 1)
        bottom = np.maximum(np.ceil(y2 * down), top + 1)
        return np.stack([left, top, right, bottom], 1).astype(np.int32)

    def prepare(self) -> None:
        """See `BoxPicture.prepare`."""
        if len(self._boxes) and max(self.shape) <= MOST_DRAWN:
            self._whole = self.read((0, 0, self.shape[1], self.shape[0]))

    def read(self, window: Window) -> NDArray[np.int32]:
        """Values of the pixels in (left, top, right, bottom), int32 (height, width)."""
        left, top, right, bottom = window
        if self._whole is not None:
            return self._whole[top:bottom, left:right]
        out = np.zeros((bottom - top, right - left), np.int32)
        x1, y1, x2, y2 = self._boxes.T
        within = np.flatnonzero((x2 > left) & (x1 < right) & (y2 > top) & (y1 < bottom))
        if not len(within):
            return out
        boxes = self._boxes[within] - np.array([left, top, left, top], np.int32)
        which = self._picture.order[within]
        outline, inside = self._picture.outlines[which], self._picture.insides[which]
        x1, y1, x2, y2 = boxes.T
        line = np.where(np.minimum(x2 - x1, y2 - y1) < THIN, 1, LINE).astype(np.int32)
        _fill(out, (x1 + line, y1 + line, x2 - line, y2 - line), inside)
        _fill(out, (x1, y1, x2, y1 + line), outline)
        _fill(out, (x1, y2 - line, x2, y2), outline)
        _fill(out, (x1, y1, x1 + line, y2), outline)
        _fill(out, (x2 - line, y1, x2, y2), outline)
        return out

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.int32]:
        rows, columns = (*(key if isinstance(key, tuple) else (key,)), slice(None))[:2]
        (top, bottom), (left, right) = _span(rows, self.shape[0]), _span(columns, self.shape[1])
        part = self.read((left, top, max(left, right), max(top, bottom)))
        steps = [slice(None, None, k.step) if isinstance(k, slice) else 0 for k in (rows, columns)]
        values: NDArray[np.int32] = part[tuple(steps)]
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self.read((0, 0, self.shape[1], self.shape[0]))
        return whole if dtype is None else whole.astype(dtype)


def _fill(
    out: NDArray[np.int32], corners: tuple[NDArray[np.int32], ...], values: NDArray[np.int32]
) -> None:
    """Fill rectangles (x1, y1, x2, y2), each with its value, in their order; cut to the picture."""
    height, width = out.shape
    # by their own sides, not by what is in view: the order must not depend on the part drawn
    large = np.maximum(corners[2] - corners[0], corners[3] - corners[1]) > LARGE
    x1, x2 = (np.clip(x, 0, width) for x in (corners[0], corners[2]))
    y1, y2 = (np.clip(y, 0, height) for y in (corners[1], corners[3]))
    here = (x2 > x1) & (y2 > y1)
    for i in np.flatnonzero(here & large):
        out[y1[i] : y2[i], x1[i] : x2[i]] = values[i]
    small = np.flatnonzero(here & ~large)
    x1, y1, values = x1[small], y1[small], values[small]
    across, down = x2[small] - x1, y2[small] - y1
    # each rectangle as its rows, each row as its pixels, as places in the flat picture
    rows = _counted(down)
    starts = np.repeat(y1.astype(np.int64) * width + x1, down) + rows * width
    long = np.repeat(across, down)
    places = np.repeat(starts, long) + _counted(long)
    out.reshape(-1)[places] = np.repeat(np.repeat(values, down), long)


def _counted(counts: NDArray[np.int32]) -> NDArray[np.int64]:
    """0, 1, 2... up to each count, one after the other."""
    ends = np.cumsum(counts, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - counts, counts)


def _span(part: Any, length: int) -> tuple[int, int]:
    if isinstance(part, slice):
        start, stop, step = part.indices(length)
        if step < 1:
            raise IndexError("a level of boxes is not read backwards")
        return start, stop
    index = operator.index(part)
    if not -length <= index < length:
        raise IndexError(f"index {index} is outside {length} pixels")
    return index % length, index % length + 1
