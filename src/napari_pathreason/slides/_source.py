"""What a `Slide` reads from: a pyramid of RGB levels, decoded window by window.

`ArraySource` is the plainest one, over whatever slices as an array; `_tiff` reads native tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

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
    read), ``unreadable`` those of the window that could not be.
    """

    pixels: NDArray[np.uint8]
    decoded: int
    unreadable: int = 0


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
        """Decode a window of a level; damaged tiles are white and counted, never an error.

        With ``keep`` what is decoded may stay for the next read; a walk over more than is worth
        keeping goes without.
        """

    def each(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """Results of a function for each part, in their order, in what threads the source has."""

    def close(self) -> None:
        """Release the file; reading after that raises `SlideError`."""


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


def over_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of RGBA pixels (..., 4) laid over white."""
    alpha = pixels[..., 3:].astype(np.uint16)
    mixed = (pixels[..., :3].astype(np.uint16) * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)


class ArraySource:
    """Levels of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), of any numeric type.

    Eight-bit pixels stay as they are. Other types are stretched to 8 bits between the 0.1 and the
    99.9 percentile of the coarsest level (the same for all channels), and grey becomes RGB;
    ``notes`` says so. Alpha is laid over white. Nothing is sliced before the first read.

    Parameters
    ----------
    levels : sequence of array-like
        Level 0 first.
    close : callable, optional
        Releases the file that the arrays read from.

    Raises
    ------
    SlideError
        If a shape is none of these.
    """

    def __init__(self, levels: Sequence[Any], close: Callable[[], None] | None = None) -> None:
        if not levels:
            raise SlideError("the layer holds no pixels; choose another image layer")
        for level in levels:
            shape = tuple(level.shape)
            if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
                raise SlideError(
                    f"the image has shape {shape}; give a 2D picture (height, width), RGB or RGBA, "
                    "or choose one plane of the stack"
                )
            if min(shape[:2]) < 1:
                raise SlideError("the image is empty; choose another one")
        self._levels = tuple(levels)
        self._close = close
        notes = []
        self._range: tuple[float, float] | None = None
        self._lock = Lock()
        dtype = np.dtype(levels[0].dtype)
        if dtype != np.uint8:
            notes.append(f"{dtype.name} pixels were stretched to 8 bits for the model")
        if len(levels[0].shape) == 2 or levels[0].shape[2] == 1:
            notes.append("a single channel was read as grey; the model was trained on RGB")
        self._notes = tuple(notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source.notes`."""
        return self._notes

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return tuple((int(level.shape[1]), int(level.shape[0])) for level in self._levels)

    @property
    def tile_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.tile_sizes`; arrays do not say, so these are squares of use."""
        return tuple((min(512, width), min(512, height)) for width, height in self.level_sizes)

    def read(self, level: int, window: Window, keep: bool = True) -> Decoded:
        """See `Source.read`."""
        x1, y1, x2, y2 = window
        area = (x2 - x1) * (y2 - y1)
        try:
            values = np.asarray(self._levels[level][y1:y2, x1:x2])
            return Decoded(self._to_rgb(values), area)
        except (OSError, ValueError, RuntimeError):  # a damaged or missing chunk
            return Decoded(white(x2 - x1, y2 - y1), area, area)

    def each(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """See `Source.each`; an array has no threads."""
        return [work(part) for part in parts]

    def close(self) -> None:
        """Release the file, if there is one; plain arrays belong to the caller."""
        if self._close is not None:
            self._close()

    def _stretch(self) -> tuple[float, float]:
        """Range that becomes 0 to 255; taken once, at the first read."""
        with self._lock:
            if self._range is None:
                coarse = self._levels[-1]
                step = max(1, int(np.sqrt(coarse.shape[0] * coarse.shape[1] / SAMPLE)))
                values = np.asarray(coarse[::step, ::step], np.float64)
                values = values[np.isfinite(values)]
                low, high = np.percentile(values, (0.1, 99.9)) if values.size else (0.0, 1.0)
                self._range = float(low), float(high if high > low else low + 1.0)
            return self._range

    def _to_rgb(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        if values.ndim == 2:
            values = values[..., None]
        if values.dtype != np.uint8:
            low, high = self._stretch()
            finite = np.nan_to_num(values.astype(np.float32), nan=low, posinf=high, neginf=low)
            scaled = (finite - low) * (255.0 / (high - low))
            values = np.minimum(np.maximum(np.rint(scaled), 0), 255).astype(np.uint8)
        if values.shape[2] == 4:
            return over_white(values)
        if values.shape[2] == 1:
            values = np.repeat(values, 3, axis=2)
        return np.ascontiguousarray(values)
