"""Which picture of a TIFF is the slide, and which pages are levels of it.

The largest picture is the slide, wherever it stands in the file; label, macro and thumbnail are
never opened as one. A page is a level only if it shows the same picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.errors import SlideError

from . import _limits as limits
from ._source import Source, Window
from ._tiff_source import Level

NOT_SLIDES = ("label", "macro", "thumbnail", "overview", "barcode", "map", "preview", "navigation")
"""Words in the name of a picture that is none of the tissue at its full size."""
GUESSED = {"generic", "uniform", "shaped", ""}
"""Kinds of tifffile's series that say nothing of levels: they are told by their size alone."""
RIVAL = 4
"""Times as many pixels as a pyramid has, up to which a picture without levels is not the slide."""
MASK = 4
"""Photometric tag of a page that says where another one is transparent."""
MASK_PIXELS = 16_000_000
"""Of a mask that is looked at when a slide is opened."""
COMPARED = 256
"""Pixels of the finer level, at most, of which a small picture is made: few tiles are decoded."""
SAMPLES = 24
"""Sides of the small pictures that are compared."""
BLANK, SHOWS = 1.0, 12.0
"""Standard deviations in grey levels: of a picture of nothing, and of one that shows something."""
OFF = 24.0
"""Difference of the means of a colour from which pictures of one shape differ in what it means."""
UNLIKE = 40.0
"""Mean difference in grey levels from which two pictures differ, where they do not correlate."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A candidate: its levels, what tifffile calls it, and its place among the pictures."""

    levels: tuple[Level, ...]
    name: str
    kind: str
    index: int
    axes: str
    shape: tuple[int, ...]

    @property
    def area(self) -> int:
        """Level-0 pixels."""
        if self.levels:
            return self.levels[0].size[0] * self.levels[0].size[1]
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return sizes.get("X", 1) * sizes.get("Y", 1)

    @property
    def is_stack(self) -> bool:
        """Whether it has more axes than one plane of channels."""
        return not self.levels


def choose_picture(tiff: Any, name: str) -> tuple[Picture, list[Picture]]:
    """Largest picture of an open tifffile file, and the others that are slides too.

    Raises
    ------
    SlideError
        If it holds none, or the largest is a stack.
    """
    found = [_picture(series, index) for index, series in enumerate(tiff.series)]
    slides = [one for one in found if not _is_named(one)]
    if not slides:
        raise SlideError(
            f"{name} holds no slide, only a label, macro or thumbnail; get the whole file"
        )
    chosen = _largest(slides)
    if chosen.is_stack:
        raise SlideError(f"{name} is a stack ({chosen.axes} {chosen.shape}); save one plane of it")
    return chosen, [one for one in slides if one is not chosen]


def _largest(slides: Sequence[Picture]) -> Picture:
    """The largest picture; before it a pyramid that is not much smaller: no label has levels.

    Of equal ones the first.
    """
    first = max(slides, key=lambda one: one.area)
    rivals = [one for one in slides if RIVAL * one.area >= first.area]
    pyramids = [
        one
        for one in rivals
        if len(one.levels) > 1 or (one.levels and more_levels(one, slides, tiled=True))
    ]
    return max(pyramids, key=lambda one: one.area) if pyramids else first


def _picture(series: Any, index: int) -> Picture:
    axes, shape = str(series.axes), tuple(int(side) for side in series.shape)
    named = str(getattr(series, "name", "") or "")
    kind = str(getattr(series, "kind", "") or "").lower()
    sizes = dict(zip(axes, shape, strict=True))
    flat = {"Y", "X"} <= sizes.keys() and all(
        size == 1 or axis in "YXSC" for axis, size in sizes.items()
    )
    levels: list[Level] = []
    if flat:
        channels = sizes.get("S", 1) * sizes.get("C", 1)
        for one in series.levels[: limits.LEVELS]:
            pages = tuple(page for page in one.pages if page is not None)
            if not pages or len(pages) * int(one.keyframe.samplesperpixel) != channels:
                break
            levels.append(Level(one.keyframe, pages))
    # some files begin with a small picture and keep the large one behind it, as a part of it
    levels.sort(key=lambda level: -level.size[0] * level.size[1])
    return Picture(tuple(levels), named, kind, index, axes, shape)


