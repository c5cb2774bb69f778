"""What a `Slide` reads from: a pyramid of RGB levels, decoded window by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Window = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in whole pixels of one level, inside that level."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One window of one level.

    ``pixels`` is uint8 (height, width, 3); ``decoded`` counts the pixels that had to be decoded
    for it (whole native tiles), ``unreadable`` those of the window that could not be.
    """

    pixels: NDArray[np.uint8]
    decoded: int
    unreadable: int = 0


class Source(Protocol):
    """A pyramid; all methods may be called from several threads at once."""

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level in pixels, level 0 first."""

    @property
    def chunk(self) -> tuple[int, int]:
        """(width, height) of a native tile of level 0."""

    def read(self, level: int, window: Window) -> Decoded:
        """Decode a window of a level; damaged tiles are white and counted, never an error."""

    def close(self) -> None:
        """Release the file; reading after that raises `SlideError`."""


def white(width: int, height: int) -> NDArray[np.uint8]:
    """White pixels, uint8 (height, width, 3)."""
    return np.full((height, width, 3), 255, np.uint8)


def over_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of RGBA pixels (..., 4) laid over white."""
    alpha = pixels[..., 3:].astype(np.uint16)
    mixed = (pixels[..., :3].astype(np.uint16) * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)
