"""Tiled TIFF pyramids (SVS, OME-TIFF, generic, SCN, NDPI): only the native tiles that are met.

Each tile is one positioned read and one decode, in threads; no lock is held while decoding. This
is several times faster than slicing through a chunk store (benchmarks/slides.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason._errors import SlideError

from ._source import Decoded, Window, white

THREADS = min(8, os.cpu_count() or 1)


def is_plain(page: Any) -> bool:
    """Whether a tifffile page is a tiled 8-bit RGB or grey picture that this source reads."""
    return bool(
        page.is_tiled
        and page.dtype == np.uint8
        and page.samplesperpixel in (1, 3, 4)
        and page.planarconfig == 1
        and page.imagedepth == 1
    )


class TiffSource:
    """A pyramid of tifffile pages.

    Parameters
    ----------
    path : Path
    tiff : tifffile.TiffFile
        Open; closed with this source.
    pages : sequence of tifffile.TiffPage
        One a level, level 0 first, each `is_plain`.
    """

    def __init__(self, path: Path, tiff: Any, pages: Sequence[Any]) -> None:
        self._tiff = tiff
        self._pages = tuple(pages)
        self._file = _PositionedFile(path)
        self._pool = ThreadPoolExecutor(THREADS, "tiles") if THREADS > 1 else None

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return tuple((page.imagewidth, page.imagelength) for page in self._pages)

    @property
    def chunk(self) -> tuple[int, int]:
        """See `Source.chunk`."""
        return self._pages[0].tilewidth, self._pages[0].tilelength

    def read(self, level: int, window: Window) -> Decoded:
        """See `Source.read`."""
        page = self._pages[level]
        x1, y1, x2, y2 = window
        width, length = int(page.tilewidth), int(page.tilelength)
        columns = -(-int(page.imagewidth) // width)
        tiles = [
            (row * columns + column, column * width, row * length)
            for row in range(y1 // length, -(-y2 // length))
            for column in range(x1 // width, -(-x2 // width))
        ]
        out = white(x2 - x1, y2 - y1)

        def place(tile: tuple[int, int, int]) -> int:
            index, left, top = tile
            xa, xb = max(left, x1), min(left + width, x2)
            ya, yb = max(top, y1), min(top + length, y2)
            pixels = self._tile(page, index)
            if pixels is None:
                return (xb - xa) * (yb - ya)
            part = pixels[ya - top : yb - top, xa - left : xb - left]
            out[ya - y1 : ya - y1 + part.shape[0], xa - x1 : xa - x1 + part.shape[1]] = part
            return int((xb - xa) * (yb - ya) - part.shape[0] * part.shape[1])

        alone = self._pool is None or len(tiles) == 1
        lost = map(place, tiles) if alone or self._pool is None else self._pool.map(place, tiles)
        return Decoded(out, len(tiles) * width * length, sum(lost))

    def close(self) -> None:
        """See `Source.close`."""
        self._file.close()
        self._tiff.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False)

    def _tile(self, page: Any, index: int) -> NDArray[np.uint8] | None:
        """Decoded tile (height, width, 3); white where the file has none, None if damaged."""
        if index >= len(page.dataoffsets):
            return None
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if count == 0:
            return white(page.tilewidth, page.tilelength)
        data = self._file.read(count, offset)
        if len(data) < count:
            return None
        try:
            decoded = page.decode(data, index, jpegtables=page.jpegtables)[0]
        except Exception:  # codecs raise whatever they like; a damaged tile is not fatal
            return None
        if decoded is None:
            return None
        tile = decoded[0]
        return np.broadcast_to(tile, (*tile.shape[:2], 3)) if tile.shape[2] == 1 else tile[..., :3]


class _PositionedFile:
    """Reads at an offset from several threads; `os.pread` where the system has it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._lock = Lock()

    def read(self, count: int, offset: int) -> bytes:
        try:
            if hasattr(os, "pread"):
                return os.pread(self._file.fileno(), count, offset)
            with self._lock:
                self._file.seek(offset)
                return self._file.read(count) or b""
        except ValueError:
            raise SlideError("the slide was closed; open it again") from None
        except OSError:
            return b""

    def close(self) -> None:
        self._file.close()
