"""A large region cut into windows, and what a cheap look says of each: tissue and unlikeness.

Windows lie on a half-step grid: those of even rows and columns cover the region side by side, the
others lie halfway between them, so that a thing on a border lies whole in one of them. Nothing here
asks a model; the look is one overview of a few pixels a window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.geometry import Region
from napari_pathreason.types import ModelInfo

from ._checks import most_of_picture

LEAST_WINDOW, MOST_WINDOW = 448, 1024
"""Sides in native pixels of the windows of a model that does not say which suit it."""
ACROSS = 8
"""Windows a side that such a model's region is cut into, as far as their sides allow."""
CELL, LEAST_CELL = 32, 4
"""Pixels a side of half a window on the overview, and at the least where there are many."""
MOST_OVERVIEW = 4096
"""Pixels a side of an overview, at the most: 50 MB."""
TISSUE = 0.05
"""Share of a window that is tissue, at the least, for it to be worth reading."""
INSIDE = 0.25
"""Share of a window that lies within an annotation's outline, at the least."""
STRATA = 3
"""Of windows by their surprise, from which a count over a part of a region is put together."""
_BRIGHT, _COLOUR = 210, 8  # of 255: darkest channel from which, and range of the channels up to
# which, a pixel is glass that was scanned grey. Stain is darker or has a colour


def window_side(region: Region, model: ModelInfo, most: int | None = None) -> int:
    """Side in level-0 pixels of the windows that a region is cut into for a model.

    Parameters
    ----------
    region : Region
    model : ModelInfo
    most : int, optional
        Visual tokens of one picture up to which its replies hold: no window has more, nor more
        than any picture may have.
    """
    side = model.window
    if side is None:
        longer = max(region.width, region.height)
        side = min(max(math.ceil(longer / ACROSS), LEAST_WINDOW), MOST_WINDOW)
    return min(side, math.isqrt(most_of_picture(most)) * model.dims.token_px)


def is_large(region: Region, model: ModelInfo) -> bool:
    """Whether a region is worth cutting: where a side holds more than two of the largest windows.

    One picture of less shows a thing nearly as large as a window of it would.
    """
    side = MOST_WINDOW if model.window is None else model.window
    return max(region.width, region.height) > 2 * side


