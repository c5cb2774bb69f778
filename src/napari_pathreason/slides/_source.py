"""What a `Slide` reads from: a pyramid of RGB levels, decoded window by window."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

from . import _limits as limits

T = TypeVar("T")
R = TypeVar("R")
SAMPLE = 1_000_000  # pixels of the coarsest level that the 8-bit range is taken from

Window = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in whole pixels of one level, inside that level."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One window of one level.

    ``pixels`` is uint8 (height, width, 3), the caller's own; ``decoded`` counts the pixels that had
    to be decoded for it now (whole native tiles, without those that were kept from an earlier
    read), ``unreadable`` those of the window that could not be, and ``lost`` says where: parts of
    native tiles, in pixels of the level.
    """

    pixels: NDArray[np.uint8]
    decoded: int
    unreadable: int = 0
    lost: tuple[Window, ...] = ()


class Source(Protocol):
    """A pyramid; all methods may be called from several threads at once."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results must know of how the pixels were read; empty for RGB."""

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level in pixels, level 0 first."""

    @property
    def tile_sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of a native tile, or strip, of each level."""

    def read(self, level: int, window: Window, keep: bool = True) -> Decoded:
        """Decode a window of a level; damaged tiles are background and counted, never an error.

        What passes (a busy disk, a network) is no damage: it is tried again, then a `SlideError`.

        With ``keep`` what is decoded may stay for the next read; a walk over more than is worth
        keeping goes without.
        """

    def each(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """Results of a function for each part, in their order, in what threads the source has."""

    def close(self) -> None:
        """Release the file; reading after that raises `SlideError`."""


def check_coarsest(name: str, tiles: int) -> None:
    """Refuse a slide whose coarsest level is cut into so many tiles that nobody can look at it.

    Parameters
    ----------
    name : str
        Of the slide.
    tiles : int
        Native tiles or chunks of that level.

    Raises
    ------
    SlideError
        If that is so.
    """
    if tiles > limits.COARSEST_TILES:
        raise SlideError(
            f"the coarsest level of {name} is {tiles:,} tiles, more than can be looked at "
            f"({limits.COARSEST_TILES:,}); write it as a pyramid, in larger tiles"
        )


def blocks(
    window: Window, tile: tuple[int, int], area: int, unit: tuple[int, int] = (1, 1)
) -> Iterator[Window]:
    """Cover a window, row by row, by blocks of which no two meet one native tile.

    Parameters
    ----------
    window : tuple of int
    tile : tuple of int
        (width, height) of a native tile. Where tiles are wide (strips), so are blocks.
    area : int
        Pixels of a block, about: what bounds memory. One tile may be more.
    unit : tuple of int
        (width, height) of which inner edges are multiples, for a reduction by that much.
    """
    x1, y1, x2, y2 = window
    side = math.isqrt(area)
    across, down = (_common(*sizes, 2 * side) for sizes in zip(tile, unit, strict=True))
    width = max(1, side // across) * across
    height = max(1, area // min(width, x2 - x1) // down) * down
    for top in range(y1 // height * height, y2, height):
        for left in range(x1 // width * width, x2, width):
            yield max(left, x1), max(top, y1), min(left + width, x2), min(top + height, y2)


def _common(tile: int, unit: int, most: int) -> int:
    """Step of both grids; of the unit alone where theirs is too wide and a tile is not."""
    both = math.lcm(tile, unit)
    return both if both <= max(most, tile) else unit


def white(width: int, height: int) -> NDArray[np.uint8]:
    """White pixels, uint8 (height, width, 3)."""
    return np.full((height, width, 3), 255, np.uint8)
