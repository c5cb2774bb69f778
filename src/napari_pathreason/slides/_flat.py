"""Flat pictures: PNG, JPEG and the like, and TIFF files that hold one whole picture."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

from ._colours import refuse_inks, to_colours
from ._lazy import LazyPicture

HELP = "give an SVS, TIFF, OME-TIFF, NDPI, SCN, BIF, OME-Zarr, PNG or JPEG file"
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}  # Pillow's modes that hold transparency


def open_picture(path: Path) -> LazyPicture:
    """PNG, JPEG and the like; the header is checked, the pixels are decoded at the first slice.

    Raises
    ------
    SlideError
        If it is not an image, or too large for a flat file; when sliced, if it is cut off.
    """
    from PIL import Image

    try:
        with _opened(path) as file:
            width, height = file.size
            mode = _mode(file)
    except Image.DecompressionBombError:
        raise SlideError(
            f"{path.name} is too large for a flat picture; save it as a tiled, pyramidal TIFF"
        ) from None
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for damaged headers
        raise SlideError(f"{path.name} is not an image or is cut off; {HELP}") from None
    channels, dtype = {"L": (1, "u1"), "RGBA": (4, "u1"), "I;16": (1, "u2"), "I": (1, "i4")}.get(
        mode, (3, "u1")
    )

    def load() -> NDArray[Any]:
        try:
            with _opened(path) as file:
                pixels = np.asarray(file if mode.startswith("I") else file.convert(mode), dtype)
        except (OSError, SyntaxError, ValueError):
            raise SlideError(f"{path.name} is cut off or damaged; copy the file again") from None
        return pixels.reshape(height, width, channels)

    return LazyPicture((height, width, channels), dtype, load)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A Pillow image; what cannot be read is an error, and many pixels are no attack here."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Image.open(path)
    with file:
        yield file


def _mode(file: Any) -> str:
    """Pillow mode that keeps what the picture holds: grey, 16-bit grey, RGB or RGBA."""
    if file.mode.startswith("I"):
        return "I" if file.mode == "I" else "I;16"
    if file.mode in ALPHA or "transparency" in file.info:
        return "RGBA"
    return "L" if file.mode in ("L", "1") else "RGB"


def open_flat_tiff(path: Path) -> LazyPicture:
    """First picture of a TIFF; its tags are checked, the pixels are decoded at the first slice.

    Raises
    ------
    SlideError
        If it is a stack, or holds inks; when sliced, if it is cut off.
    """
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        axes, shape, dtype = str(series.axes), tuple(series.shape), series.dtype
        photometric = series.keyframe.photometric
    refuse_inks(photometric, path.name)
    sizes = dict(zip(axes, shape, strict=True))
    kept = [axis for axis in axes if axis in "YX" or (axis in "SC" and sizes[axis] > 1)]
    order = [axis for axis in "YXSC" if axis in kept]
    if (
        {"Y", "X"} - set(axes)
        or len(order) > 3
        or any(size != 1 for axis, size in sizes.items() if axis not in kept)
    ):
        raise SlideError(f"{path.name} is a stack ({axes} {shape}); save one plane of it")

    def load() -> NDArray[Any]:
        try:
            with tifffile.TiffFile(path) as tiff:
                pixels = tiff.series[0].asarray()
                picture = pixels[tuple(slice(None) if axis in kept else 0 for axis in axes)]
                picture = np.transpose(picture, [kept.index(axis) for axis in order])
                return to_colours(picture, tiff.series[0].keyframe)
        except Exception:  # codecs raise whatever they like
            raise SlideError(f"{path.name} is cut off or damaged; copy the file again") from None

    final = tuple(sizes[axis] for axis in order)
    return LazyPicture((*final, 3) if photometric == 3 else final, dtype, load)
