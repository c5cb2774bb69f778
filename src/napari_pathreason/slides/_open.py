"""Which source reads which file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_pathreason._errors import SlideError
from napari_pathreason._types import SlideInfo

from ._arrays import ArraySource
from ._mpp import Mpp, checked_mpp, mpp_of_ome, mpp_of_tiffslide
from ._slide import Slide
from ._source import Source

HELP = "give an SVS, TIFF, OME-TIFF, NDPI, SCN, BIF, OME-Zarr, PNG or JPEG file"
FLAT = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def open_slide(path: str | Path, mpp: float | tuple[float, float] | None = None) -> Slide:
    """Open a file for lazy reading; nothing is decoded yet.

    Parameters
    ----------
    path : str or Path
        SVS, tiled or flat TIFF, OME-TIFF, NDPI, SCN, BIF, OME-Zarr (0.4, 0.5), PNG, JPEG.
    mpp : float or (float, float), optional
        Micrometres per level-0 pixel (x, y), where the file does not say.

    Raises
    ------
    SlideError
        If the file is missing, is not an image, or is cut off; names the remedy.
    """
    path = Path(path)
    given = checked_mpp(mpp)
    if not path.exists():
        raise SlideError(f"{path.name} is not there; check the name and the folder")
    if path.is_dir():
        from ._zarr import open_zarr

        levels, found = open_zarr(path)
        return _slide(ArraySource(levels), path, found, given)
    if path.suffix.lower() in FLAT:
        return _slide(_flat_picture(path), path, None, given)
    source, found = _open_tiff(path)
    return _slide(source, path, found, given)


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
    width, height = source.level_sizes[0]
    given = checked_mpp(mpp)
    info = SlideInfo(name, width, height, given, "user" if given else "unknown")
    return Slide(source, info, None, source.notes)


def _slide(source: Source, path: Path, found: Mpp, given: Mpp) -> Slide:
    width, height = source.level_sizes[0]
    known = found or given
    origin = "file" if found else "user" if given else "unknown"
    info = SlideInfo(path.name, width, height, known, origin)  # type: ignore[arg-type]
    notes = source.notes if isinstance(source, ArraySource) else ()
    return Slide(source, info, path, notes)


def _open_tiff(path: Path) -> tuple[Source, Mpp]:
    import tifffile
    from tiffslide import TiffSlide

    from ._tiff import TiffSource, is_plain
    from ._tiffslide import TiffSlideSource

    try:
        slide = TiffSlide(path)
    except Exception:  # tiffslide raises many kinds for what it does not know
        return _flat_tiff(path), None
    tiff = slide.ts_tifffile
    mpp = mpp_of_tiffslide(slide) or mpp_of_ome(tiff.ome_metadata)
    pages = [
        level.keyframe
        for series in tiff.series[:1]
        for level in series.levels
        if len(level.pages) == 1
    ]
    sizes = tuple((page.imagewidth, page.imagelength) for page in pages)
    if sizes == tuple(slide.level_dimensions) and all(is_plain(page) for page in pages):
        slide.close()
        tiff = tifffile.TiffFile(path)
        pages = [level.keyframe for level in tiff.series[0].levels]
        return TiffSource(path, tiff, pages), mpp
    if len(slide.level_dimensions) == 1 and pages and not pages[0].is_tiled:
        slide.close()
        return _flat_tiff(path), mpp
    return TiffSlideSource(slide), mpp


def _flat_tiff(path: Path) -> ArraySource:
    """A TIFF without tiles, read whole."""
    import numpy as np
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            axes, pixels = series.axes, series.asarray()
    except Exception:  # tifffile raises many kinds for damaged files
        raise SlideError(f"{path.name} cannot be read as an image; {HELP}") from None
    for place in reversed([i for i, axis in enumerate(axes) if axis not in "YXSC"]):
        if pixels.shape[place] != 1:
            raise SlideError(
                f"{path.name} is a stack ({axes} {pixels.shape}); save one plane of it"
            )
        pixels = pixels.take(0, place)
        axes = axes.replace(axes[place], "", 1)
    if "C" in axes and "S" not in axes:
        pixels = np.moveaxis(pixels, axes.index("C"), -1)
    return ArraySource([pixels])


def _flat_picture(path: Path) -> ArraySource:
    """PNG, JPEG and the like, decoded once; napari and the engine then read the array."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            mode = {"L": "L", "RGB": "RGB", "RGBA": "RGBA"}.get(file.mode)
            if mode is None:
                mode = "RGBA" if "transparency" in file.info else "RGB"
            pixels = np.asarray(file if file.mode.startswith("I") else file.convert(mode))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        raise SlideError(
            f"{path.name} is not an image or is cut off; {HELP}, or copy the file again"
        ) from None
    return ArraySource([pixels])
