"""Slides through OpenSlide: DICOM, and what other readers do not know or read wrongly.

Tried with DICOM (VL Whole Slide Microscopy), SVS and tiled TIFF. It also knows MIRAX, VMS, Philips
TIFF, Zeiss CZI and more, by its version; those were not tried here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

from . import _limits as limits
from ._arrays import SQUARE
from ._scale import Mpp
from ._source import Decoded, Window

T = TypeVar("T")
R = TypeVar("R")

SUFFIXES = {".mrxs", ".vms", ".vmu", ".czi", ".svslide", ".dcm", ".dicom"}
"""Files that nothing else here reads."""
PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00")
"""Tags of DICOM that hold pixels, little endian."""


class OpenSlideSource:
    """A pyramid of OpenSlide's.

    Parameters
    ----------
    path : Path
    notes : tuple of str
        Of how it was opened.

    Raises
    ------
    SlideError
        If OpenSlide does not read it, by what it says.
    """

    def __init__(self, path: Path, notes: tuple[str, ...] = ()) -> None:
        self._path = path
        self._slide = _opened(path)
        self._lock = Lock()
        self._notes = notes
        self._sizes = tuple((int(w), int(h)) for w, h in self._slide.level_dimensions)
        self._zooms = tuple(float(zoom) for zoom in self._slide.level_downsamples)
        self._tiles = tuple(
            tuple(
                min(
                    side,
                    int(self._slide.properties.get(f"openslide.level[{i}].tile-{name}", SQUARE)),
                )
                for name, side in zip(("width", "height"), size, strict=True)
            )
            for i, size in enumerate(self._sizes)
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source.notes`."""
        return self._notes

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return self._sizes

    @property
    def tile_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.tile_sizes`."""
        return tuple((width, height) for width, height in self._tiles)

    @property
    def mpp(self) -> Mpp:
        """Scale that its maker states; None if they state none."""
        values = [self._slide.properties.get(f"openslide.mpp-{axis}") for axis in "xy"]
        try:
            return float(values[0]), float(values[1])
        except (TypeError, ValueError):
            return None

    @property
    def profile(self) -> bytes | None:
        """ICC profile; None where there is none."""
        profile = self._slide.color_profile
        return None if profile is None else profile.tobytes()

    def read(self, level: int, window: Window, keep: bool = True) -> Decoded:
        """See `Source.read`."""
        x1, y1, x2, y2 = window
        area = (x2 - x1) * (y2 - y1)
        pixels = self._pixels(level, window)
        if pixels is not None:
            return Decoded(pixels, area)
        out = np.full((y2 - y1, x2 - x1, 3), 255, np.uint8)
        lost: list[Window] = []
        width, height = self._tiles[level]
        for top in range(y1 // height * height, y2, height):
            for left in range(x1 // width * width, x2, width):
                part = max(left, x1), max(top, y1), min(left + width, x2), min(top + height, y2)
                pixels = None if part == window else self._pixels(level, part)
                if pixels is None:
                    lost.append(part)
                    continue
                out[part[1] - y1 : part[3] - y1, part[0] - x1 : part[2] - x1] = pixels
        return Decoded(out, area, sum((x - a) * (y - b) for a, b, x, y in lost), tuple(lost))

    def each(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """See `Source.each`; in the caller's thread."""
        return [work(part) for part in parts]

    def close(self) -> None:
        """See `Source.close`."""
        self._slide.close()

    def _pixels(self, level: int, window: Window) -> NDArray[np.uint8] | None:
        """RGB over white; None where it is damaged."""
        import openslide
        from PIL import Image

        x1, y1, x2, y2 = window
        corner = round(x1 * self._zooms[level]), round(y1 * self._zooms[level])
        with self._lock:
            slide = self._slide
        try:
            picture = slide.read_region(corner, level, (x2 - x1, y2 - y1))
        except openslide.OpenSlideError:  # from now on this handle answers nothing else
            with self._lock:
                if self._slide is slide:
                    self._slide = _opened(self._path)
            return None
        except (ValueError, OSError) as error:
            if "closed" in str(error).lower() or type(error).__name__ == "ArgumentError":
                raise SlideError("the slide was closed; open it again") from None
            raise
        over = Image.new("RGBA", picture.size, "white")
        over.alpha_composite(picture)
        return np.asarray(over.convert("RGB"))


def _opened(path: Path) -> Any:
    import openslide

    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise SlideError(f"{path.name} is of no format that OpenSlide reads") from None
    except (openslide.OpenSlideError, OSError) as error:
        words = " ".join(str(error).split()).replace(str(path.parent), "").strip()
        raise SlideError(
            f"{path.name} cannot be read ({words[:120] or 'damaged'}); copy it again"
        ) from None


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def dicom_in(folder: Path) -> Path | None:
    """One file of the DICOM slide that a folder holds; None where it holds no DICOM.

    Raises
    ------
    SlideError
        If it holds several slides.
    """
    files = []
    for number, file in enumerate(sorted(folder.iterdir())):
        if number >= limits.DICOM_FILES:
            break
        if file.is_file() and is_dicom(file):
            files.append(file)
    if not files:
        return None
    slides: dict[str, Path] = {}
    fault: SlideError | None = None
    for file in files:
        key = _series_of(file)
        if key in slides:
            continue
        try:
            source = OpenSlideSource(file)
        except SlideError as error:
            fault = fault or error
            continue
        source.close()
        slides[key] = file
    if len(slides) > 1:
        raise SlideError(
            f"{folder.name} holds {len(slides)} slides; give a file of one: "
            + ", ".join(file.name for file in list(slides.values())[:3])
        )
    if slides:
        return next(iter(slides.values()))
    raise (
        dicom_fault(files[0], folder.name)
        if fault is not None
        else SlideError(f"{folder.name} holds no DICOM slide")
    )


def dicom_fault(path: Path, name: str) -> SlideError:
    """Why a DICOM file, which OpenSlide does not open, is none that can be read."""
    rest = b""
    with path.open("rb") as file:
        while block := file.read(io.DEFAULT_BUFFER_SIZE * 128):
            if any(tag in rest + block for tag in PIXEL_DATA):
                return SlideError(
                    f"{name} is DICOM, but no whole-slide image (VL Whole Slide Microscopy) that "
                    "can be read; export it as tiled DICOM with JPEG or JPEG 2000"
                )
            rest = block[-4:]
    return SlideError(f"{name} is DICOM without pixel data; give the files that hold the pictures")


def _series_of(path: Path) -> str:
    """UID of the series of a DICOM file; its name where it states none."""
    with path.open("rb") as file:
        head = file.read(65536)
    at = head.find(b"\x20\x00\x0e\x00UI", 132)
    if at < 0:
        at = head.find(b"\x20\x00\x0e\x00", 132)
        if at < 0:
            return path.name
        length = int.from_bytes(head[at + 4 : at + 8], "little")
        return head[at + 8 : at + 8 + min(length, 64)].decode("ascii", "replace").strip("\0 ")
    length = int.from_bytes(head[at + 6 : at + 8], "little")
    return head[at + 8 : at + 8 + min(length, 64)].decode("ascii", "replace").strip("\0 ")
