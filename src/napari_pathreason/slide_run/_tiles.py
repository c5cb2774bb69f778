"""A slide cut into overlapping tiles of equal size; pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from napari_pathreason.engine import Tiling
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of a slide.

    Parameters
    ----------
    index : int
        Row by row, from 0.
    column, row : int
        Place among the tiles.
    region : Region
        Level-0 pixels.
    tissue : float
        Share of it that is tissue, 0 to 1.
    override : int or "native", optional
        Budget that a user has set for it, 0 to leave it out; None for the run's own.
    """

    index: int
    column: int
    row: int
    region: Region
    tissue: float = 1.0
    override: int | Literal["native"] | None = None

    def is_read(self, min_tissue: float) -> bool:
        """Whether it is read at all: a user's word goes before the tissue."""
        return self.tissue >= min_tissue if self.override is None else self.override != 0


def tile_side(tile: int, mpp: float, slide_mpp: tuple[float, float] | None) -> tuple[int, int]:
    """(width, height) of a tile in level-0 pixels.

    Parameters
    ----------
    tile : int
        Side in pixels at ``mpp``.
    mpp : float
        Micrometres per pixel.
    slide_mpp : (float, float) or None
        Micrometres per level-0 pixel (x, y).

    Raises
    ------
    QueryError
        If the slide does not state its resolution.
    """
    if slide_mpp is None:
        raise QueryError(
            "the slide does not state its resolution, so tiles have no size on it; "
            "give its µm per pixel (--slide-mpp)"
        )
    return max(1, round(tile * mpp / slide_mpp[0])), max(1, round(tile * mpp / slide_mpp[1]))


def _count(length: int, side: int, overlap: float) -> int:
    """How many tiles an axis takes, so that neighbours have at least ``overlap`` in common."""
    if length <= side:
        return 1
    return math.ceil((length - side) / max(1, math.floor(side * (1 - overlap)))) + 1


def tile_layout(width: int, height: int, side: tuple[int, int], overlap: float) -> Tiling:
    """Where tiles lie on a slide, and how many there are, before any of them is laid.

    The last of a row is moved inwards rather than cut, so that all give pictures of one size, and
    all are spread evenly: no pair has much more in common than another. A slide below a tile has
    one cut to it.

    Parameters
    ----------
    width, height : int
        Of the slide, level-0 pixels.
    side : tuple of int
        (width, height) of a tile, level-0 pixels.
    overlap : float
        Least share of a side that neighbours have in common.
    """
    return Tiling(
        Region(0, 0, width, height),
        rows=_count(height, side[1], overlap),
        columns=_count(width, side[0], overlap),
        side=(min(side[0], width), min(side[1], height)),
    )


def lay_tiles(width: int, height: int, side: tuple[int, int], overlap: float) -> list[Tile]:
    """Cover a slide with tiles, row by row; parameters as of `tile_layout`."""
    layout = tile_layout(width, height, side, overlap)
    return [
        Tile(index, index % layout.columns, index // layout.columns, layout.window(index))
        for index in range(len(layout))
    ]
