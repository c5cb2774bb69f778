"""From a region to a picture of exact size: choice of level, window, antialiased resize."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason._geometry import Region

from ._source import Source, white

SUPPORT = 3.0  # reach of the Lanczos kernel in target pixels


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
    """Level that was read, and the region at ``size`` (width, height)."""
    sizes = source.level_sizes
    level = choose_level(sizes, region, size)
    (width, height), (level_width, level_height) = sizes[0], sizes[level]
    zoom_x, zoom_y = level_width / width, level_height / height
    left, top = region.x * zoom_x, region.y * zoom_y
    right, bottom = (region.x + region.width) * zoom_x, (region.y + region.height) * zoom_y
    identity = level == 0 and size == (region.width, region.height)
    x1, x2 = _span(left, right, size[0], level_width, identity)
    y1, y2 = _span(top, bottom, size[1], level_height, identity)
    inside = (max(x1, 0), max(y1, 0), min(x2, level_width), min(y2, level_height))
    done = source.read(level, inside)
    canvas = done.pixels
    if inside != (x1, y1, x2, y2):
        canvas = white(x2 - x1, y2 - y1)
        canvas[inside[1] - y1 : inside[3] - y1, inside[0] - x1 : inside[2] - x1] = done.pixels
    wanted = (inside[2] - inside[0]) * (inside[3] - inside[1])
    if not identity:
        box = (left - x1, top - y1, min(right - x1, x2 - x1), min(bottom - y1, y2 - y1))
        picture = Image.fromarray(canvas).resize(size, Image.Resampling.LANCZOS, box)
        canvas = np.array(picture)
    return level, Resampled(canvas, done.decoded, done.unreadable, wanted)


def _span(start: float, end: float, target: int, length: int, identity: bool) -> tuple[int, int]:
    """Whole pixels to read along one axis: the region and, inside the level, the kernel's reach."""
    first, last = math.floor(start + 1e-6), math.ceil(end - 1e-6)
    if identity:
        return first, last
    reach = math.ceil(SUPPORT * max(1.0, (end - start) / target))
    return min(first, max(first - reach, 0)), max(last, min(last + reach, length))
