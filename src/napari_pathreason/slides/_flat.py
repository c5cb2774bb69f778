"""Flat pictures: PNG, JPEG and the like, which exist only whole.

The header is read when they are opened, the pixels at the first slice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_pathreason.errors import SlideError

from . import _limits as limits
from ._cut import is_cut
from ._source import Window

HELP = "give an SVS, TIFF, OME-TIFF, NDPI, SCN, BIF, OME-Zarr, PNG or JPEG file"
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
JPEGS = {"JPEG", "MPO"}  # Pillow's formats, whatever a file is called
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "JPEG2000")
"""Pillow's, that are read under any of `SUFFIXES`; some others start programs (PostScript)."""
ORIENTATION = 274  # the tag of EXIF
PNG = b"\x89PNG\r\n\x1a\n"
CHUNKS = 100_000
"""Of a PNG, at most; writers split pixels into some thousand."""
ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}  # Pillow's modes that hold transparency


class LazyPicture:
    """An array-like that is computed when it is first sliced, once.

    Parameters
    ----------
    shape : tuple of int
        (height, width) or (height, width, channels).
    dtype : numpy dtype
    load : callable
        Returns the whole array; called once, even from several threads.
    empty : sequence of (int, int, int, int)
        Windows that the file leaves out.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        load: Callable[[], NDArray[Any]],
        empty: Sequence[Window] = (),
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._load, self._empty = load, tuple(empty)
        self._pixels: NDArray[Any] | None = None
        self._lock = Lock()

    def __getitem__(self, key: Any) -> NDArray[Any]:
        with self._lock:
            if self._pixels is None:
                self._pixels = self._load()
            pixels = self._pixels
        part: NDArray[Any] = pixels[key]
        return part

    def left_out(
        self, window: Window, values: NDArray[Any]
    ) -> Iterator[tuple[Window, tuple[int, ...]]]:
        """Parts that the file leaves out, of those that a window meets: where they lie, whole.

        With each come all channels, which lack it.
        """
        x1, y1, x2, y2 = window
        channels = tuple(range(values.shape[2]))
        for left, top, right, bottom in self._empty:
            if left < x2 and right > x1 and top < y2 and bottom > y1:
                yield (left, top, right, bottom), channels


def is_picture(path: Path) -> bool | None:
    """Whether a file begins as a flat picture, or as a TIFF (False); None where as neither."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return None
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return False
    known = head.startswith((PNG, b"\xff\xd8\xff")) or (head[:4], head[8:]) == (b"RIFF", b"WEBP")
    return True if known else None


OTHERS = (
    (b"PK\3\4", "is a ZIP archive; unpack it and name what lies in it"),
    (b"\x1f\x8b", "is packed with gzip; unpack it first"),
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS and no slide; fetch the file (git lfs pull)",
    ),
    (b"<!doctype html", "is a web page and no slide; download the file again"),
    (b"<html", "is a web page and no slide; download the file again"),
    (b"%PDF", "is a PDF document; export the slide as OME-TIFF"),
)
"""What a file begins with that is none of a slide, in small letters or not, and what to do."""


def other_kind(path: Path) -> str:
    """One line for a file that is known to be of another kind; empty where it is not."""
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip()
    except OSError:
        return ""
    for start, words in OTHERS:
        if head.startswith(start) or head.lower().startswith(start):
            return f"{path.name} {words}"
    return ""


@dataclass(frozen=True, slots=True)
class FlatPicture:
    """A flat picture: its pixels, which way it lies, its ICC profile, and what must be said."""

    pixels: LazyPicture
    orientation: int
    profile: bytes | None
    notes: tuple[str, ...]


