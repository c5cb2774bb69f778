"""A look at some tiles when a slide is opened: can they be decoded, and does OpenSlide agree.

Readers are known to garble tiles of some files that others read right. Two tiles are compared, the
middle one and the one that packs the most; where they differ, OpenSlide reads the slide.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

from ._openslide import OpenSlideSource
from ._source import Window
from ._tiff_source import TiffSource

TRIED = 12
"""Tiles that are tried before all are thought damaged."""
DIFFERENT = 12.0
"""Mean difference in grey levels from which tiles are not the same; decoders differ by one."""
SIDE = 256  # px at most of what is compared


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether no tile can be decoded, and what reads the slide in place of the source."""

    unreadable: bool
    others: OpenSlideSource | None


def check_tiles(path: Path, source: TiffSource) -> Verdict:
    """Try tiles of level 0.

    Parameters
    ----------
    path : Path
    source : TiffSource
        Stays the caller's.
    """
    windows = _windows(source)
    if not windows:  # nothing but background
        return Verdict(False, None)
    good: list[tuple[Window, NDArray[np.uint8]]] = []
    for number, window in enumerate(windows[:TRIED]):
        if number >= 2 and good:
            break
        done = source.read(0, window, keep=False)
        if not done.unreadable:
            good.append((window, done.pixels))
    other = _openslide(path)
    if other is None:
        return Verdict(not good, None)
    try:
        if not good:
            read = other.read(0, windows[0])
            if not read.unreadable and source.is_packed:  # else there is nothing to know better
                return Verdict(False, _chosen(path, "its tiles are of a kind that only it reads"))
            return Verdict(True, None)
        if other.level_sizes[0] != source.level_sizes[0] or not source.is_plain:
            return Verdict(False, None)
        for window, pixels in good:
            read = other.read(0, window)
            if read.unreadable:
                continue
            difference = np.abs(pixels.astype(np.int16) - read.pixels).mean()
            if difference > DIFFERENT:
                return Verdict(False, _chosen(path, "the plugin's own reader gives other pixels"))
        return Verdict(False, None)
    finally:
        other.close()


def _chosen(path: Path, why: str) -> OpenSlideSource:
    return OpenSlideSource(path, (f"the slide was read with OpenSlide, as {why}",))


def _openslide(path: Path) -> OpenSlideSource | None:
    """OpenSlide's reading; None where it has none."""
    try:
        return OpenSlideSource(path)
    except (SlideError, ImportError, OSError):
        return None


def _windows(source: TiffSource) -> list[Window]:
    """Parts of tiles to try: that in the middle, the largest packed one, then some spread out."""
    counts = np.asarray(source.levels[0].pages[0].databytecounts)[: source.levels[0].tiles]
    there = np.flatnonzero(counts)
    if not there.size:
        return []
    middle = there[np.argmin(np.abs(there - source.levels[0].tiles // 2))]
    spread = there[np.linspace(0, there.size - 1, TRIED).astype(int)]
    order = dict.fromkeys([int(middle), int(np.argmax(counts)), *map(int, spread)])
    (width, length), (across, down) = source.tile_sizes[0], source.level_sizes[0]
    columns = -(-across // width)
    windows = []
    for index in order:
        left, top = index % columns * width, index // columns * length
        windows.append(
            (left, top, min(left + width, across, left + SIDE), min(top + length, down, top + SIDE))
        )
    return windows
