"""Which source reads which file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from napari_pathreason.errors import SlideError
from napari_pathreason.types import SlideInfo

from ._arrays import ArraySource
from ._flat import HELP, SUFFIXES, open_flat_tiff, open_picture
from ._mpp import Mpp, checked_mpp, mpp_of_aperio, mpp_of_ome, mpp_of_tiffslide
from ._slide import Slide
from ._source import Source
from ._tiff import TiffSource, is_plain
from ._tiffslide import TiffSlideLevel


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
    if path.suffix.lower() in SUFFIXES:
        return _slide(ArraySource([open_picture(path)]), path, None, given)
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

    with ExitStack() as files:  # closes what no source takes over
        try:
            tiff = files.enter_context(tifffile.TiffFile(path))
            levels = list(tiff.series[0].levels)
        except Exception:  # tifffile raises many kinds for what is no TIFF
            raise SlideError(f"{path.name} cannot be read as an image; {HELP}") from None
        pages = [level.keyframe for level in levels if len(level.pages) == 1]
        plain = len(pages) == len(levels) and all(is_plain(page) for page in pages)
        mpp = mpp_of_ome(tiff.ome_metadata) or mpp_of_aperio(tiff)
        if plain and mpp is not None:  # tiffslide knows no more, and takes long to import
            files.pop_all()
            return TiffSource(path, tiff, pages), mpp
        slide, sizes, found = _vendor_view(path, files)
        mpp = mpp or found
        if plain and sizes in (None, [(page.imagewidth, page.imagelength) for page in pages]):
            if slide is not None:
                slide.close()
            files.pop_all()
            return TiffSource(path, tiff, pages), mpp
        if slide is None or sizes is None or (len(sizes) == 1 and not levels[0].keyframe.is_tiled):
            return ArraySource([open_flat_tiff(path)]), mpp
        arrays = ArraySource(
            [TiffSlideLevel(slide, level) for level in range(len(sizes))], slide.close
        )
        tiff.close()
        files.pop_all()
        return arrays, mpp


def _vendor_view(path: Path, files: ExitStack) -> tuple[Any, list[tuple[int, int]] | None, Mpp]:
    """What tiffslide knows of a file: the open slide, the sizes of its levels, its mpp."""
    from tiffslide import TiffSlide

    with ExitStack() as own:
        try:
            slide = own.enter_context(closing(TiffSlide(path)))
            sizes = [(int(width), int(height)) for width, height in slide.level_dimensions]
            mpp = mpp_of_tiffslide(slide)
        except Exception:  # tiffslide raises many kinds for what it does not know
            return None, None, None
        files.push(own.pop_all())
        return slide, sizes, mpp
