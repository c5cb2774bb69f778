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

from napari_pathreason.errors import SlideError

from ._source import Decoded, Window, over_white, white

CLOSED = "the slide was closed; open it again"
THREADS = min(8, os.cpu_count() or 1)
FEW = 4  # tiles that are decoded sooner than handed to threads
BLOCK = 4_194_304  # pixels of the largest strip or tile that is decoded for a part of it


def is_plain(page: Any) -> bool:
    """Whether a tifffile page is 8-bit RGB or grey, in tiles or small strips."""
    import tifffile

    width, length = _grid(page)
    colours = {
        1: (tifffile.PHOTOMETRIC.MINISBLACK,),
        3: (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR),
        4: (tifffile.PHOTOMETRIC.RGB,),
    }
    return bool(
        page.dtype == np.uint8
        and page.photometric in colours.get(page.samplesperpixel, ())
        and (page.planarconfig == 1 or page.samplesperpixel == 1)
        and page.imagedepth == 1
        and 0 < width * length <= BLOCK
    )


def _grid(page: Any) -> tuple[int, int]:
    """(width, height) of a tile or strip."""
    if page.is_tiled:
        return int(page.tilewidth), int(page.tilelength)
    return int(page.imagewidth), min(int(page.rowsperstrip), int(page.imagelength))


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
        self._decoders = tuple(page.decode for page in pages)  # first access is not thread-safe
        self._grids = tuple(_grid(page) for page in pages)
        self._sizes = tuple((int(page.imagewidth), int(page.imagelength)) for page in pages)
        self._file = _PositionedFile(path)
        self._pool = ThreadPoolExecutor(THREADS, "tiles") if THREADS > 1 else None

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return self._sizes

    @property
    def chunk(self) -> tuple[int, int]:
        """See `Source.chunk`."""
        return self._grids[0]

    def read(self, level: int, window: Window) -> Decoded:
        """See `Source.read`."""
        width, length = self._grids[level]
        x1, y1, x2, y2 = window
        columns = -(-self._sizes[level][0] // width)
        tiles = [
            (row * columns + column, column * width, row * length)
            for row in range(y1 // length, -(-y2 // length))
            for column in range(x1 // width, -(-x2 // width))
        ]
        decoded = len(tiles) * width * length
        if len(tiles) == 1:  # no canvas, no copy of a whole tile
            index, left, top = tiles[0]
            alone = self._tile(level, index)
            if alone is not None:
                part = alone[y1 - top : y2 - top, x1 - left : x2 - left]
                if part.shape[:2] == (y2 - y1, x2 - x1):
                    return Decoded(np.ascontiguousarray(part), decoded)
        out = np.empty((y2 - y1, x2 - x1, 3), np.uint8)

        def place(tile: tuple[int, int, int]) -> int:
            index, left, top = tile
            xa, xb = max(left, x1), min(left + width, x2)
            ya, yb = max(top, y1), min(top + length, y2)
            target = out[ya - y1 : yb - y1, xa - x1 : xb - x1]
            pixels = self._tile(level, index)
            if pixels is None:
                target[:] = 255
                return (xb - xa) * (yb - ya)
            part = pixels[ya - top : yb - top, xa - left : xb - left]
            if part.shape != target.shape:
                target[:] = 255
            target[: part.shape[0], : part.shape[1]] = part
            return int((xb - xa) * (yb - ya) - part.shape[0] * part.shape[1])

        if self._pool is None or len(tiles) < FEW:
            return Decoded(out, decoded, sum(map(place, tiles)))
        try:
            return Decoded(out, decoded, sum(self._pool.map(place, tiles)))
        except RuntimeError:  # no new work after `close`
            raise SlideError(CLOSED) from None

    def close(self) -> None:
        """See `Source.close`."""
        self._file.close()
        self._tiff.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False)

    def _tile(self, level: int, index: int) -> NDArray[np.uint8] | None:
        """Decoded tile (height, width, 3); white where the file has none, None if damaged."""
        page, decode = self._pages[level], self._decoders[level]
        if index >= len(page.dataoffsets):
            return None
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if count == 0:
            return white(*self._grids[level])
        data = self._file.read(count, offset)
        if len(data) < count:
            return None
        tables = page.jpegtables  # both are None where the file has none
        try:
            decoded = decode(data, index, jpegtables=tables, jpegheader=page.jpegheader)[0]
        except Exception:  # codecs raise whatever they like; a damaged tile is not fatal
            return None
        if decoded is None:
            return None
        tile = decoded[0]
        if tile.shape[2] == 4:
            return over_white(tile) if page.extrasamples[:1] != (0,) else tile[..., :3]
        return np.broadcast_to(tile, (*tile.shape[:2], 3)) if tile.shape[2] == 1 else tile


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
            raise SlideError(CLOSED) from None
        except OSError:
            return b""

    def close(self) -> None:
        self._file.close()
