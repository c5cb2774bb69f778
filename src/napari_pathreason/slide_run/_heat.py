"""How sure the tiles were of a lesion, place by place."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.files import atomic_bytes
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import Detection, SlideInfo

CELLS_OF_TILE = 8
MOST = 4096
"""Cells along a side of the file: memory stays flat however large the slide."""


class HeatMap:
    """The mean, over the tiles that looked at a place, of the confidence of a box there.

    A box whose confidence is not told counts as 1; a place that no tile looked at is 0.

    Parameters
    ----------
    slide : SlideInfo
    side : tuple of int
        (width, height) of a tile, level-0 pixels; a cell is an eighth of it.
    most : int
        Cells along a side of the slide at most.
    """

    def __init__(self, slide: SlideInfo, side: tuple[int, int], most: int = MOST) -> None:
        self._slide = slide
        self.shape = (_cells(slide.height, side[1], most), _cells(slide.width, side[0], most))
        self._sum = np.zeros(self.shape, np.float64)
        self._count = np.zeros(self.shape, np.uint16)

    @property
    def cell(self) -> tuple[float, float]:
        """(width, height) of a cell in level-0 pixels."""
        return self._slide.width / self.shape[1], self._slide.height / self.shape[0]

    def add(self, region: Region, found: Sequence[Detection]) -> None:
        """Count a tile that was read, level-0 pixels."""
        rows, columns = self._cover(region.box)
        most_confident = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
        for one in found:
            down, across = self._cover(one.box)
            inside = (
                slice(max(down.start - rows.start, 0), max(down.stop - rows.start, 0)),
                slice(max(across.start - columns.start, 0), max(across.stop - columns.start, 0)),
            )
            confident = 1.0 if one.confidence is None else one.confidence
            most_confident[inside] = np.maximum(most_confident[inside], confident)
        self._sum[rows, columns] += most_confident
        self._count[rows, columns] += 1

    def values(self) -> NDArray[np.float32]:
        """Heat from 0 to 1, float32 (rows, columns) over the whole slide."""
        return (self._sum / np.maximum(self._count, 1)).astype(np.float32)

    def _cover(self, box: Box) -> tuple[slice, slice]:
        """Cells whose middle lies in a box, at least the one that holds the box's own."""
        width, height = self.cell
        return (
            _span(box.y / height, box.h / height, self.shape[0]),
            _span(box.x / width, box.w / width, self.shape[1]),
        )


def write_heat(path: Path, heat: HeatMap, slide: SlideInfo, run: str, about: str) -> None:
    """Write an OME-TIFF; its pixel size lays it over the slide, its description is ``about``.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    import tifffile

    told: dict[str, object] = {
        "axes": "YX",
        "UUID": run,
        "Creator": "napari-pathreason",
        "Description": about,
    }
    if slide.mpp is not None:
        width, height = heat.cell
        told |= {"PhysicalSizeX": slide.mpp[0] * width, "PhysicalSizeY": slide.mpp[1] * height}
    picture = io.BytesIO()
    tifffile.imwrite(picture, heat.values(), ome=True, compression="zlib", metadata=told)
    with atomic_bytes(path) as file:
        file.write(picture.getbuffer())


def _cells(length: int, side: int, most: int) -> int:
    return min(max(1, math.ceil(length * CELLS_OF_TILE / side)), most, length)


def _span(start: float, extent: float, length: int) -> slice:
    first, last = math.ceil(start - 0.5), math.ceil(start + extent - 0.5)
    if first >= last:
        first = math.floor(start + extent / 2)
        last = first + 1
    first = min(max(first, 0), length - 1)
    return slice(first, max(min(last, length), first + 1))
