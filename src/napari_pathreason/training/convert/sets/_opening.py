"""Every picture is opened once, so that a broken one is met here and not in training."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from napari_pathreason.errors import PathreasonError, QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide

from ._left_out import LeftOut
from ._pictures_by_name import FLAT

Size = tuple[int, int]
"""(width, height) in level-0 pixels."""

BROKEN = "pictures cannot be read and were left out"
PIECE = 256
"""Side of what is read of a slide, level-0 pixels; flat pictures are decoded whole."""
COARSER = 8
"""How much coarser a JPEG is decoded: all of its data is gone through, few pixels are made."""
TOLERATED = 0.25
"""Share of pictures that may be missing or broken; above it the folder itself is damaged."""


def sizes_of(files: Collection[Path]) -> dict[Path, Size | None]:
    """Open files and decode them: a flat picture whole, of a slide a piece of its middle.

    Returns
    -------
    dict
        Size of each file; None where it cannot be read.
    """
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    few = len(files) < 1000
    try:
        found = pool.map(_size_of, files)
        shown = tqdm(found, "opening", len(files), unit="picture", mininterval=1, disable=few)
        return dict(zip(files, shown, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)  # what is interrupted opens nothing more


def too_many(lost: int, total: int) -> bool:
    """Whether so many pictures of a set are lost that the rest is no set; one of several is not."""
    return lost == total or lost > max(1.0, TOLERATED * total)


def refuse_damaged(left: LeftOut, why: str, total: int, remedy: str) -> None:
    """Refuse a set of which too many pictures were left out for one reason.

    Raises
    ------
    QueryError
        Says how many of ``total``, names the first, and gives the remedy.
    """
    lost = left.count(why)
    if lost and too_many(lost, total):
        what = why.removesuffix(" and were left out")
        raise QueryError(f"{lost:,} of {total:,} {what} ({left.names(why)}); {remedy}")


def _size_of(path: Path) -> Size | None:
    try:
        if path.suffix.lower() in FLAT:
            with Image.open(path) as file:
                size = file.size
                file.draft("RGB", (max(1, size[0] // COARSER), max(1, size[1] // COARSER)))
                file.load()
            return size
        with open_slide(path) as slide:
            size = slide.width, slide.height
            width, height = (min(PIECE, side) for side in size)
            piece = Region((size[0] - width) // 2, (size[1] - height) // 2, width, height)
            return None if slide.read_region(piece, (width, height)).unreadable == 1 else size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, PathreasonError):
        return None  # what Pillow and the readers raise for what is damaged