@dataclass(frozen=True)  # no slots: a grid keeps its cover once it is known
class Tiling:
    """Windows of one size, spread evenly over a region, row by row.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    rows, columns : int
    side : tuple of int
        (width, height) of a window in level-0 pixels.
    """

    region: Region
    rows: int
    columns: int
    side: tuple[int, int]

    def __len__(self) -> int:
        return self.rows * self.columns

    def window(self, index: int) -> Region:
        """A window by its place, row by row from 0."""
        row, column = divmod(index, self.columns)
        x = self.region.x + _start(column, self.columns, self.region.width, self.side[0])
        y = self.region.y + _start(row, self.rows, self.region.height, self.side[1])
        return Region(x, y, *self.side)

    def corners(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Upper left corners of windows by their places, level-0 pixels, (places, 2): x, y."""
        rows, columns = np.divmod(places, self.columns)
        x = _start(columns, self.columns, self.region.width, self.side[0])
        y = _start(rows, self.rows, self.region.height, self.side[1])
        return np.stack([self.region.x + x, self.region.y + y], axis=1)


class Grid(Tiling):
    """Half-step windows: rows and columns are odd, and every other one of each covers the region.

    Parameters are those of `Tiling`.
    """

    def around(self, place: int) -> Iterator[int]:
        """Places of the windows that show a part of one, itself among them."""
        row, column = divmod(place, self.columns)
        for down in range(max(row - 1, 0), min(row + 2, self.rows)):
            for across in range(max(column - 1, 0), min(column + 2, self.columns)):
                yield down * self.columns + across

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """(x1, y1, x2, y2) of each window, level-0 pixels, float (windows, 4)."""
        first = self.corners(np.arange(len(self)))
        return np.concatenate([first, first + self.side], axis=1).astype(np.float64)

    @cached_property
    def cover(self) -> NDArray[np.int64]:
        """Places of the windows that cover the region side by side, in reading order."""
        places = np.arange(len(self)).reshape(self.rows, self.columns)
        return places[::2, ::2].ravel()

    def overlap(self, a: int, b: int) -> float:
        """Share of a window that another one shows as well, 0 to 1."""
        (ay, ax), (by, bx) = divmod(a, self.columns), divmod(b, self.columns)
        return max(0.0, 1 - abs(ax - bx) / 2) * max(0.0, 1 - abs(ay - by) / 2)


_Step = TypeVar("_Step", int, NDArray[np.int64])


def _start(step: _Step, steps: int, length: int, side: int) -> _Step:
    return (length - side) * step // max(steps - 1, 1)


def lay_grid(region: Region, side: int, token_px: int) -> Grid:
    """Cut a region into windows of about ``side`` px.

    Sides are stretched or shrunk by up to a third, so that the windows cover the region without
    overlap, whatever its size; a region below one and a half windows is one window that way.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    side : int
        Level-0 pixels.
    token_px : int
        No window is thinner than one visual token.
    """
    side = max(side, token_px)
    across = max(1, round(region.width / side))
    down = max(1, round(region.height / side))
    return Grid(
        region,
        2 * down - 1,
        2 * across - 1,
        (math.ceil(region.width / across), math.ceil(region.height / down)),
    )


def overview_size(grid: Grid) -> tuple[int, int]:
    """(width, height) in pixels of the overview of a grid: whole pixels for each half window."""
    cell = min(CELL, MOST_OVERVIEW // (max(grid.rows, grid.columns) + 1))
    cell = max(cell, LEAST_CELL)
    return (grid.columns + 1) * cell, (grid.rows + 1) * cell


class Scene:
    """What a policy sees of a region before anything is spent on it.

    Parameters
    ----------
    grid : Grid
    overview : uint8 array (height, width, 3)
        Of the grid's region, of `overview_size`.
    outline : sequence of (float, float), optional
        Corners of an annotation, level-0 pixels; windows off it are left out.
    """

    def __init__(
        self,
        grid: Grid,
        overview: NDArray[np.uint8],
        outline: tuple[tuple[float, float], ...] = (),
    ) -> None:
        from napari_pathreason.slides import is_tissue  # loads what reads files

        self.grid = grid
        self.overview = overview
        cells = _cells(overview, grid.rows + 1, grid.columns + 1)
        darkest = cells.min(axis=-1)
        marked = is_tissue(cells)
        self.tissue = _windows(marked.mean(axis=(2, 3))).ravel()
        """Share of each window that is tissue, float (windows,)."""
        stained = marked & ((darkest < _BRIGHT) | (cells.max(axis=-1) - darkest > _COLOUR))
        self._stained = stained.mean(axis=(2, 3))
        self._features = _features(cells, stained)
        worth = self.tissue >= TISSUE
        if outline:
            worth &= _inside(grid, outline)
        self.worth = worth
        """Which windows may be read, bool (windows,)."""

    @cached_property
    def cover(self) -> NDArray[np.int64]:
        """Windows that cover what is worth reading side by side, in reading order."""
        cover = self.grid.cover
        return cover[self.worth[cover]]

    @cached_property
    def cover_windows(self) -> tuple[Region, ...]:
        """The windows of `cover`, level-0 pixels."""
        return tuple(self.grid.window(int(place)) for place in self.cover)

    @cached_property
    def cover_corners(self) -> NDArray[np.float64]:
        """(x1, y1, x2, y2) of each of `cover_windows`, float (covering windows, 4)."""
        return self.grid.boxes[self.cover]

    @cached_property
    def cover_middles(self) -> NDArray[np.float64]:
        """Middle (x, y) of each of `cover_windows`, float (covering windows, 2)."""
        return np.array([middle_of(window) for window in self.cover_windows])

    @cached_property
    def cover_strata(self) -> NDArray[np.int64]:
        """Of each of `cover`, in which of `STRATA` equal parts its surprise lies, from 0."""
        surprise = self.surprise[self.cover]
        return np.searchsorted(np.quantile(surprise, np.arange(1, STRATA) / STRATA), surprise)

    @cached_property
    def surprise(self) -> NDArray[np.float64]:
        """How far each window is from the region's rest, float (windows,); 0 where not worth it.

        The mean over its four quarters: so a window that holds all of what is unlike the rest goes
        before one that holds half of it. Of a quarter it is the root mean square of robust z-scores
        (distance to the median over 1.4826 times the median absolute deviation) of colour and
        texture: mean and spread of the optical density of each channel, and how much neighbouring
        pixels differ. Each score is cut at 6, so that no single feature decides. Glass, grey glass
        too, counts for nothing: features are of what is stained, and a quarter counts by the share
        of it that is. Else the border of a section, or of a tile that was stitched in, would go
        before all that lies within.
        """
        quarters = np.sqrt((self._scores**2).mean(axis=-1)) * self._stained
        surprise = _windows(quarters).ravel()
        surprise[~self.worth] = 0
        return surprise

    @cached_property
    def _scores(self) -> NDArray[np.float64]:
        """Robust z-scores of each half window, (rows + 1, columns + 1, 7); 0 where unstained."""
        scores = np.zeros(self._features.shape)
        stained = self._stained >= TISSUE
        if stained.any():
            own = self._features[stained]
            centre = np.median(own, axis=0)
            deviation = np.median(np.abs(own - centre), axis=0) * 1.4826
            scores[stained] = np.clip((own - centre) / np.maximum(deviation, _FLOORS), -6, 6)
        return scores

    @cached_property
    def looks(self) -> NDArray[np.float64]:
        """Colour and texture of each window, float (windows, 14).

        Mean and spread of the optical density of each channel and roughness, the same as for
        `surprise`; then how far each is from the region's median, in robust deviations.
        """
        both = np.concatenate([self._features, self._scores], axis=-1)
        return _windows(both).reshape(len(self.grid), -1)

    def quarters(self, side: int) -> NDArray[np.uint8]:
        """The overview's half windows, four to a window, as squares of ``side`` px.

        Returns
        -------
        uint8 array (rows + 1, columns + 1, side, side, 3)
        """
        own = _cells(self.overview, self.grid.rows + 1, self.grid.columns + 1)
        down, across = (np.arange(side) * length // side for length in own.shape[2:4])
        return own[:, :, down][:, :, :, across]

    def thumbnail(self, index: int) -> NDArray[np.uint8]:
        """A window as the overview shows it, uint8 (height, width, 3)."""
        row, column = divmod(index, self.grid.columns)
        height = self.overview.shape[0] // (self.grid.rows + 1)
        width = self.overview.shape[1] // (self.grid.columns + 1)
        return self.overview[
            row * height : (row + 2) * height, column * width : (column + 2) * width
        ]

    @property
    def flops(self) -> float:
        """What the look itself cost; about forty FLOPs a pixel."""
        return 40.0 * self.overview.size / 3


_FLOORS = np.array([0.01] * 3 + [0.01] * 3 + [0.005])
"""Deviations below which features of a window do not differ, in optical density: noise."""


def _cells(overview: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Half windows of an overview, uint8 (rows, columns, height, width, 3)."""
    height, width = overview.shape[0] // rows, overview.shape[1] // columns
    cut = overview[: rows * height, : columns * width]
    return cut.reshape(rows, height, columns, width, 3).swapaxes(1, 2)


def _windows(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over the four half windows of each window, (rows - 1, columns - 1, ...)."""
    quarters = (cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:])
    return np.asarray(sum(quarters[1:], quarters[0]) / 4)


_DENSITY = -np.log10((np.arange(256) + 1) / 256).astype(np.float32)


def _features(cells: NDArray[np.uint8], stained: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Colour and texture of what is stained of each half window, float (rows, columns, 7)."""
    density = _DENSITY[cells]
    density *= stained[..., None]
    pixels = np.maximum(stained.sum(axis=(2, 3)), 1)[..., None]
    mean = density.sum(axis=(2, 3), dtype=np.float64) / pixels
    squares = np.einsum("rchwk,rchwk->rck", density, density, dtype=np.float64) / pixels
    spread = np.sqrt(np.maximum(squares - mean**2, 0))
    grey = density.mean(axis=-1)
    rough = np.zeros(cells.shape[:2])
    pairs = (stained[:, :, 1:] & stained[:, :, :-1], stained[..., 1:] & stained[..., :-1])
    for axis, both in enumerate(pairs, 2):
        steps = np.abs(np.diff(grey, axis=axis)) * both
        rough += steps.sum(axis=(2, 3), dtype=np.float64) / np.maximum(both.sum(axis=(2, 3)), 1)
    return np.concatenate([mean, spread, rough[..., None]], axis=-1)


def _inside(grid: Grid, outline: tuple[tuple[float, float], ...]) -> NDArray[np.bool_]:
    """Which windows lie within an outline, by `INSIDE` of their area."""
    import shapely

    shape = shapely.make_valid(shapely.Polygon(outline))
    windows = shapely.box(*grid.boxes.T)
    area: NDArray[np.float64] = np.asarray(shapely.area(shapely.intersection(windows, shape)))
    inside: NDArray[np.bool_] = area >= INSIDE * np.asarray(shapely.area(windows))
    if not inside.any():  # an outline far smaller than a window
        inside = area > 0
    return inside


def middle_of(region: Region) -> tuple[float, float]:
    """(x, y) of a region's middle, level-0 pixels."""
    return region.x + region.width / 2, region.y + region.height / 2


def shown_shares(windows: Sequence[Region], others: Sequence[Region]) -> NDArray[np.float64]:
    """Share of each window that others show together, each place once; float (windows,)."""
    if not windows or not others:
        return np.zeros(len(windows))
    own, corners = (np.array([one.box.corners for one in each]) for each in (windows, others))
    return covered_shares(own, corners)


def covered_shares(own: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each box that others cover together, each place once.

    Area is summed from the upper left up to each corner (Crow 1984, Summed-area tables for texture
    mapping) on the fields that the others' borders make: within one the sum is bilinear, so exact.

    Parameters
    ----------
    own, others : float (boxes, 4)
        (x1, y1, x2, y2); at least one of either.

    Returns
    -------
    float array (boxes,)
    """
    xs, ys = np.unique(others[:, 0::2]), np.unique(others[:, 1::2])
    left, right = np.searchsorted(xs, others[:, 0::2]).T
    top, bottom = np.searchsorted(ys, others[:, 1::2]).T
    steps = np.zeros((len(ys), len(xs)), np.int32)
    for y, x, sign in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
        np.add.at(steps, (y, x), sign)
    covered = steps.cumsum(0).cumsum(1)[:-1, :-1] > 0
    area = np.zeros((len(ys), len(xs)))
    area[1:, 1:] = (covered * (ys[1:] - ys[:-1])[:, None] * (xs[1:] - xs[:-1])).cumsum(0).cumsum(1)

    x = own[:, [2, 0, 2, 0]].ravel().clip(xs[0], xs[-1])
    y = own[:, [3, 3, 1, 1]].ravel().clip(ys[0], ys[-1])
    i = np.minimum(np.searchsorted(xs, x, "right"), len(xs) - 1) - 1
    j = np.minimum(np.searchsorted(ys, y, "right"), len(ys) - 1) - 1
    fx, fy = (x - xs[i]) / (xs[i + 1] - xs[i]), (y - ys[j]) / (ys[j + 1] - ys[j])
    upper = area[j, i] * (1 - fx) + area[j, i + 1] * fx
    lower = area[j + 1, i] * (1 - fx) + area[j + 1, i + 1] * fx
    inside = (upper * (1 - fy) + lower * fy).reshape(-1, 4) @ (1.0, -1.0, -1.0, 1.0)
    whole = (own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1])
    # what is half of a window stays half of it
    return np.asarray((inside / whole).round(9).clip(0, 1))
