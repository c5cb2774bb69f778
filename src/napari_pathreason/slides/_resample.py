"""From a region to a picture of exact size: choice of level, window, antialiased resize."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.geometry import Region

from ._source import Source, white

REACH = {
    Image.Resampling.LANCZOS: 3.0,
    Image.Resampling.BILINEAR: 1.0,
    Image.Resampling.HAMMING: 1.0,
}
"""How far each kernel looks, in target pixels or, where it enlarges, in pixels of the level."""
SWITCH = 1.4  # shrinking by less: bilinear is nearest to the area average; by more: Hamming
GAP = 2.0  # whole pixels are averaged first where that much shrinking is left to the kernel
LARGE = 16_777_216  # pixels of a window that is read at once
BLOCK = 2048  # side of the blocks in which a larger one is read, in pixels of the level


@dataclass(frozen=True, slots=True)
class Resampled:
    """Result of `read_resampled`; counts are pixels of the level that was read."""

    pixels: NDArray[np.uint8]
    decoded: int
    unreadable: int
    wanted: int


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
    (width, height), (level_width, level_height) = sizes[0], sizes[level]
    exact = level == 0 and size == (region.width, region.height)
    tile = (1, 1) if exact else source.chunk
    kernel = _kernel(
        region.width * level_width / (width * size[0]),
        region.height * level_height / (height * size[1]),
    )
    reach = REACH[kernel]
    across = _axis(region.x, region.width, size[0], width, level_width, tile[0], reach)
    down = _axis(region.y, region.height, size[1], height, level_height, tile[1], reach)
    window = (across.first, down.first, across.last, down.last)
    wanted = (across.last - across.first) * (down.last - down.first)
    if exact:
        done = source.read(level, window)
        pixels, decoded, lost = done.pixels, done.decoded, done.unreadable
    else:
        pixels, decoded, lost = _resize(source, level, across, down, kernel)
    if pixels.shape[:2] != (size[1], size[0]):
        canvas = white(*size)
        canvas[down.start : down.stop, across.start : across.stop] = pixels
        pixels = canvas
    return level, Resampled(pixels, decoded, lost, wanted)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of a read: target pixels [start, stop), the level's [first, last), their map.

    Target pixel edge ``start`` lies at ``edge`` on the level; one target pixel is ``step`` wide.
    """

    start: int
    stop: int
    first: int
    last: int
    edge: float
    step: float

    @property
    def end(self) -> float:
        """Where the target's last edge lies on the level."""
        return self.edge + (self.stop - self.start) * self.step


def _kernel(across: float, down: float) -> Image.Resampling:
    """Kernel for a read whose pixels are ``across`` wide and ``down`` high on the level."""
    if min(across, down) < 1:
        return Image.Resampling.LANCZOS
    return Image.Resampling.BILINEAR if max(across, down) < SWITCH else Image.Resampling.HAMMING


def _axis(
    origin: int, extent: int, target: int, full: int, length: int, tile: int, reach: float
) -> _Axis:
    """Plan of one axis; ``full`` and ``length`` are the slide's sizes on level 0 and the level.

    The antialiasing kernel may look beyond the region, but only into tiles that the region itself
    meets: it is not worth decoding another ring of tiles for.
    """
    zoom = length / full
    step, left = extent * zoom / target, origin * zoom
    start = max(0, math.floor(-left / step + 1e-9))
    stop = min(target, math.ceil((length - left) / step - 1e-9))
    stop = max(stop, start + 1)
    edge = left + start * step
    end = left + stop * step
    threshold = math.ceil(reach * max(1.0, step))
    inner, outer = max(0, math.floor(edge + 1e-6)), math.ceil(end - 1e-6)
    first = max(inner - threshold, inner // tile * tile)
    last = min(length, outer + threshold, -(-outer // tile) * tile)
    return _Axis(start, stop, min(first, length - 1), max(last, 1), edge, step)


def _resize(
    source: Source, level: int, across: _Axis, down: _Axis, kernel: Image.Resampling
) -> tuple[NDArray[np.uint8], int, int]:
    """Antialiased pixels of the touched targets, pixels decoded, pixels that were unreadable."""
    canvas, factor, decoded, lost = _reduced(source, level, across, down)
    # white beyond the slide, as far as the touched targets look
    box = [
        (across.edge - across.first) / factor,
        (down.edge - down.first) / factor,
        (across.end - across.first) / factor,
        (down.end - down.first) / factor,
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
    inside = (max(x1, 0), max(y1, 0), min(x2, canvas.shape[1]), min(y2, canvas.shape[0]))
    size = (across.stop - across.start, down.stop - down.start)
    picture = Image.fromarray(canvas).resize(size, kernel, inside, reducing_gap=GAP)
    return np.array(picture), decoded, lost


def _reduced(
    source: Source, level: int, across: _Axis, down: _Axis
) -> tuple[NDArray[np.uint8], int, int, int]:
    """The window of the level, halved or more in blocks while it is read if it is large.

    Keeps at least twice the detail of the target, so that memory does not grow with the slide
    where a file has no coarse level. Returns pixels, factor, pixels decoded and unreadable.
    """
    x1, y1, x2, y2 = across.first, down.first, across.last, down.last
    factor = max(1, int(min(across.step, down.step) / 2))
    spanned = max(across.end - across.edge, x2 - x1) * max(down.end - down.edge, y2 - y1)
    if spanned <= LARGE or factor == 1:
        done = source.read(level, (x1, y1, x2, y2))
        return done.pixels, 1, done.decoded, done.unreadable
    block = max(1, BLOCK // factor) * factor
    out = np.empty((-(-(y2 - y1) // factor), -(-(x2 - x1) // factor), 3), np.uint8)
    decoded = lost = 0
    for top in range(y1, y2, block):
        for left in range(x1, x2, block):
            done = source.read(level, (left, top, min(left + block, x2), min(top + block, y2)))
            part = np.asarray(Image.fromarray(done.pixels).reduce(factor))
            row, column = (top - y1) // factor, (left - x1) // factor
            out[row : row + part.shape[0], column : column + part.shape[1]] = part
            decoded, lost = decoded + done.decoded, lost + done.unreadable
    return out, factor, decoded, lost
