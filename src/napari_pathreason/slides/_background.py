"""The colour of a slide where there is nothing: what stands in for pixels that nobody is to see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.geometry import Region, size_within

from ._slide import Slide
from ._tissue import BLACK, is_tissue

SIDE = 256
"""Pixels of the longer side of the look at a slide that its background is taken from."""
LEAST = 0.01
"""Share of a slide that must be empty, so that its colour is known."""
DARK = 64
"""Median of all pixels, of 255, below which a slide is one of fluorescence: its ground is dark."""
DARKEST = 0.05
"""Share of such a slide that its ground is taken from."""


@dataclass(frozen=True, slots=True)
class Background:
    """What a slide looks like where there is nothing.

    Parameters
    ----------
    colour : tuple of int
        Red, green, blue, 0 to 255.
    pixels_decoded : int
        What looking for it cost this time; 0 where it was known.
    """

    colour: tuple[int, int, int]
    pixels_decoded: int = 0


def background(slide: Slide) -> Background:
    """Median colour of the empty part of a slide; looked for once, then known.

    Empty is what `is_tissue` finds nothing in. A slide that is full of tissue has white, one of
    fluorescence the median of its darkest part.

    Raises
    ------
    SlideError
        If the slide cannot be read.
    """
    known = slide.background
    if known is not None:
        return Background(known)
    width, height = slide.info.width, slide.info.height
    image = slide.read_region(Region(0, 0, width, height), size_within(width, height, SIDE))
    found = Background(_colour(image.pixels), image.pixels_decoded)
    slide.background = found.colour
    return found


def _colour(pixels: NDArray[np.uint8]) -> tuple[int, int, int]:
    brightness = pixels.mean(axis=-1)
    if float(np.median(brightness)) < DARK:
        empty = brightness <= np.quantile(brightness, DARKEST)
    else:
        # black that reaches the edge is no glass: scanners leave it where nothing was scanned
        empty = ~is_tissue(pixels) & (pixels.max(axis=-1) > BLACK)
        if float(empty.mean()) < LEAST:
            return 255, 255, 255
    red, green, blue = (round(float(v)) for v in np.median(pixels[empty], axis=0))
    return red, green, blue
