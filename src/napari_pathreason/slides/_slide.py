"""A slide: how it is opened, what it is, and any region of it at any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import RegionError, SlideError, reading
from napari_pathreason.files import is_there, name_of
from napari_pathreason.geometry import Region
from napari_pathreason.types import IccState, SlideInfo

from . import _limits as limits
from ._arrays import ArraySource
from ._cache import CACHE
from ._dicom import EXPORT, dicom_slide
from ._display import DisplayLevel, display_levels
from ._flat import HELP, SUFFIXES, is_picture, open_picture
from ._openslide import SUFFIXES as OPENSLIDE_SUFFIXES, WHOLE
from ._pyramid import levels_that_show_it
from ._resample import read_resampled
from ._scale import Scale, Stated, checked_mpp, decide_scale
from ._signature import signature_of
from ._source import Source, Window
from ._tiff import OpenedFile, open_tiff, open_with_openslide
from ._wrapped import OrientedSource, ProfiledSource, transform_of
from ._zarr import ZarrImage, open_zarr


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
    lost : tuple of Region
        Where that is, level-0 pixels.
    """

    pixels: NDArray[np.uint8]
    level: int
    pixels_decoded: int
    unreadable: float
    lost: tuple[Region, ...] = ()


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

    def __init__(
        self,
        source: Source,
        info: SlideInfo,
        path: Path | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._source = source
        self._info = info
        self._notes = notes
        self.path = path
        self.signature = ""
        self.reservation = ""
        """Why it is shown, but cannot be asked about yet; empty for nothing."""
        self.background: tuple[int, int, int] | None = None
        """Its colour where there is nothing, once `slides.background` has looked for it."""

    def __repr__(self) -> str:
        return f"<Slide {self.info.name!r} {self.width} x {self.height} px>"

    @property
    def info(self) -> SlideInfo:
        """File name, size and mpp, without the path."""
        return self._info

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results must know of how the pixels were read."""
        return (*self._notes, *self._source.notes)

    def with_mpp(self, mpp: float | tuple[float, float] | None) -> Slide:
        """The same open slide, of another scale; without one, that of the file is gone too.

        Both read from one file, which `close` of either releases.

        Raises
        ------
        SlideError
            If the scale makes no sense.
        """
        pair = checked_mpp(mpp)
        info = replace(self._info, mpp=pair, mpp_source="unknown" if pair is None else "user")
        other = Slide(self._source, info, self.path, self._notes)
        other.reservation = self.reservation
        return other

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
        """Lazy arrays for a multiscale layer, level 0 first, the last at most about 1 Mpx.

        Raises
        ------
        SlideError
            If the file has no level that is small enough to make the coarsest one of.
        """
        width, height = self.level_sizes[-1]
        if width * height > limits.SHOWN_PIXELS:
            raise SlideError(
                f"{self._info.name} has {width:,} x {height:,} px and no coarser level, too many "
                "to be shown; save it as a pyramid"
            )
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
        share = min(1.0, done.unreadable / max(1, done.wanted))
        lost = tuple(self._at_level_0(level, window) for window in done.lost)
        return RegionImage(done.pixels, level, done.decoded, share, lost)

    def _at_level_0(self, level: int, window: Window) -> Region:
        """Whole level-0 pixels that a window of a level meets."""
        across, down = self.level_sizes[level]
        zoom = self.width / across, self.height / down
        x1, y1, x2, y2 = (edge * zoom[i % 2] for i, edge in enumerate(window))
        left, top = math.floor(x1), math.floor(y1)
        return Region(left, top, max(1, math.ceil(x2) - left), max(1, math.ceil(y2) - top))

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
    path: str | Path,
    mpp: float | tuple[float, float] | None = None,
    cache: int = CACHE,
    channels: str = "",
    icc: bool = False,
) -> Slide:
    """Open a file for lazy reading; of a pyramid a few tiles are checked, nothing else is decoded.

    Parameters
    ----------
    path : str or Path
        SVS, tiled or flat TIFF, OME-TIFF, NDPI, SCN, BIF, DICOM (a file or the folder of a slide),
        OME-Zarr (0.4, 0.5), what bioformats2raw made, PNG, JPEG; by OpenSlide also MIRAX, VMS and
        CZI, which were not tried.
    mpp : float or (float, float), optional
        Micrometres per level-0 pixel (x, y); goes before what the file says.
    cache : int
        Bytes of decoded tiles that a TIFF keeps for the next read; 0 for none, as where many
        slides are open at once.
    channels : str
        Channels of fluorescence with their colours, ``"DAPI=blue,2=green"``, by name or by number
        from 1; ``"rgb"`` takes the first three as red, green and blue. Empty where the file says
        what its colours are.
    icc : bool
        Whether colours are turned into sRGB by the file's ICC profile, for display and model alike.

    Raises
    ------
    SlideError
        If the file is missing, is not an image, or is cut off; names the remedy.
    """
    path = Path(path)
    by_user = checked_mpp(mpp)
    if not is_there(path):
        raise SlideError(f"{name_of(path)[:80]} is not there; check the name and the folder")
    if not (path.is_file() or path.is_dir()):  # reading of a pipe waits for ever
        raise SlideError(f"{name_of(path)} is neither a file nor a folder; {HELP}")
    signature = signature_of(path)  # before anything is read: what comes later may be another file
    with reading(name_of(path), SlideError, HELP):
        file = _open_file(path, cache, channels)
        source, notes = file.source, []
        state: IccState = "none"
        try:
            if file.profile is not None:
                transform = transform_of(file.profile) if icc else None
                state = "ignored" if transform is None else "applied"
                source = source if transform is None else ProfiledSource(source, transform)
                if icc and transform is None:
                    notes.append(
                        "its ICC profile cannot be used, and colours are as they lie there"
                    )
            stated = file.stated
            if file.orientation != 1:
                source = OrientedSource(source, file.orientation)
                if file.orientation >= 5:
                    stated = tuple(replace(one, mpp=one.mpp[::-1]) for one in stated)
            scale = decide_scale(by_user, stated)
            info = _info(name_of(path), source, scale, channels, state)
            slide = Slide(source, info, path, (*notes, *scale.notes))
            slide.signature = signature
            return slide
        except BaseException:
            source.close()
            raise


def _open_file(path: Path, cache: int, channels: str) -> OpenedFile:
    """What a path holds, by what lies there and not by its name alone."""
    if path.suffix.lower() not in SUFFIXES and (dicom := dicom_slide(path)) is not None:
        return open_with_openslide(*dicom, EXPORT)
    if path.is_dir():
        image = open_zarr(path, channels)
        stated = () if image.mpp is None else (Stated("OME", image.mpp),)
        return OpenedFile(_levels_of(image, path.name), stated)
    is_flat = is_picture(path)
    if is_flat or (is_flat is None and path.suffix.lower() in SUFFIXES):
        picture = open_picture(path)
        source = ArraySource([picture.pixels], None, None, path.name, picture.notes)
        return OpenedFile(source, (), picture.orientation, picture.profile)
    if path.suffix.lower() in OPENSLIDE_SUFFIXES:
        return open_with_openslide(path, remedy=WHOLE)
    return open_tiff(path, cache, channels)


def _levels_of(image: ZarrImage, name: str) -> ArraySource:
    """The levels of an OME-Zarr image that show the same picture; others are said."""
    source = ArraySource(image.levels, None, image.colours, name, image.notes)
    own = levels_that_show_it(source, lambda level: image.levels[level].busiest())
    dropped = [size for i, size in enumerate(source.level_sizes) if i not in own]
    if not dropped:
        return source
    notes = [f"a level of {w:,} x {h:,} px shows another picture, no level" for w, h in dropped]
    levels = [image.levels[i] for i in own]
    return ArraySource(levels, None, image.colours, name, (*image.notes, *notes))


def slide_from_arrays(
    levels: Sequence[Any], name: str, mpp: float | tuple[float, float] | None = None
) -> Slide:
    """Treat arrays (numpy, dask, zarr) as a slide.

    Parameters
    ----------
    levels : sequence of array-like
        (H, W), (H, W, 3) or (H, W, 4) of any numeric type, level 0 first; a fourth channel is
        alpha.
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
    return Slide(source, _info(name, source, decide_scale(checked_mpp(mpp), ()), "", "none"))


def _info(name: str, source: Source, scale: Scale, channels: str, icc: IccState) -> SlideInfo:
    width, height = source.level_sizes[0]
    return SlideInfo(name, width, height, scale.mpp, scale.source, channels.strip(), icc)
