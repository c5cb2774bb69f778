"""A pyramid of TIFF pages, read by native tiles.

Each tile is one positioned read and one decode, in threads; no lock is held while decoding. This is
several times faster than slicing through a chunk store (benchmarks/slides.py), and what cannot be
read is known tile by tile, whatever the type of the pixels.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

from . import _limits as limits
from ._cache import TileCache
from ._colour import Colours, Look
from ._cut import is_cut
from ._declared import declared_size
from ._files import CLOSED, PositionedFile, patient
from ._jpeg import strict_decoder
from ._left_out import EDGE, is_shown_coarser, scaled
from ._page_colour import JPEG_2000
from ._source import SAMPLE, Decoded, Window

THREADS = min(8, os.cpu_count() or 1)  # that decode, the caller's own included
FEW = 16  # tiles that are decoded sooner than handed to threads, which costs some of their time
ORIENTATION = 274  # a tag
UNPACKED = 1  # a compression
HEADER = 8  # bytes of a file that belong to no tile
DAMAGED = np.empty((0, 0, 3), np.uint8)  # in place of a tile that cannot be decoded

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Level:
    """Pages of one level: one that holds all channels, or one for each channel.

    Parameters
    ----------
    page : tifffile.TiffPage
        Whose tags hold for all.
    pages : tuple of tifffile.TiffPage or TiffFrame
        Of one size, with the same tiles.
    """

    page: Any
    pages: tuple[Any, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return int(self.page.imagewidth), int(self.page.imagelength)

    @property
    def grid(self) -> tuple[int, int]:
        """(width, height) of a tile or strip."""
        return grid_of(self.page)

    @property
    def planes(self) -> int:
        """Tiles that lie apart for one tile of all samples of a page."""
        return int(self.page.samplesperpixel) if int(self.page.planarconfig) == 2 else 1

    @property
    def tiles(self) -> int:
        """Tiles of the level, each with all channels."""
        (width, height), (across, down) = self.size, self.grid
        return -(-width // across) * -(-height // down)


def grid_of(page: Any) -> tuple[int, int]:
    """(width, height) of a tile or strip of a tifffile page."""
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
    levels : sequence of Level
        Level 0 first.
    colours : Colours
        What their numbers mean.
    cache : int
        Bytes of decoded tiles to keep.
    notes : tuple of str
        Of how it was opened.
    """

    def __init__(
        self,
        path: Path,
        tiff: Any,
        levels: Sequence[Level],
        colours: Colours,
        cache: int,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._tiff = tiff
        self._levels = tuple(levels)
        # first access is not thread-safe
        self._decoders = tuple(
            tuple(_decoder(level.page, page) for page in level.pages) for level in levels
        )
        self._grids = tuple(level.grid for level in levels)
        self._sizes = tuple(level.size for level in levels)
        self._look = Look(colours)
        self._notes = notes
        self._files = {str(path): PositionedFile(path)}
        self._main = self._files[str(path)]
        for level in levels:  # pages of a set lie in several files
            for page in level.pages:
                other = str(page.parent.filehandle.path)
                if page.parent is not tiff and other not in self._files:
                    self._files[other] = PositionedFile(Path(other))
        self._pool = ThreadPoolExecutor(THREADS, "tiles")
        self._opening = True
        self._idle = Semaphore(THREADS - 1)  # helpers of a caller, who works too
        self._cache = TileCache(cache)

    @property
    def _colours(self) -> Colours:
        return self._look.colours

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source.notes`."""
        return (*self._notes, *self._colours.all_notes())

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels as they are read."""
        return self._levels

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return self._sizes

    @property
    def tile_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.tile_sizes`."""
        return self._grids

    @property
    def is_packed(self) -> bool:
        """Whether a codec is needed for its tiles."""
        return int(self._levels[0].page.compression) != UNPACKED

    @property
    def is_plain(self) -> bool:
        """Whether its pixels are 8-bit RGB or grey as they lie there, which all readers give."""
        colours = self._colours
        return (
            colours.kind in ("rgb", "grey")
            and len(self._levels[0].pages) == 1
            and int(self._levels[0].page.samplesperpixel) in (1, 3)
            and self._levels[0].page.tags.valueof(ORIENTATION, 1) == 1
            and colours.alpha == "none"
            and not colours.needs_range
        )

    def busiest(self, level: int) -> Window | None:
        """Where the tile of a level with the most bytes lies, which shows more than glass.

        None for no tile.
        """
        counts = np.asarray(self._levels[level].pages[0].databytecounts)
        counts = counts[: self._levels[level].tiles]
        if not counts.size or counts.max() <= 0:
            return None
        width, length = self._grids[level]
        y, x = divmod(int(np.argmax(counts)), -(-self._sizes[level][0] // width))
        return x * width, y * length, (x + 1) * width, (y + 1) * length

    def add_notes(self, *notes: str) -> None:
        """Say more of how it was opened."""
        self._notes = (*notes, *self._notes)

    def keep_levels(self, levels: Sequence[int]) -> None:
        """Forget levels that do not belong; only while nobody reads."""
        self._levels = tuple(self._levels[i] for i in levels)
        self._decoders = tuple(self._decoders[i] for i in levels)
        self._grids = tuple(self._grids[i] for i in levels)
        self._sizes = tuple(self._sizes[i] for i in levels)

    def opened(self) -> None:
        """End the checks at opening, which read through tifffile's handle and keep nothing."""
        self._opening = False
        self._cache = TileCache(self._cache.limit)

    def lies_beyond(self) -> int:
        """Tiles of level 0 of which a part lies beyond the end of the file: it was cut off."""
        page, size = self._levels[0].pages[0], self._main.size
        if page.parent is not self._tiff:
            return 0
        offsets = np.asarray(page.dataoffsets, np.float64)
        counts = np.asarray(page.databytecounts, np.float64)[: len(offsets)]
        return int(((offsets[: len(counts)] + counts > size) & (counts > 0)).sum())

    def is_there(self, level: int, index: int) -> bool:
        """Whether the file holds bytes for a tile."""
        counts = self._levels[level].pages[0].databytecounts
        return index < len(counts) and counts[index] > 0

    def read(self, level: int, window: Window, keep: bool = True) -> Decoded:
        """See `Source.read`."""
        width, length = self._grids[level]
        x1, y1, x2, y2 = window
        columns = -(-self._sizes[level][0] // width)
        tiles = [
            (row * columns + column, column * width, row * length)
            for row in range(y1 // length, -(-y2 // length))
            for column in range(x1 // width, -(-x2 // width))
        ]
        keep = keep and self._cache.limit > 0
        if len(tiles) == 1 and not keep:  # a new tile is handed out, not copied
            index, left, top = tiles[0]
            pixels, decoded = self._tile(level, index, keep)
            part = pixels[y1 - top : y2 - top, x1 - left : x2 - left]
            if decoded and part.shape[:2] == (y2 - y1, x2 - x1):
                return Decoded(np.ascontiguousarray(part), decoded)
            alone = self._blank(x2 - x1, y2 - y1)
            alone[: part.shape[0], : part.shape[1]] = part
            lost = () if part.shape[:2] == alone.shape[:2] else (window,)
            return Decoded(alone, decoded, alone[..., 0].size - part[..., 0].size, lost)
        out = np.empty((y2 - y1, x2 - x1, 3), np.uint8)

        def place(tile: tuple[int, int, int]) -> tuple[int, int, Window | None]:
            index, left, top = tile
            xa, xb = max(left, x1), min(left + width, x2)
            ya, yb = max(top, y1), min(top + length, y2)
            target = out[ya - y1 : yb - y1, xa - x1 : xb - x1]
            pixels, decoded = self._tile(level, index, keep)
            part = pixels[ya - top : yb - top, xa - left : xb - left]
            whole = part.shape == target.shape
            if not whole:
                target[:] = self._look.ground(self._sample)
            target[: part.shape[0], : part.shape[1]] = part
            missing = (xb - xa) * (yb - ya) - part.shape[0] * part.shape[1]
            return decoded, missing, None if whole else (xa, ya, xb, yb)

        counts = self.each(place, tiles) if len(tiles) >= FEW else list(map(place, tiles))
        return Decoded(
            out,
            sum(each[0] for each in counts),
            sum(each[1] for each in counts),
            tuple(each[2] for each in counts if each[2] is not None),
        )

    def each(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """See `Source.each`; in the caller's thread and in those that are free."""
        left = deque(enumerate(parts))
        done: dict[int, R] = {}

        def go_on() -> None:
            while left:
                try:
                    index, part = left.popleft()
                except IndexError:  # another thread was first
                    return
                done[index] = work(part)

        def help_out() -> None:
            try:
                go_on()
            finally:
                self._idle.release()

        helpers: list[Future[None]] = []
        # no queue: what waits there would hold its pixels until the caller's own work is done
        while len(helpers) < len(parts) - 1 and self._idle.acquire(blocking=False):
            try:
                helpers.append(self._pool.submit(help_out))
            except RuntimeError:  # no new work after `close`
                self._idle.release()
                raise SlideError(CLOSED) from None
        go_on()
        for helper in helpers:
            helper.result()
        return [done[index] for index in range(len(parts))]

    def close(self) -> None:
        """See `Source.close`."""
        for file in self._files.values():
            file.close()
        self._tiff.close()
        self._cache.close()
        self._pool.shutdown(wait=False)

    def _blank(self, width: int, height: int) -> NDArray[np.uint8]:
        return np.full((height, width, 3), self._look.ground(self._sample), np.uint8)

    def _sample(self) -> NDArray[Any]:
        """Values (n, 1, channels) of tiles spread over the coarsest level, about `SAMPLE`."""
        for level in reversed(range(len(self._levels))):
            width, length = self._grids[level]
            tiles = self._levels[level].tiles
            count = min(tiles, max(1, SAMPLE // (width * length)), 64)
            picked = {round(i * (tiles - 1) / max(1, count - 1)) for i in range(count)}
            parts = [self._decoded(level, index) for index in sorted(picked)]
            # beyond the edge of the picture, tiles hold whatever their writer had there
            cut = [
                self._inside(level, index, part)
                for index, part in zip(sorted(picked), parts, strict=True)
                if part is not None and part.size
            ]
            if cut:
                flat = np.concatenate([part.reshape(-1, part.shape[2]) for part in cut])
                return flat[:: max(1, len(flat) // (4 * SAMPLE)), None]
        return np.zeros((1, 1, self._channels()), self._colours.dtype)

    def _window(self, level: int, index: int) -> Window:
        """Where a tile lies, inside its level."""
        (width, length), (across, down) = self._grids[level], self._sizes[level]
        columns = -(-across // width)
        left, top = index % columns * width, index // columns * length
        return left, top, min(left + width, across), min(top + length, down)

    def _inside(self, level: int, index: int, tile: NDArray[Any]) -> NDArray[Any]:
        left, top, right, bottom = self._window(level, index)
        return tile[: bottom - top, : right - left]

    def _channels(self) -> int:
        level = self._levels[0]
        return len(level.pages) * int(level.page.samplesperpixel)

    def _tile(self, level: int, index: int, keep: bool) -> tuple[NDArray[np.uint8], int]:
        """Tile (height, width, 3), and how many pixels were decoded for it now.

        Background where the file leaves it out, empty where it is damaged.
        """
        known = self._cache.get((level, index))
        if known is not None:
            return known, 0
        width, length = self._grids[level]
        if not self._levels[level].page.is_tiled:  # the last strip ends with the level
            length = min(length, self._sizes[level][1] - index * length)
        bounds = self._look.range_of(self._sample)
        values = self._decoded(level, index)
        if values is None:
            return DAMAGED, width * length
        if not values.size:
            if level and self._is_elsewhere(level, index):
                return DAMAGED, 0
            if is_shown_coarser(self, level, self._window(level, index)):
                return DAMAGED, 0
            return self._blank(width, length), 0
        tile = self._colours.to_rgb(values, bounds)
        if keep:
            self._cache.put((level, index), tile)
        return tile, width * length

    def _is_elsewhere(self, level: int, index: int) -> bool:
        """Whether level 0 holds anything where a coarse level leaves a tile out: then it was lost.

        A writer that leaves the background out does so on all levels.
        """
        across, down = self._sizes[level]
        left, top, right, bottom = self._window(level, index)
        zoom = self._sizes[0][0] / across, self._sizes[0][1] / down
        fine, fine_columns = self._grids[0], -(-self._sizes[0][0] // self._grids[0][0])
        x1, x2 = int((left + 1) * zoom[0]), int(right * zoom[0]) - 1
        y1, y2 = int((top + 1) * zoom[1]), int(bottom * zoom[1]) - 1
        return any(
            self.is_there(0, row * fine_columns + column)
            for row in range(y1 // fine[1], max(y1, y2) // fine[1] + 1)
            for column in range(x1 // fine[0], max(x1, x2) // fine[0] + 1)
        )

    def _decoded(self, level: int, index: int) -> NDArray[Any] | None:
        """Values (height, width, channels) of a tile; empty where left out, None where damaged."""
        one = self._levels[level]
        parts = []
        for page, decode in zip(one.pages, self._decoders[level], strict=True):
            for plane in range(one.planes):
                part = self._values(one, page, decode, index, index + plane * one.tiles)
                if part is None:
                    return None
                parts.append(part)
        there = [part for part in parts if part.size]
        if not there:
            return parts[0]
        if len({part.shape[:2] for part in there}) > 1:
            return None
        if len(there) < len(parts):
            if self._colours.kind != "channels":  # a colour of a picture is never left out alone
                return None
            gone = [number for number, part in enumerate(parts) if not part.size]
            if self._holds(level, index, gone):
                return None
            blank = np.zeros_like(there[0])
            parts = [part if part.size else blank for part in parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _holds(self, level: int, index: int, channels: Sequence[int]) -> bool:
        """Whether the next coarser level shows something of channels that leave a tile out."""
        if level + 1 >= len(self._levels):
            return False
        part = scaled(self, level, self._window(level, index), level + 1, EDGE)
        if part is None:
            return False
        x1, y1, x2, y2 = part
        width, length = self._grids[level + 1]
        columns = -(-self._sizes[level + 1][0] // width)
        for row in range(y1 // length, -(-y2 // length)):
            for column in range(x1 // width, -(-x2 // width)):
                values = self._decoded(level + 1, row * columns + column)
                if values is None or not values.size:
                    continue
                top, left = row * length, column * width
                inside = values[max(0, y1 - top) : y2 - top, max(0, x1 - left) : x2 - left]
                if inside.size and bool((inside[..., list(channels)] > 0).any()):
                    return True
        return False

    def _values(
        self, level: Level, page: Any, decode: Callable[..., Any], index: int, at: int
    ) -> NDArray[Any] | None:
        if at >= len(page.dataoffsets) or at >= len(page.databytecounts):
            return None
        offset, count = page.dataoffsets[at], page.databytecounts[at]
        if count == 0:
            return np.empty((0, 0, 1), np.uint8)
        if count > limits.TILE_BYTES or offset < HEADER:
            return None
        other = page.parent is not self._tiff
        file = self._files[str(page.parent.filehandle.path)] if other else self._main
        glance = self._opening and not other
        data = self._glance(count, offset) if glance else file.read(count, offset)
        if len(data) < count:
            return None
        try:
            values: NDArray[Any] | None = decode(data, at)
        except Exception:  # codecs raise whatever they like; a damaged tile is not fatal
            return None
        if values is not None and not level.page.is_tiled:  # the last strip ends with the level
            top = index * level.grid[1]
            values = values[: level.size[1] - top]
        return values

    def _glance(self, count: int, offset: int) -> bytes:
        handle = self._tiff.filehandle
        if not 0 <= offset <= self._main.size:
            return b""

        def read() -> bytes:
            handle.seek(offset)
            data: bytes = handle.read(count)
            return data

        return patient(read, self._main.name)


def _decoder(key: Any, page: Any) -> Callable[[bytes, int], NDArray[Any] | None]:
    """Decoder of a page's tiles: bytes and index to values (height, width, samples).

    ``key`` is the page whose tags hold for it.
    """
    tile = grid_of(key)
    strict = strict_decoder(key, tile)
    # both are None where the file has none
    tables, header = (getattr(page, name, None) for name in ("jpegtables", "jpegheader"))
    if strict is not None:
        exact = strict

        def decode_jpeg(data: bytes, at: int) -> NDArray[Any] | None:
            return exact(data, tables, header)

        return decode_jpeg
    if int(key.compression) == UNPACKED:
        return _unpacked(key, tile)
    decode_any = key.decode
    if int(key.compression) in JPEG_2000:  # what its tags say of subsampling means nothing for it
        decode_any = _jpeg_2000

    def decode(data: bytes, at: int) -> NDArray[Any] | None:
        size = declared_size(data)
        if size is not None and (size[0] > tile[0] or size[1] > tile[1]):
            return None
        if is_cut(data):
            return None
        done = decode_any(data, at, jpegtables=tables, jpegheader=header)[0]
        values: NDArray[Any] | None = None if done is None else done[0]
        return values

    return decode


def _unpacked(key: Any, tile: tuple[int, int]) -> Callable[[bytes, int], NDArray[Any] | None]:
    """Decoder of tiles that are not packed: of more bytes than they need, the size is wrong.

    What is read from such tiles would be sheared, or of another type.
    """
    samples = int(key.samplesperpixel) if int(key.planarconfig) == 1 else 1
    bits = key.bitspersample
    each = sum(bits) if isinstance(bits, tuple) and samples > 1 else np.max(bits) * samples
    row = -(-tile[0] * int(each) // 8)
    alone = Level(key, (key,)).tiles == 1  # some writers state all of the file for the only one

    def decode(data: bytes, at: int) -> NDArray[Any] | None:
        if len(data) >= (tile[1] + 1) * row and not alone:
            return None
        done = key.decode(data, at)[0]
        values: NDArray[Any] | None = None if done is None else done[0]
        return values

    return decode


def _jpeg_2000(data: bytes, at: int, **_: Any) -> tuple[NDArray[Any]]:
    """Tile (1, height, width, samples), as tifffile gives others."""
    import imagecodecs

    values: NDArray[Any] = imagecodecs.jpeg2k_decode(data)
    return (values[None, ..., None] if values.ndim == 2 else values[None],)
