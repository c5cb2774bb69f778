"""A slide: how it is opened, what it is, and any region of it at any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import RegionError, SlideError
from napari_pathreason.files import name_of
from napari_pathreason.geometry import Region
from napari_pathreason.types import SlideInfo

from ._cache import CACHE
from ._display import DisplayLevel, display_levels
from ._flat import SUFFIXES, open_picture
from ._mpp import Mpp, checked_mpp
from ._resample import read_resampled
from ._signature import signature_of
from ._source import ArraySource, Source
from ._tiff import open_tiff


@dataclass(frozen=True, slots=True)
class RegionImage:
    """A region read at some size.

    Parameters
    ----------
    pixels : uint8 array (height, width, 3)
    level : int
        Pyramid level that was decoded.
    pixels_decoded : int
        Pixels of all native tiles that were decoded for it; those that an earlier read left in
        the slide's cache cost nothing and are not counted.
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

    Attributes
    ----------
    signature : str
        See `signature_of`, as it was before anything was read; empty where there is no file.
    """

    def __init__(self, source: Source, info: SlideInfo, path: Path | None = None) -> None:
        self._source = source
        self._info = info
        self.path = path
        self.signature = ""

    def __repr__(self) -> str:
        return f"<Slide {self.info.name!r} {self.width} x {self.height} px>"

    @property
    def info(self) -> SlideInfo:
        """File name, size and mpp, without the path."""
        return self._info

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results must know of how the pixels were read."""
        return self._source.notes

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
        """Release the file, and what was kept of it."""
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


def open_slide(
    path: str | Path, mpp: float | tuple[float, float] | None = None, cache: int = CACHE
) -> Slide:
    """Open a file for lazy reading; nothing is decoded yet.

    Parameters
    ----------
    path : str or Path
        SVS, tiled or flat TIFF, OME-TIFF, NDPI, SCN, BIF, OME-Zarr (0.4, 0.5), PNG, JPEG.
    mpp : float or (float, float), optional
        Micrometres per level-0 pixel (x, y), where the file does not say.
    cache : int
        Bytes of decoded tiles that a TIFF keeps for the next read; 0 for none, as where many
        slides are open at once.

    Raises
    ------
    SlideError
        If the file is missing, is not an image, or is cut off; names the remedy.
    """
    path = Path(path)
    by_user, by_file = checked_mpp(mpp), None
    source: Source
    if not path.exists():
        raise SlideError(f"{path.name} is not there; check the name and the folder")
    signature = signature_of(path)  # before anything is read: what comes later may be another file
    if path.is_dir():
        from ._zarr import open_zarr

        levels, by_file = open_zarr(path)
        source = ArraySource(levels)
    elif path.suffix.lower() in SUFFIXES:
        source = ArraySource([open_picture(path)])
    else:
        source, by_file = open_tiff(path, cache)
    slide = Slide(source, _info(name_of(path), source, by_file, by_user), path)
    slide.signature = signature
    return slide


def slide_from_arrays(
    levels: Sequence[Any], name: str, mpp: float | tuple[float, float] | None = None
) -> Slide:
    """Treat arrays (numpy, dask, zarr) as a slide.

    Parameters
    ----------
    levels : sequence of array-like
        (H, W), (H, W, 3) or (H, W, 4) of any numeric type, level 0 first.
    name : str
        Shown with results.
    mpp : float or (float, float), optional
        Micrometres per level-0 pixel (x, y), if known.

    Raises
    ------
    SlideError
        If a shape cannot be read as a picture.
    """
    source = ArraySource(levels)
    return Slide(source, _info(name, source, None, checked_mpp(mpp)))


def _info(name: str, source: Source, by_file: Mpp, by_user: Mpp) -> SlideInfo:
    width, height = source.level_sizes[0]
    if by_file is not None:
        return SlideInfo(name, width, height, by_file, "file")
    return SlideInfo(name, width, height, by_user, "unknown" if by_user is None else "user")