def open_picture(path: Path) -> FlatPicture:
    """PNG, JPEG and the like; the header is checked, the pixels are decoded at the first slice.

    Raises
    ------
    SlideError
        If it is not an image, or too large for a flat file; when sliced, if it is cut off.
    """
    from PIL import Image

    broken = SlideError(other_kind(path) or f"{path.name} is not an image or is cut off; {HELP}")
    try:
        with _opened(path) as file:
            width, height = file.size
            mode = _mode(file)
            orientation = _orientation(file, path)
            profile = file.info.get("icc_profile")
            frames = int(getattr(file, "n_frames", 1))
            inks = file.mode == "CMYK"
            lab = file.mode in ("LAB", "HSV")
    except Image.DecompressionBombError:
        raise SlideError(
            f"{path.name} is too large for a flat picture; save it as a tiled, pyramidal TIFF"
        ) from None
    except SlideError:
        raise
    except Exception:  # what Pillow and its parsers raise for damaged headers
        raise broken from None
    if inks or lab:
        held = "printing inks (CMYK)" if inks else "CIELAB colours"
        raise SlideError(f"{path.name} holds {held}; save it as RGB")
    channels, dtype = {
        **{"L": (1, "u1"), "RGBA": (4, "u1"), "I;16": (1, "u2"), "I": (1, "i4")},
        **{"RGB;16": (3, "u2"), "RGBA;16": (4, "u2")},
    }.get(mode, (3, "u1"))
    # of 8 bits, so many pixels; of 16 half of them
    if width * height * max(1, np.dtype(dtype).itemsize * channels / 3) > limits.FLAT_PIXELS:
        raise SlideError(
            f"{path.name} is too large for a flat picture; save it as a tiled, pyramidal TIFF"
        )

    def load() -> NDArray[Any]:
        try:
            if mode in ("RGB;16", "RGBA;16"):
                return _deep_png(path, (height, width, channels))
            with _opened(path) as file:
                kind = file.format
                pixels = np.asarray(file if mode.startswith("I") else file.convert(mode), dtype)
        except Exception:  # a cut stream, or one that is not what its header says
            raise SlideError(f"{path.name} is cut off or damaged; copy the file again") from None
        if kind in JPEGS:
            _check_jpeg(path)
        if kind == "WEBP" and is_cut(path.read_bytes()):
            raise SlideError(f"{path.name} is cut off or damaged; copy the file again")
        return pixels.reshape(height, width, channels)

    return FlatPicture(
        LazyPicture((height, width, channels), dtype, load),
        orientation,
        profile if isinstance(profile, bytes) else None,
        (f"the file holds {frames} pictures; the first was opened",) if frames > 1 else (),
    )


def _deep_png(path: Path, shape: tuple[int, int, int]) -> NDArray[Any]:
    """RGB or RGBA of 16 bits, of which Pillow keeps the upper 8: dark where a camera has 12."""
    import imagecodecs

    pixels: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    if pixels.shape[2] == 2:  # grey and alpha
        pixels = pixels[..., [0, 0, 0, 1]]
    return pixels.reshape(shape)


def _orientation(file: Any, path: Path) -> int:
    """Which way a picture lies; the pixels are not decoded for it. Broken EXIF says nothing."""
    from PIL import Image

    try:
        if file.format == "PNG":  # whose own method loads all of it
            exif = Image.Exif()
            exif.load(_exif_of_png(file, path))
        else:
            exif = file.getexif()
        value = exif.get(ORIENTATION, 1)
    except Exception:  # parsers raise whatever they like
        return 1
    return value if value in range(1, 9) else 1


def _exif_of_png(file: Any, path: Path) -> bytes:
    """EXIF of a PNG: of its chunk, which may follow the pixels, or of the text of older programs.

    Empty where there is none.
    """
    if "exif" in file.info:
        return bytes(file.info["exif"])
    text = file.info.get("Raw profile type exif")
    if text:  # a name, a length, and bytes as hexadecimal digits, a line each
        return bytes.fromhex("".join(str(text).split("\n")[3:]))
    with path.open("rb") as raw:
        raw.seek(len(PNG))
        for _ in range(CHUNKS):
            head = raw.read(8)
            length = int.from_bytes(head[:4], "big")
            if len(head) < 8 or head[4:] == b"IEND":
                break
            if head[4:] == b"eXIf" and length <= 2**16:
                return b"Exif\0\0" + raw.read(length)
            raw.seek(length + 4, 1)
    return b""


def _check_jpeg(path: Path) -> None:
    """Raise for a JPEG that libjpeg only warns of: it fills what is broken with grey.

    Raises
    ------
    SlideError
        If it is damaged.
    """
    import simplejpeg

    try:  # an eighth of the size costs little, and reads all codes
        simplejpeg.decode_jpeg(path.read_bytes(), min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        if "unsupported" in str(error).lower():
            return
        raise SlideError(f"{path.name} is cut off or damaged; copy the file again") from None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A Pillow image; what cannot be read is an error, and many pixels are no attack here."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Image.open(path, formats=FORMATS)
    with file:
        yield file


def _mode(file: Any) -> str:
    """Pillow mode that keeps what the picture holds: grey, 16-bit grey, RGB or RGBA.

    With ";16" behind it, one that Pillow does not keep.
    """
    if file.format == "PNG" and "transparency" not in file.info:
        packed = str(file.tile[0][3]) if file.tile else ""
        if packed in ("RGB;16B", "RGBA;16B", "LA;16B"):
            return "RGB;16" if packed == "RGB;16B" else "RGBA;16"
    if file.mode.startswith("I"):
        return "I" if file.mode == "I" else "I;16"
    if file.mode in ALPHA or "transparency" in file.info:
        return "RGBA"
    return "L" if file.mode in ("L", "1") else "RGB"
