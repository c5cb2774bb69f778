"""Lazy levels for the viewer: arrays that decode just what is sliced.

napari loads the smallest level whole and grows requests to whole chunks, so coarse levels are
appended until the last is small enough, and ``chunks`` are native tiles.
"""

from __future__ import annotations

import operator
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ._cache import worth_keeping
from ._source import Source, Window, blocks

SMALL = 1_048_576  # pixels of the last level
CACHED = 16 * SMALL  # pixels up to which an appended level is computed once and stays in memory
BLOCK = 1024  # side of blocks of the area in which a level is computed, so that memory stays flat
WIDEST = 4096  # of a chunk: napari asks for whole ones, which strips of a large level are not worth


class DisplayLevel:
    """An array-like (height, width, 3), uint8, of one level; decodes on ``__getitem__``.

    ``tile`` is what a native tile covers of it, (width, height).
    """

    def __init__(
        self, size: tuple[int, int], chunk: tuple[int, int], tile: tuple[int, int]
    ) -> None:
        width, height = size
        self.shape = (height, width, 3)
        self.dtype = np.dtype(np.uint8)
        self.ndim = 3
        self.size = height * width * 3
        self.chunks = (min(chunk[1], height), min(chunk[0], width), 3)
        self.tile = tile

    @property
    def nbytes(self) -> int:
        """Bytes of the whole level if it were in memory."""
        return self.size

    def read(self, window: Window, keep: bool = True) -> NDArray[np.uint8]:
        """Pixels of a window, uint8 (height, width, 3); ``keep`` as of `Source.read`."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        y, x, channel = _parts(key)
        rows, columns = _range(y, self.shape[0]), _range(x, self.shape[1])
        pixels = np.empty((len(rows), len(columns), 3), np.uint8)
        if len(rows) and len(columns):
            (left, right), (top, bottom) = _ends(columns), _ends(rows)
            window = self.read((left, top, right, bottom))
            pixels = window[:: rows.step, :: columns.step]  # a step below zero starts at the end
        row, column = (slice(None) if isinstance(part, slice) else 0 for part in (y, x))
        return pixels[row, column, channel]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self.read((0, 0, self.shape[1], self.shape[0]))
        return whole if dtype is None else whole.astype(dtype)


class _NativeLevel(DisplayLevel):
    """A level that the file holds."""

    def __init__(self, source: Source, level: int) -> None:
        tile = source.tile_sizes[level]
        super().__init__(source.level_sizes[level], (min(tile[0], WIDEST), tile[1]), tile)
        self._source, self._level = source, level

    def read(self, window: Window, keep: bool = True) -> NDArray[np.uint8]:
        """See `DisplayLevel.read`."""
        return self._source.read(self._level, window, keep).pixels


class _HalvedLevel(DisplayLevel):
    """Half the size of the level below, by 2 x 2 means; small ones are computed once."""

    def __init__(self, below: DisplayLevel, cached: int, block: int) -> None:
        height, width = below.shape[:2]
        tile = max(1, below.tile[0] // 2), max(1, below.tile[1] // 2)
        super().__init__((max(1, width // 2), max(1, height // 2)), (512, 512), tile)
        self._below, self._cached, self._block = below, cached, block
        self._whole: NDArray[np.uint8] | None = None
        self._lock = Lock()

    def read(self, window: Window, keep: bool = True) -> NDArray[np.uint8]:
        """See `DisplayLevel.read`."""
        height, width = self.shape[:2]
        if height * width > self._cached:
            return self._blocks(window, keep)
        with self._lock:
            if self._whole is None:
                self._whole = self._blocks((0, 0, width, height), keep)
        x1, y1, x2, y2 = window
        return self._whole[y1:y2, x1:x2]

    def _blocks(self, window: Window, keep: bool) -> NDArray[np.uint8]:
        x1, y1, x2, y2 = window
        out = np.empty((y2 - y1, x2 - x1, 3), np.uint8)
        keep = keep and worth_keeping((2 * x1, 2 * y1, 2 * x2, 2 * y2))
        for part in blocks(window, self.tile, self._block**2):
            left, top, right, bottom = part
            out[top - y1 : bottom - y1, left - x1 : right - x1] = self._halve(part, keep)
        return out

    def _halve(self, window: Window, keep: bool) -> NDArray[np.uint8]:
        x1, y1, x2, y2 = window
        below_height, below_width = self._below.shape[:2]
        finer = (2 * x1, 2 * y1, min(2 * x2, below_width), min(2 * y2, below_height))
        picture = Image.fromarray(np.ascontiguousarray(self._below.read(finer, keep)))
        if picture.size == (2 * (x2 - x1), 2 * (y2 - y1)):
            return np.asarray(picture.reduce(2))
        return np.asarray(picture.resize((x2 - x1, y2 - y1), Image.Resampling.BOX))


def display_levels(
    source: Source, small: int = SMALL, cached: int = CACHED, block: int = BLOCK
) -> list[DisplayLevel]:
    """Native levels, each strictly smaller than the last, and halved ones down to ``small``.

    Parameters
    ----------
    source : Source
    small : int
        Most pixels of the last level.
    cached : int
        Pixels up to which a halved level is computed once and stays in memory.
    block : int
        Side of squares of the area in which a halved level is computed, px: what bounds memory.
    """
    levels: list[DisplayLevel] = []
    for index, (width, height) in enumerate(source.level_sizes):
        if not levels or (width < levels[-1].shape[1] and height < levels[-1].shape[0]):
            levels.append(_NativeLevel(source, index))
    while levels[-1].shape[0] * levels[-1].shape[1] > small and min(levels[-1].shape[:2]) > 1:
        levels.append(_HalvedLevel(levels[-1], cached, block))
    return levels


def _parts(key: Any) -> tuple[Any, Any, Any]:
    """A key as its three parts: rows, columns, channels."""
    parts = key if isinstance(key, tuple) else (key,)
    dots = [i for i, part in enumerate(parts) if part is Ellipsis]
    if len(parts) - len(dots) > 3 or len(dots) > 1:
        raise IndexError(f"a level has three axes (rows, columns, channels), not {len(parts)}")
    at = dots[0] if dots else len(parts)
    before, after = parts[:at], parts[at + 1 :]
    middle = [slice(None)] * (3 - len(before) - len(after))
    whole: tuple[Any, ...] = (*before, *middle, *after)
    y, x, channel = whole
    return y, x, channel


def _range(part: Any, length: int) -> range:
    if isinstance(part, slice):
        return range(*part.indices(length))
    index = operator.index(part)
    if not -length <= index < length:
        raise IndexError(f"index {index} is outside {length} pixels")
    return range(index % length, index % length + 1)


def _ends(chosen: range) -> tuple[int, int]:
    """First and one past the last pixel that a range meets, whichever way it runs."""
    return min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1
