"""From a region to a picture of exact size: choice of level, window, antialiased resize."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.geometry import Region

from ._cache import worth_keeping
from ._source import Source, Window, blocks, white

REACH = {
    Image.Resampling.LANCZOS: 3.0,
    Image.Resampling.BILINEAR: 1.0,
    Image.Resampling.HAMMING: 1.0,
}
"""How far each kernel looks, in target pixels or, where it enlarges, in pixels of the level."""
SWITCH = 1.4  # shrinking by less: bilinear is nearest to the area average; by more: Hamming
GAP = 2  # whole pixels are averaged first where that much shrinking is left to the kernel
BAND = 128  # rows of the target that one thread computes at a time
BLOCK = 1_048_576  # pixels of the blocks in which they are, so that memory does not grow with them


@dataclass(frozen=True, slots=True)
class Resampled:
    """Result of `read_resampled`; counts are pixels of the level that was read."""

    pixels: NDArray[np.uint8]
    decoded: int
    unreadable: int
    wanted: int
    lost: tuple[Window, ...]


def choose_level(sizes: tuple[tuple[int, int], ...], region: Region, size: tuple[int, int]) -> int:
    """Coarsest level on which the region still has at least ``size`` pixels in both axes.

    Half a pixel may be missing: pyramids round their sizes.
    """
    width, height = sizes[0]
    best = 0
    for level, (level_width, level_height) in enumerate(sizes):
        across = region.width * level_width / width
        down = region.height * level_height / height
        if across >= size[0] - 0.5 and down >= size[1] - 0.5:
            best = level
    return best


def read_resampled(source: Source, region: Region, size: tuple[int, int]) -> tuple[int, Resampled]:
    """Level that was read, and the region at ``size`` (width, height).

    Only target pixels that touch the slide are computed; the others are white.
    """
    sizes = source.level_sizes
    level = choose_level(sizes, region, size)
    tile = source.tile_sizes[level]
    across = _axis(region.x, region.width, size[0], sizes[0][0], sizes[level][0])
    down = _axis(region.y, region.height, size[1], sizes[0][1], sizes[level][1])
    if across.exact and down.exact:
        window = (across.first, down.first, across.last, down.last)
        done = source.read(level, window, worth_keeping(window))
        pixels, decoded, lost, where = done.pixels, done.decoded, done.unreadable, done.lost
    else:
        kernel = _kernel(across.step, down.step)
        reach = REACH[kernel]
        across, down = across.wider(reach, tile[0]), down.wider(reach, tile[1])
        pixels, decoded, lost, where = _resize(source, level, across, down, kernel)
    wanted = (across.last - across.first) * (down.last - down.first)
    if pixels.shape[:2] != (size[1], size[0]):
        canvas = white(*size)
        canvas[down.start : down.stop, across.start : across.stop] = pixels
        pixels = canvas
    return level, Resampled(pixels, decoded, lost, wanted, where)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of a read: target pixels [start, stop), the level's [first, last), their map.

    Target pixel edge ``start`` lies at ``edge`` on the level, which is ``length`` long; one target
    pixel is ``step`` wide.
    """

    start: int
    stop: int
    first: int
    last: int
    edge: float
    step: float
    length: int

    @property
    def end(self) -> float:
        """Where the target's last edge lies on the level."""
        return self.edge + (self.stop - self.start) * self.step

    @property
    def exact(self) -> bool:
        """Whether target pixels are pixels of the level."""
        return abs(self.step - 1) < 1e-9 and abs(self.edge - round(self.edge)) < 1e-6

    @property
    def factor(self) -> int:
        """Pixels of the level that are averaged before the kernel sees them.

        A power of two, as sides of tiles are multiples of: no tile lies in two averages.
        """
        return 1 << max(0, math.floor(math.log2(self.step / GAP)))

    def wider(self, reach: float, tile: int) -> _Axis:
        """Let a kernel look beyond the region, but only into tiles that the region itself meets.

        It is not worth decoding another ring of tiles for.
        """
        margin = math.ceil(reach * max(1.0, self.step))
        first = max(self.first - margin, self.first // tile * tile)
        last = min(self.last + margin, -(-self.last // tile) * tile)
        first, last = first // self.factor * self.factor, -(-last // self.factor) * self.factor
        return replace(self, first=first, last=min(last, self.length))


def _kernel(across: float, down: float) -> Image.Resampling:
    """Kernel for a read whose pixels are ``across`` wide and ``down`` high on the level."""
    if min(across, down) < 1:
        return Image.Resampling.LANCZOS
    return Image.Resampling.BILINEAR if max(across, down) < SWITCH else Image.Resampling.HAMMING


def _axis(origin: int, extent: int, target: int, full: int, length: int) -> _Axis:
    """Plan of one axis; ``full`` and ``length`` are the slide's sizes on level 0 and the level."""
    zoom = length / full
    step, left = extent * zoom / target, origin * zoom
    start = max(0, math.floor(-left / step + 1e-9))
    stop = min(target, math.ceil((length - left) / step - 1e-9))
    stop = max(stop, start + 1)
    edge = left + start * step
    end = left + stop * step
    first = min(max(0, math.floor(edge + 1e-6)), length - 1)
    last = max(min(length, math.ceil(end - 1e-6)), 1)
    return _Axis(start, stop, first, last, edge, step, length)


def _resize(
    source: Source, level: int, across: _Axis, down: _Axis, kernel: Image.Resampling
) -> tuple[NDArray[np.uint8], int, int, tuple[Window, ...]]:
    """Antialiased pixels of the touched targets, pixels decoded, those unreadable and where."""
    canvas, decoded, lost, where = _reduced(source, level, across, down)
    # white beyond the slide, as far as the touched targets look
    box = [
        (across.edge - across.first) / across.factor,
        (down.edge - down.first) / down.factor,
        (across.end - across.first) / across.factor,
        (down.end - down.first) / down.factor,
    ]
    height, width = canvas.shape[:2]
    left, top = max(0, math.ceil(-box[0] - 1e-6)), max(0, math.ceil(-box[1] - 1e-6))
    right = max(0, math.ceil(box[2] - width - 1e-6))
    bottom = max(0, math.ceil(box[3] - height - 1e-6))
    if left or top or right or bottom:
        wider = white(left + width + right, top + height + bottom)
        wider[top : top + height, left : left + width] = canvas
        canvas = wider
    x1, y1, x2, y2 = box[0] + left, box[1] + top, box[2] + left, box[3] + top
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, canvas.shape[1]), min(y2, canvas.shape[0])
    out = np.empty((down.stop - down.start, across.stop - across.start, 3), np.uint8)
    step = (y2 - y1) / out.shape[0]
    margin = math.ceil(REACH[kernel] * max(1.0, step)) + 1

    def fill(start: int) -> None:
        """One band, so that threads share the work; each sees as far as the kernel looks."""
        stop = min(start + BAND, out.shape[0])
        upper, lower = y1 + start * step, min(y1 + stop * step, y2)
        above, below = max(0, math.floor(upper) - margin), math.ceil(lower) + margin
        part = Image.fromarray(canvas[above:below])
        box = (x1, upper - above, x2, min(lower - above, part.height))
        out[start:stop] = np.asarray(part.resize((out.shape[1], stop - start), kernel, box))

    source.each(fill, range(0, out.shape[0], BAND))
    return out, decoded, lost, where


def _reduced(
    source: Source, level: int, across: _Axis, down: _Axis
) -> tuple[NDArray[np.uint8], int, int, tuple[Window, ...]]:
    """The window of the level, averaged by `_Axis.factor`; pixels decoded, unreadable, and where.

    It keeps at least `GAP` times the detail of the target. Averaged is what was just read, block by
    block, so that memory does not grow with the slide where a file has no coarse level.
    """
    window = (across.first, down.first, across.last, down.last)
    unit = (across.factor, down.factor)
    keep = worth_keeping(window)
    if unit == (1, 1):
        done = source.read(level, window, keep)
        return done.pixels, done.decoded, done.unreadable, done.lost
    height, width = (-(-(axis.last - axis.first) // axis.factor) for axis in (down, across))
    out = np.empty((height, width, 3), np.uint8)

    def fill(part: Window) -> tuple[int, int, tuple[Window, ...]]:
        done = source.read(level, part, keep)
        pixels = np.asarray(Image.fromarray(done.pixels).reduce(unit))
        row, column = (part[1] - down.first) // unit[1], (part[0] - across.first) // unit[0]
        out[row : row + pixels.shape[0], column : column + pixels.shape[1]] = pixels
        return done.decoded, done.unreadable, done.lost

    parts = list(blocks(window, source.tile_sizes[level], BLOCK, unit))
    counts = source.each(fill, parts)
    where = tuple(window for each in counts for window in each[2])
    return out, sum(each[0] for each in counts), sum(each[1] for each in counts), where
