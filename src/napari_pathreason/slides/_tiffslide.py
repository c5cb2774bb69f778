"""Pyramids that need tiffslide's own reader: strips, composites, several series."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._source import Decoded, Window, white


class TiffSlideSource:
    """A slower source for every layout that tiffslide knows and `TiffSource` does not.

    Parameters
    ----------
    slide : tiffslide.TiffSlide
        Open; closed with this source.
    """

    def __init__(self, slide: Any) -> None:
        self._slide = slide

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return tuple(tuple(size) for size in self._slide.level_dimensions)

    @property
    def chunk(self) -> tuple[int, int]:
        """See `Source.chunk`."""
        width, height = self.level_sizes[0]
        return min(512, width), min(512, height)

    def read(self, level: int, window: Window) -> Decoded:
        """See `Source.read`."""
        x1, y1, x2, y2 = window
        area = (x2 - x1) * (y2 - y1)
        zoom = self._slide.level_downsamples[level]
        try:
            pixels = self._slide.read_region(
                (round(x1 * zoom), round(y1 * zoom)), level, (x2 - x1, y2 - y1), as_array=True
            )
        except Exception:  # codecs raise whatever they like; a damaged part is not fatal
            return Decoded(white(x2 - x1, y2 - y1), area, area)
        return Decoded(np.ascontiguousarray(pixels[..., :3], np.uint8), area)

    def close(self) -> None:
        """See `Source.close`."""
        self._slide.close()
