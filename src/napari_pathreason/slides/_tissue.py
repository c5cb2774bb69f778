"""Where on a slide there is anything to look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region

from ._slide import Slide

LEAST, MOST = 20, 60
"""Otsu's threshold is kept between these: a blank slide has no tissue, a field of it no gaps."""


@dataclass(frozen=True, slots=True)
class TissueMask:
    """Tissue of a slide, coarse.

    Parameters
    ----------
    mask : bool array (rows, columns)
        Over the whole slide.
    width, height : int
        Of the slide, level-0 pixels.
    pixels_decoded : int
        What looking for it cost.
    """

    mask: NDArray[np.bool_]
    width: int
    height: int
    pixels_decoded: int = 0

    def share(self, region: Region) -> float:
        """Share (0 to 1) of a region that is tissue; a region below a mask pixel takes that one.

        Parameters
        ----------
        region : Region
            Level-0 pixels, on the slide.
        """
        rows, columns = self.mask.shape
        x1, x2 = _span(region.x, region.width, columns / self.width, columns)
        y1, y2 = _span(region.y, region.height, rows / self.height, rows)
        return float(self.mask[y1:y2, x1:x2].mean())


def tissue_mask(slide: Slide, size: tuple[int, int]) -> TissueMask:
    """Tell tissue from glass by Otsu's threshold on how far a pixel is from white.

    That is 255 less its darkest channel: large for what is coloured and for what is dark.

    Parameters
    ----------
    slide : Slide
    size : tuple of int
        (columns, rows) of the mask; the coarsest level that has them is read.

    Raises
    ------
    SlideError
        If no part of the slide can be read.
    """
    from skimage.filters import threshold_otsu

    image = slide.read_region(Region(0, 0, slide.width, slide.height), size)
    if image.unreadable >= 1:
        raise SlideError(
            f"{slide.info.name} is damaged, no part of it can be read; get a whole copy of it"
        )
    stained = _stained(image.pixels)
    threshold = int(min(max(threshold_otsu(stained), LEAST), MOST))
    return TissueMask(stained > threshold, slide.width, slide.height, image.pixels_decoded)


def tissue_share(pixels: NDArray[np.uint8]) -> float:
    """Share (0 to 1) of a picture (height, width, 3) that is not as good as white.

    The least threshold of `tissue_mask`: where this finds nothing, there is nothing. It needs no
    further read of the slide.
    """
    return float(is_tissue(pixels).mean())


def is_tissue(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels (..., 3) are not as good as white, bool (...); see `tissue_share`."""
    return _stained(pixels) > LEAST


def _stained(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How far each pixel is from white."""
    return np.asarray(255 - pixels.min(axis=-1), dtype=np.uint8)


def _span(start: int, extent: int, zoom: float, length: int) -> tuple[int, int]:
    first = min(max(round(start * zoom), 0), length - 1)
    return first, min(max(round((start + extent) * zoom), first + 1), length)