def names_no_slide(name: str) -> bool:
    """Whether a word in the name of a picture says that it is a label, macro or the like.

    Words end where letters do, or where a capital follows: macrophages are none, nor is what was
    imaged without a label.
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.sub(r"\blabel[\s_-]*free\b", "", apart.lower())
    return any(word in NOT_SLIDES for word in re.findall(r"[^\W\d_]+", words))


def is_masked(tiff: Any, level: Level) -> bool:
    """Whether a page of a file says that a part of a level is transparent, by its smallest mask."""
    masks = [
        page
        for page in (series.levels[0].keyframe for series in tiff.series)
        if int(page.photometric) == MASK
    ]
    if all((page.imagewidth, page.imagelength) != level.size for page in masks):
        return False
    smallest = min(masks, key=lambda page: page.imagewidth * page.imagelength)
    if smallest.imagewidth * smallest.imagelength > MASK_PIXELS:
        return True  # nobody waits for so many
    try:
        return not np.asarray(smallest.asarray()).all()
    except Exception:  # codecs raise whatever they like
        return True


def _is_named(one: Picture) -> bool:
    if names_no_slide(one.name):
        return True
    if not one.levels:
        return False
    page = one.levels[0].page
    kind = int(getattr(page, "subfiletype", 0) or 0)
    is_mask = kind & 4 or int(page.photometric) == MASK
    return kind == 9 or bool(is_mask) or _described_as(page)


def _described_as(page: Any) -> bool:
    """Whether a page of Aperio's says that it is the label or the macro."""
    lines = str(page.description).lower().splitlines()
    return (
        lines[:1] != []
        and lines[0].startswith("aperio")
        and any(line.startswith(("label", "macro")) for line in lines[1:2])
    )


def more_levels(chosen: Picture, others: Sequence[Picture], tiled: bool = False) -> list[Level]:
    """Smaller pages of a plain file that may be levels of the chosen picture, by size alone.

    With ``tiled`` only of pages in tiles: strips of the same shape are as likely a thumbnail.
    """
    if chosen.kind not in GUESSED or (tiled and not chosen.levels[0].page.is_tiled):
        return []
    base = chosen.levels[0]
    width, height = base.size
    levels = []
    for level in (level for one in others for level in one.levels):
        across, down = level.size
        zoom = width / across
        if (
            zoom > 1.2
            and abs(height / zoom - down) <= 2
            and level.page.is_tiled == base.page.is_tiled
            and level.page.dtype == base.page.dtype
            and level.page.samplesperpixel == base.page.samplesperpixel
            and level.page.photometric == base.page.photometric
            and len(level.pages) == len(base.pages)
        ):
            levels.append(level)
    return levels


def sorted_levels(levels: Sequence[Level]) -> list[Level]:
    """Levels from the largest, each strictly smaller than the one before."""
    own_levels: list[Level] = []
    for level in sorted(levels, key=lambda level: -level.size[0] * level.size[1]):
        if not own_levels or (
            level.size[0] < own_levels[-1].size[0] and level.size[1] <= own_levels[-1].size[1]
        ):
            own_levels.append(level)
    return own_levels


def faults_of(level: Level, faults: Mapping[int, str]) -> str:
    """What is wrong with the directories of a level; empty for nothing."""
    return next((faults[p.offset] for p in level.pages if faults.get(p.offset)), "")


def levels_that_show_it(source: Source, busiest: Callable[[int], Window | None]) -> list[int]:
    """Levels of a source that show the same picture as the level before them.

    Small pictures are compared, of the middle of the tile with the most bytes: on glass everything
    looks alike. What cannot be read cannot be judged, and stays.

    Parameters
    ----------
    source : Source
    busiest : callable
        Where that tile of a level lies; None where a level has none.
    """
    own_levels = [0]
    for level in range(1, len(source.level_sizes)):
        if _shows_same(source, own_levels[-1], level, busiest(level)):
            own_levels.append(level)
    return own_levels


def _shows_same(source: Source, fine: int, coarse: int, tile: Window | None) -> bool:
    if tile is None:
        return True
    size = source.level_sizes[coarse]
    zooms = [a / b for a, b in zip(source.level_sizes[fine], size, strict=True)]
    window, finer = [], []
    for at, end, most, zoom, limit in zip(
        tile[:2], tile[2:], size, zooms, source.level_sizes[fine], strict=True
    ):
        room = min(end, most) - at
        side = max(1, min(room, int(COMPARED / zoom)))
        start = at + (room - side) // 2
        window.append((start, start + side))
        finer.append((int(start * zoom), min(limit, max(1, round((start + side) * zoom)))))
    (x1, x2), (y1, y2) = window
    one = source.read(coarse, (x1, y1, x2, y2), keep=False)
    (x1, x2), (y1, y2) = finer
    other = source.read(fine, (x1, y1, x2, y2), keep=False)
    return bool(one.unreadable or other.unreadable) or alike(one.pixels, other.pixels)


def alike(one: NDArray[np.uint8], other: NDArray[np.uint8], most: float = UNLIKE) -> bool:
    """Whether two pictures of the same place are the same, but for noise and sharpness."""
    a, b = (
        np.asarray(
            Image.fromarray(np.ascontiguousarray(pixels)).resize(
                (SAMPLES, SAMPLES), Image.Resampling.BOX
            ),
            np.float64,
        )
        for pixels in (one, other)
    )
    if min(a.std(), b.std()) <= BLANK and max(a.std(), b.std()) > SHOWS:
        return False
    if a.std() > 4 and b.std() > 4 and np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.8:
        return bool(np.abs(a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))).max() <= OFF)
    return float(np.abs(a - b).mean()) <= (most if min(a.std(), b.std()) <= 4 else most / 4)
