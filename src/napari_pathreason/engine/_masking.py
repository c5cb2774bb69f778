"""What lies outside an annotation's outline is not shown: it is filled with the slide's background.

An answer about an annotation is then about nothing else, whether it is read as one picture or by
windows. Only the looks that choose windows see what lies around it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.geometry import Region
from napari_pathreason.types import Outline, Request

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


def inside_outline(outline: Outline, region: Region, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels of a picture have their centre within an outline, by the even-odd rule.

    Parameters
    ----------
    outline : tuple of (float, float)
        Corners (x, y), level-0 pixels; the last is joined with the first.
    region : Region
        What the picture shows.
    size : tuple of int
        (width, height) of the picture in pixels.

    Returns
    -------
    bool array (height, width)
    """
    columns, rows = size
    scale = np.array([columns / region.width, rows / region.height])
    corners = (np.asarray(outline, dtype=float) - (region.x, region.y)) * scale - 0.5
    (x1, y1), (x2, y2) = corners.T, np.roll(corners, -1, axis=0).T
    # a side crosses the rows whose centres lie from its upper end on, and above its lower one
    first = np.clip(np.ceil(np.minimum(y1, y2)), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y1, y2)), 0, rows).astype(np.int64)
    counts = last - first
    side = np.repeat(np.arange(len(corners)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[side]
    x = x1[side] + (row - y1[side]) * (x2[side] - x1[side]) / (y2[side] - y1[side])
    column = np.clip(np.ceil(x), 0, columns).astype(np.int64)
    crossings = np.zeros((rows, columns + 1), np.int64)
    np.add.at(crossings, (row, column), 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :columns] % 2 == 1)


def masking_note(colour: tuple[int, int, int]) -> str:
    """What a reader must know of a picture that was masked."""
    words = "white" if min(colour) >= 250 else "rgb({}, {}, {})".format(*colour)
    return (
        "what lies outside the outline was not shown to the model; it was filled with the slide's "
        f"background ({words})"
    )
