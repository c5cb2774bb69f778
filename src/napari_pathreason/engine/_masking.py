"""What lies outside an annotation's outline is not shown: it is filled with the slide's background.

An answer about an annotation is then about nothing else, whether it is read as one picture or by
windows. Only the looks that choose windows see what lies around it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_pathreason.geometry import Outline, Region, inside_outline
from napari_pathreason.types import Request

if TYPE_CHECKING:
    from napari_pathreason.slides import RegionImage, Slide


def outline_at(request: Request, region: Region) -> Outline:
    """The outline that a view of a request is masked by; empty where all of it is shown.

    Of several regions in one question each has its own.
    """
    if request.policy != "together":
        return request.outline
    own = (
        one.outline
        for one in request.windows
        if not one.slide and one.region.within(request.region) == region
    )
    return next(own, ())


def fill_of(request: Request, slide: Slide) -> tuple[int, int, int] | None:
    """Red, green and blue of what is masked of a request; None where it has no outline."""
    from napari_pathreason.slides import background  # loads what reads files

    together = request.policy == "together" and any(one.outline for one in request.windows)
    return background(slide).colour if together or request.outline else None


def read_masked(
    slide: Slide, region: Region, size: tuple[int, int], outline: Outline
) -> RegionImage:
    """Read a region at a size (width, height) as a model is shown it; see `masked`."""
    return masked(slide.read_region(region, size), slide, region, outline)


def masked(image: RegionImage, slide: Slide, region: Region, outline: Outline) -> RegionImage:
    """A region as it was read, with what lies outside an outline filled.

    Parameters
    ----------
    image : RegionImage
        Of any size.
    slide : Slide
        Whose background fills it.
    region : Region
        Where it lies, level-0 pixels.
    outline : tuple of (float, float)
        Corners, level-0 pixels; empty: nothing is filled.

    Returns
    -------
    RegionImage
        The same one where nothing lies outside.
    """
    if not outline:
        return image
    rows, columns = image.pixels.shape[:2]
    shown = inside_outline(outline, region, (columns, rows))
    if shown.all():
        return image
    from napari_pathreason.slides import background  # loads what reads files

    ground = background(slide)
    pixels = np.where(shown[..., None], image.pixels, np.array(ground.colour, np.uint8))
    return replace(
        image, pixels=pixels, pixels_decoded=image.pixels_decoded + ground.pixels_decoded
    )


def masking_note(colour: tuple[int, int, int]) -> str:
    """What a reader must know of a picture that was masked."""
    words = "white" if min(colour) >= 250 else "rgb({}, {}, {})".format(*colour)
    return (
        "what lies outside the outline was not shown to the model; it was filled with the slide's "
        f"background ({words})"
    )
