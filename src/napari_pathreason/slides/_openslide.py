"""Slides through OpenSlide: DICOM, and what other readers do not know or read wrongly.

Tried with DICOM (VL Whole Slide Microscopy), SVS and tiled TIFF. It also knows MIRAX, VMS, Philips
TIFF, Zeiss CZI and more, by its version; those were not tried here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

from ._arrays import SQUARE
from ._scale import Mpp
from ._source import Decoded, Window

T = TypeVar("T")
R = TypeVar("R")

SUFFIXES = {".mrxs", ".vms", ".vmu", ".czi", ".svslide", ".dcm", ".dicom"}
"""Files that nothing else here reads."""
WHOLE = "put all files of the slide into one folder, or export it as OME-TIFF"
"""Remedy for slides that are several files."""
TRIED = 12
"""Tiles that are tried before all are thought damaged."""


class OpenSlideSource:
    """A pyramid of OpenSlide's.

    Parameters
    ----------
    path : Path
    notes : tuple of str
        Of how it was opened.
    remedy : str
        What to do where it is not read.

    Raises
    ------
    SlideError
        If OpenSlide does not read it, by what it says.
    """

    def __init__(
        self, path: Path, notes: tuple[str, ...] = (), remedy: str = "copy it again"
    ) -> None:
        self._path, self._remedy = path, remedy
        self._slide = _opened(path, remedy)
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
        """ICC profile, empty where it is damaged; None where there is none."""
        from PIL import ImageCms

        try:
            profile = self._slide.color_profile
            return None if profile is None else profile.tobytes()
        except (ImageCms.PyCMSError, OSError):
            return b""

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

    def check(self, name: str) -> None:
        """Refuse a slide of whose tiles none can be decoded; the middle one mostly can.

        Raises
        ------
        SlideError
            If that is so.
        """
        (width, height), (across, down) = self._tiles[0], self._sizes[0]
        columns, rows = -(-across // width), -(-down // height)
        count = columns * rows
        middle = rows // 2 * columns + columns // 2
        for index in dict.fromkeys([middle, *map(int, np.linspace(0, count - 1, TRIED))]):
            x, y = index % columns * width, index // columns * height
            tile = x, y, min(x + width, across), min(y + height, down)
            if not self.read(0, tile).unreadable:
                return
        raise SlideError(
            f"none of the tiles of {name} that were tried can be decoded; copy the file again"
        )

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
                    self._slide = _opened(self._path, self._remedy)
            return None
        except (ValueError, OSError) as error:
            if "closed" in str(error).lower() or type(error).__name__ == "ArgumentError":
                raise SlideError("the slide was closed; open it again") from None
            raise
        over = Image.new("RGBA", picture.size, "white")
        over.alpha_composite(picture)
        return np.asarray(over.convert("RGB"))


def _opened(path: Path, remedy: str) -> Any:
    import openslide

    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise SlideError(f"{path.name} is of no format that OpenSlide reads; {remedy}") from None
    except (openslide.OpenSlideError, OSError) as error:
        words = " ".join(str(error).split()).replace(f"{path.parent}{os.sep}", "").strip()
        raise SlideError(
            f"{path.name} cannot be read ({words[:120] or 'damaged'}); {remedy}"
        ) from None
