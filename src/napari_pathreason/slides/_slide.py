"""A slide: its identity, its display levels, and any region of it at any size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import RegionError
from napari_pathreason.geometry import Region
from napari_pathreason.types import SlideInfo

from ._display import DisplayLevel, display_levels
from ._resample import read_resampled
from ._source import Source


@dataclass(frozen=True, slots=True)
class RegionImage:
    """A region read at some size.

    Parameters
    ----------
    pixels : uint8 array (height, width, 3)
    level : int
        Pyramid level that was decoded.
    pixels_decoded : int
        Pixels of all native tiles that were decoded.
    unreadable : float
        Share (0 to 1) of the region whose tiles are damaged; it is white.
    """

    pixels: NDArray[np.uint8]
    level: int
    pixels_decoded: int
    unreadable: float


class Slide:
    """An open slide; may be read from several threads at once.

    Made by `open_slide` and `slide_from_arrays`.

    Parameters
    ----------
    source : Source
    info : SlideInfo
    path : Path, optional
        Where it came from; stays with the object and goes into no output.
    notes : tuple of str
        What a reader of results must know of how the pixels were read.
    """

    def __init__(
        self,
        source: Source,
        info: SlideInfo,
        path: Path | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._source = source
        self._info = info
        self.path = path
        self.notes = notes

    def __repr__(self) -> str:
        return f"<Slide {self.info.name!r} {self.width} x {self.height} px>"

    @property
    def info(self) -> SlideInfo:
        """File name, size and mpp, without the path."""
        return self._info

    @property
    def width(self) -> int:
        """Level-0 pixels."""
        return self._info.width

    @property
    def height(self) -> int:
        """Level-0 pixels."""
        return self._info.height

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of the levels that the file itself holds, level 0 first."""
        return self._source.level_sizes

    def display_levels(self) -> list[DisplayLevel]:
        """Lazy arrays for a multiscale layer, level 0 first, the last at most about 1 Mpx."""
        return display_levels(self._source)

    def read_region(self, region: Region, size: tuple[int, int]) -> RegionImage:
        """Read a region at exactly ``size``, from the coarsest level that has the detail.

        Parameters
        ----------
        region : Region
            Level-0 pixels; what lies outside the slide is white.
        size : tuple of int
            (width, height) of the result in pixels.

        Raises
        ------
        RegionError
            If the region or the size is empty, or the region lies outside the slide.
        """
        region.clipped(self.width, self.height)
        if min(size) < 1:
            raise RegionError(f"cannot read a region at {size[0]} x {size[1]} px; ask for more")
        level, done = read_resampled(self._source, region, size)
        return RegionImage(done.pixels, level, done.decoded, done.unreadable / max(1, done.wanted))

    def close(self) -> None:
        """Release the file."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
