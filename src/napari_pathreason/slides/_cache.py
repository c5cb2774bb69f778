"""What was decoded lately stays for the next read: native tiles, up to so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import numpy as np
from numpy.typing import NDArray

CACHE = 64 * 2**20
"""Bytes of decoded tiles that an open slide keeps.

Twice a screen of 4K (3840 x 2160 px are 25 MB), so that a step of the viewer decodes the new margin
alone; and a region of 4,032 px read from level 0 (49 MB), so that its windows decode nothing again.
"""

Key = tuple[int, int]
"""Level and index of a tile on it."""


def worth_keeping(window: tuple[int, int, int, int]) -> bool:
    """Whether all of a window fits; of a larger one the first tiles would be gone at its end."""
    x1, y1, x2, y2 = window
    return 3 * (x2 - x1) * (y2 - y1) <= CACHE


class TileCache:
    """Decoded tiles, the ones used last; for several threads at once.

    Parameters
    ----------
    limit : int
        Bytes of pixels; 0 keeps nothing.
    """

    def __init__(self, limit: int = CACHE) -> None:
        self.limit = limit
        self._tiles: OrderedDict[Key, NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: Key) -> NDArray[np.uint8] | None:
        """Tile uint8 (height, width, 3), which nobody may change; None if it is not kept."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: Key, tile: NDArray[np.uint8]) -> None:
        """Keep a tile, in place of those that were not used for longest."""
        with self._lock:
            if key in self._tiles or tile.nbytes > self.limit:
                return
            self._tiles[key] = tile
            self._bytes += tile.nbytes
            while self._bytes > self.limit:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes

    def close(self) -> None:
        """Let all tiles go, and keep none from now on."""
        with self._lock:
            self.limit = 0
            self._tiles.clear()
            self._bytes = 0
