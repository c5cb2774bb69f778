"""TIFF in its many layouts: SVS, OME-TIFF, NDPI, SCN, BIF, generic, tiled or flat.

`TiffSource` reads what is plain (8-bit RGB or grey in tiles or small strips), only the native tiles
that are met. Each tile is one positioned read and one decode, in threads; no lock is held while
decoding. This is several times faster than slicing through a chunk store (benchmarks/slides.py).
What is not plain goes through tiffslide's own reader, slower but for every layout that it knows, or
is read whole where it is one flat picture.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

from ._cache import TileCache
from ._flat import HELP, LazyPicture
from ._mpp import Mpp, mpp_of_aperio, mpp_of_ome, mpp_of_tiffslide
from ._source import ArraySource, Decoded, Source, Window, over_white, white

CLOSED = "the slide was closed; open it again"
THREADS = min(8, os.cpu_count() or 1)  # that decode, the caller's own included
FEW = 16  # tiles that are decoded sooner than handed to threads, which costs some of their time
BLOCK = 4_194_304  # pixels of the largest strip or tile that is decoded for a part of it
DAMAGED = np.empty((0, 0, 3), np.uint8)  # in place of a tile that cannot be decoded
WHITE_IS_ZERO, PALETTE, INKS = 0, 3, 5  # values of the PhotometricInterpretation tag

T = TypeVar("T")
R = TypeVar("R")


def open_tiff(path: Path, cache: int) -> tuple[Source, Mpp]:
    """The source that reads a TIFF, and the scale that the file states.

    Decoded tiles of up to ``cache`` bytes stay for the next read.

    Raises
    ------
    SlideError
        If it is no image, a stack, or holds inks.
    """
    import tifffile

    with ExitStack() as files:  # closes what no source takes over
        try:
            tiff = files.enter_context(tifffile.TiffFile(path))
            levels = list(tiff.series[0].levels)
        except Exception:  # tifffile raises many kinds for what is no TIFF
            raise SlideError(f"{path.name} cannot be read as an image; {HELP}") from None
        pages = [level.keyframe for level in levels if len(level.pages) == 1]
        plain = len(pages) == len(levels) and all(_is_plain(page) for page in pages)
        mpp = mpp_of_ome(tiff.ome_metadata) or mpp_of_aperio(tiff)
        if plain and mpp is not None:  # tiffslide knows no more, and takes long to import
            files.pop_all()
            return TiffSource(path, tiff, pages, cache), mpp
        slide, sizes, mpp_of_vendor = _vendor_view(path, files)
        mpp = mpp or mpp_of_vendor
        if plain and sizes in (None, [(page.imagewidth, page.imagelength) for page in pages]):
            if slide is not None:
                slide.close()
            files.pop_all()
            return TiffSource(path, tiff, pages, cache), mpp
        # untiled, and no pyramid: one picture that has to be decoded whole anyway
        if slide is None or sizes is None or (len(sizes) == 1 and not levels[0].keyframe.is_tiled):
            return ArraySource([_flat_picture(path)]), mpp
        arrays = ArraySource(
            [_TiffSlideLevel(slide, level) for level in range(len(sizes))], slide.close
        )
        tiff.close()
        files.pop_all()
        return arrays, mpp


def _vendor_view(path: Path, files: ExitStack) -> tuple[Any, list[tuple[int, int]] | None, Mpp]:
    """What tiffslide knows of a file: the open slide, the sizes of its levels, its mpp."""
    from tiffslide import TiffSlide

    with ExitStack() as own:
        try:
            slide = own.enter_context(closing(TiffSlide(path)))
            sizes = [(int(width), int(height)) for width, height in slide.level_dimensions]
            mpp = mpp_of_tiffslide(slide)
        except Exception:  # tiffslide raises many kinds for what it does not know
            return None, None, None
        files.push(own.pop_all())
        return slide, sizes, mpp


def _is_plain(page: Any) -> bool:
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
        One a level, level 0 first, each plain.
    cache : int
        Bytes of decoded tiles to keep.
    """

    def __init__(self, path: Path, tiff: Any, pages: Sequence[Any], cache: int) -> None:
        self._tiff = tiff
        self._pages = tuple(pages)
        self._decoders = tuple(page.decode for page in pages)  # first access is not thread-safe
        self._grids = tuple(_grid(page) for page in pages)
        self._sizes = tuple((int(page.imagewidth), int(page.imagelength)) for page in pages)
        self._file = _PositionedFile(path)
        self._pool = ThreadPoolExecutor(THREADS, "tiles")
        self._idle = Semaphore(THREADS - 1)  # helpers of a caller, who works too
        self._cache = TileCache(cache)

    notes = ()
    """See `Source.notes`."""

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return self._sizes

    @property
    def tile_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.tile_sizes`."""
        return self._grids

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
            alone = white(x2 - x1, y2 - y1)
            alone[: part.shape[0], : part.shape[1]] = part
            return Decoded(alone, decoded, alone[..., 0].size - part[..., 0].size)
        out = np.empty((y2 - y1, x2 - x1, 3), np.uint8)

        def place(tile: tuple[int, int, int]) -> tuple[int, int]:
            index, left, top = tile
            xa, xb = max(left, x1), min(left + width, x2)
            ya, yb = max(top, y1), min(top + length, y2)
            target = out[ya - y1 : yb - y1, xa - x1 : xb - x1]
            pixels, decoded = self._tile(level, index, keep)
            part = pixels[ya - top : yb - top, xa - left : xb - left]
            if part.shape != target.shape:
                target[:] = 255
            target[: part.shape[0], : part.shape[1]] = part
            return decoded, (xb - xa) * (yb - ya) - part.shape[0] * part.shape[1]

        counts = self.each(place, tiles) if len(tiles) >= FEW else list(map(place, tiles))
        return Decoded(out, sum(each[0] for each in counts), sum(each[1] for each in counts))

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
        self._file.close()
        self._tiff.close()
        self._cache.close()
        self._pool.shutdown(wait=False)

    def _tile(self, level: int, index: int, keep: bool) -> tuple[NDArray[np.uint8], int]:
        """Tile (height, width, 3), and how many pixels were decoded for it now.

        White where the file has none, empty where it is damaged.
        """
        known = self._cache.get((level, index))
        if known is not None:
            return known, 0
        page = self._pages[level]
        width, length = self._grids[level]
        if index >= len(page.dataoffsets):
            return DAMAGED, 0
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if count == 0:
            return white(width, length), 0
        data = self._file.read(count, offset)
        if len(data) < count:
            return DAMAGED, 0
        if not page.is_tiled:  # the last strip ends with the level
            length = min(length, self._sizes[level][1] - index * length)
        tables = page.jpegtables  # both are None where the file has none
        try:
            decoded = self._decoders[level](
                data, index, jpegtables=tables, jpegheader=page.jpegheader
            )[0]
        except Exception:  # codecs raise whatever they like; a damaged tile is not fatal
            decoded = None
        if decoded is None:
            return DAMAGED, width * length
        tile = decoded[0]
        if tile.shape[2] == 4:
            tile = over_white(tile) if page.extrasamples[:1] != (0,) else tile[..., :3].copy()
        elif tile.shape[2] == 1:
            tile = np.broadcast_to(tile, (*tile.shape[:2], 3))
        if keep:
            self._cache.put((level, index), tile)
        return tile, width * length


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


class _TiffSlideLevel:
    """One level of a tiffslide slide as an array-like (height, width, channels).

    Slower than `TiffSource`, but for every layout that tiffslide knows.

    Parameters
    ----------
    slide : tiffslide.TiffSlide
        Open; stays the caller's.
    level : int
    """

    def __init__(self, slide: Any, level: int) -> None:
        self._slide, self._level = slide, level
        series = slide.ts_tifffile.series[slide.properties.get("tiffslide.series-index", 0)]
        self._page = series.keyframe
        _refuse_inks(self._page.photometric, "the slide")
        axes = str(slide.properties["tiffslide.series-axes"])
        channels = dict(zip(series.axes, series.shape, strict=True)).get(
            {"YXS": "S", "CYX": "C"}.get(axes, ""), 1
        )
        if axes not in ("YXS", "CYX", "YX"):
            raise SlideError(f"the slide is a stack ({axes}); save one plane of it")
        width, height = slide.level_dimensions[level]
        palette = self._page.photometric == PALETTE
        self.shape = (height, width, 3 if palette else channels)
        self.dtype = np.dtype(self._page.dtype)

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = (range(*k.indices(n)) for k, n in zip(key, self.shape[:2], strict=True))
        if not rows or not columns:
            return np.empty((len(rows), len(columns), self.shape[2]), self.dtype)
        zoom = self._slide.level_downsamples[self._level]
        # tiffslide divides by the zoom and cuts off, so that a ceiling comes back exact
        corner = (math.ceil(columns[0] * zoom), math.ceil(rows[0] * zoom))
        size = (columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])
        try:
            pixels = self._slide.read_region(corner, self._level, size, as_array=True)
        except Exception as error:  # codecs raise whatever they like
            raise OSError("a part of the slide is damaged") from error
        return _to_colours(pixels, self._page)[:: rows.step, :: columns.step]


def _flat_picture(path: Path) -> LazyPicture:
    """First picture of a TIFF; its tags are checked, the pixels are decoded at the first slice.

    Raises
    ------
    SlideError
        If it is a stack, or holds inks; when sliced, if it is cut off.
    """
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        axes, shape, dtype = str(series.axes), tuple(series.shape), series.dtype
        photometric = series.keyframe.photometric
    _refuse_inks(photometric, path.name)
    sizes = dict(zip(axes, shape, strict=True))
    axes_left = [axis for axis in axes if axis in "YX" or (axis in "SC" and sizes[axis] > 1)]
    order = [axis for axis in "YXSC" if axis in axes_left]
    if (
        {"Y", "X"} - set(axes)
        or len(order) > 3
        or any(size != 1 for axis, size in sizes.items() if axis not in axes_left)
    ):
        raise SlideError(f"{path.name} is a stack ({axes} {shape}); save one plane of it")

    def load() -> NDArray[Any]:
        try:
            with tifffile.TiffFile(path) as tiff:
                pixels = tiff.series[0].asarray()
                picture = pixels[tuple(slice(None) if axis in axes_left else 0 for axis in axes)]
                picture = np.transpose(picture, [axes_left.index(axis) for axis in order])
                return _to_colours(picture, tiff.series[0].keyframe)
        except Exception:  # codecs raise whatever they like
            raise SlideError(f"{path.name} is cut off or damaged; copy the file again") from None

    final = tuple(sizes[axis] for axis in order)
    return LazyPicture((*final, 3) if photometric == PALETTE else final, dtype, load)


def _to_colours(pixels: NDArray[Any], page: Any) -> NDArray[Any]:
    """Pixels of a tifffile page as grey or RGB: palettes looked up, inverted grey turned.

    Palette pixels (H, W) become uint8 (H, W, 3); all others keep shape and type.
    """
    if page.photometric == PALETTE:
        table = (np.asarray(page.colormap) >> 8).astype(np.uint8).T
        colours: NDArray[Any] = table[pixels[..., 0] if pixels.ndim == 3 else pixels]
        return colours
    if page.photometric == WHITE_IS_ZERO and pixels.dtype.kind == "u":
        turned: NDArray[Any] = np.iinfo(pixels.dtype).max - pixels
        return turned
    return pixels


def _refuse_inks(photometric: int, name: str) -> None:
    """Refuse CMYK, whose colours need the printer's profile."""
    if photometric == INKS:
        raise SlideError(f"{name} holds printing inks (CMYK); save it as RGB")
