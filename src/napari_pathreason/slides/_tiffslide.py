"""Levels that need tiffslide's own reader: 16 bits, planes, palettes, composed series."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

from ._colours import refuse_inks, to_colours


class TiffSlideLevel:
    """One level of a tiffslide slide as an array-like (height, width, channels).

    Slower than `TiffSource`, but for every layout that tiffslide knows.

    Parameters
    ----------
    slide : tiffslide.TiffSlide
        Open; stays the caller's.
    level : int
    """

    def __init__(self, slide: Any, level: int) -> None:
        self._slide, self._level = slide, level
        series = slide.ts_tifffile.series[slide.properties.get("tiffslide.series-index", 0)]
        self._page = series.keyframe
        refuse_inks(self._page.photometric, "the slide")
        axes = str(slide.properties["tiffslide.series-axes"])
        channels = dict(zip(series.axes, series.shape, strict=True)).get(
            {"YXS": "S", "CYX": "C"}.get(axes, ""), 1
        )
        if axes not in ("YXS", "CYX", "YX"):
            raise SlideError(f"the slide is a stack ({axes}); save one plane of it")
        width, height = slide.level_dimensions[level]
        palette = self._page.photometric == 3
        self.shape = (height, width, 3 if palette else channels)
        self.dtype = np.dtype(self._page.dtype)

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = (range(*k.indices(n)) for k, n in zip(key, self.shape[:2], strict=True))
        if not rows or not columns:
            return np.empty((len(rows), len(columns), self.shape[2]), self.dtype)
        zoom = self._slide.level_downsamples[self._level]
        # tiffslide divides by the zoom and cuts off, so that a ceiling comes back exact
        corner = (math.ceil(columns[0] * zoom), math.ceil(rows[0] * zoom))
        size = (columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])
        try:
            pixels = self._slide.read_region(corner, self._level, size, as_array=True)
        except Exception as error:  # codecs raise whatever they like
            raise OSError("a part of the slide is damaged") from error
        return to_colours(pixels, self._page)[:: rows.step, :: columns.step]
