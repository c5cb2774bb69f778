"""Pyramids that lie on their side, and colours of a profile: sources around a source."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._source import Decoded, Source, Window

T = TypeVar("T")
R = TypeVar("R")

UPRIGHT = 1
"""Orientation of a picture whose first row is its top and whose first column is its left."""


class OrientedSource:
    """A pyramid shown as its orientation tag says, which viewers do too.

    Parameters
    ----------
    source : Source
    orientation : int
        2 to 8, as of TIFF and EXIF: from 5 on rows and columns are exchanged.
    """

    def __init__(self, source: Source, orientation: int) -> None:
        self._source = source
        self._turned = orientation >= 5
        # of the picture after rows and columns are exchanged, where they are
        self._right, self._down = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source.notes`."""
        return self._source.notes

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return self._all(self._source.level_sizes)

    @property
    def tile_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.tile_sizes`."""
        return self._all(self._source.tile_sizes)

    def read(self, level: int, window: Window, keep: bool = True) -> Decoded:
        """See `Source.read`."""
        done = self._source.read(level, self._inner(level, window), keep)
        lost = tuple(self._outer(level, part) for part in done.lost)
        return Decoded(self._shown(done.pixels), done.decoded, done.unreadable, lost)

    def each(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """See `Source.each`."""
        return self._source.each(work, parts)

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()

    def _all(self, sizes: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        return tuple((h, w) for w, h in sizes) if self._turned else sizes

    def _shown(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._turned:
            pixels = pixels.transpose(1, 0, 2)
        if self._right:
            pixels = pixels[:, ::-1]
        if self._down:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)

    def _inner(self, level: int, window: Window) -> Window:
        width, height = self.level_sizes[level]
        x1, y1, x2, y2 = window
        if self._right:
            x1, x2 = width - x2, width - x1
        if self._down:
            y1, y2 = height - y2, height - y1
        return (y1, x1, y2, x2) if self._turned else (x1, y1, x2, y2)

    def _outer(self, level: int, window: Window) -> Window:
        width, height = self.level_sizes[level]
        x1, y1, x2, y2 = window
        if self._turned:
            x1, y1, x2, y2 = y1, x1, y2, x2
        if self._right:
            x1, x2 = width - x2, width - x1
        if self._down:
            y1, y2 = height - y2, height - y1
        return x1, y1, x2, y2


class ProfiledSource:
    """A pyramid whose colours are turned into sRGB, as its ICC profile says.

    Parameters
    ----------
    source : Source
    transform : PIL.ImageCms.ImageCmsTransform
        See `transform_of`.
    """

    def __init__(self, source: Source, transform: Any) -> None:
        self._source, self._transform = source, transform

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source.notes`."""
        return self._source.notes

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return self._source.level_sizes

    @property
    def tile_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.tile_sizes`."""
        return self._source.tile_sizes

    def read(self, level: int, window: Window, keep: bool = True) -> Decoded:
        """See `Source.read`; what could not be read stays background."""
        from PIL import Image, ImageCms

        done = self._source.read(level, window, keep)
        picture = Image.fromarray(np.ascontiguousarray(done.pixels))
        turned = ImageCms.applyTransform(picture, self._transform)
        pixels = np.array(turned)
        for x1, y1, x2, y2 in done.lost:
            rows, columns = (
                slice(y1 - window[1], y2 - window[1]),
                slice(x1 - window[0], x2 - window[0]),
            )
            pixels[rows, columns] = done.pixels[rows, columns]
        return Decoded(pixels, done.decoded, done.unreadable, done.lost)

    def each(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """See `Source.each`."""
        return self._source.each(work, parts)

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()


def transform_of(profile: bytes) -> Any:
    """Transform of Pillow's from an RGB profile to sRGB; None where the profile is not one."""
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if own.profile.xcolor_space.strip() != "RGB":
            return None
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        return ImageCms.buildTransform(
            own, ImageCms.createProfile("sRGB"), "RGB", "RGB", renderingIntent=intent
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
