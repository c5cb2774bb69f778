"""Where on a slide there is anything to look at."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Outline, Region, inside_outline

from ._slide import RegionImage, Slide

LEAST, MOST = 20, 60
"""Otsu's threshold is kept between these: a blank slide has no tissue, a field of it no gaps."""
BLACK = 16
"""Brightest channel of padding, which scanners and programs leave where nothing was scanned."""
NEUTRAL = 20
"""Channels of glass, or of padding that was mixed with it, are no further apart."""
DIM = 90
"""Glass is at least so bright, even where a lamp is weak."""
WHITE = 238
"""Glass that is as bright as this needs no balance: pixels are compared with white as they are."""
PEN = 0.005
"""Share of a slide from which pen marks are said."""
NOISY = 4.0
"""Standard deviation from which noise is averaged away before tissue is looked for."""


@dataclass(frozen=True, slots=True)
class TissueMask:
    """Tissue of a slide, coarse.

    Parameters
    ----------
    mask : bool array (rows, columns)
        Over the whole slide; what is unknown counts as tissue, so that it is read.
    width, height : int
        Of the slide, level-0 pixels.
    pixels_decoded : int
        What looking for it cost.
    unknown : float
        Share (0 to 1) of the slide that could not be judged, as its coarse level is damaged.
    notes : tuple of str
        What a reader of results must know.
    """

    mask: NDArray[np.bool_]
    width: int
    height: int
    pixels_decoded: int = 0
    unknown: float = 0.0
    notes: tuple[str, ...] = field(default=())

    def share(self, region: Region, outline: Outline = ()) -> float:
        """Share (0 to 1) of a region that is tissue; a region below a mask pixel takes that one.

        Parameters
        ----------
        region : Region
            Level-0 pixels, on the slide.
        outline : tuple of (float, float)
            Corners, level-0 pixels; what lies outside does not count. An outline without the
            middle of any mask pixel in it takes all of the region.
        """
        rows, columns = self.mask.shape
        across, down = columns / self.width, rows / self.height
        x1, x2 = _span(region.x, region.width, across, columns)
        y1, y2 = _span(region.y, region.height, down, rows)
        part = self.mask[y1:y2, x1:x2]
        if outline:
            size = (x2 - x1, y2 - y1)
            scaled = tuple((x * across, y * down) for x, y in outline)
            inside = inside_outline(scaled, Region(x1, y1, *size), size)
            part = part[inside] if inside.any() else part
        return float(part.mean())


def tissue_mask(slide: Slide, size: tuple[int, int]) -> TissueMask:
    """Tell tissue from glass by Otsu's threshold on how far a pixel is from white.

    That is 255 less its darkest channel: large for what is coloured and for what is dark. Glass
    that is grey is balanced to white before, noise is averaged away, black padding is no tissue,
    and what could not be read is unknown and counts as tissue.

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
    if image.unreadable >= 1 and not _is_readable(slide):
        raise SlideError(
            f"{slide.info.name} is damaged, no part of it can be read; get a whole copy of it"
        )
    lost = _lost_cells(slide, image)
    padding = _padding(image.pixels)
    known = ~(lost | padding)
    pixels = _balanced(_smooth(image.pixels), known)
    stained = _stained(pixels)
    values = stained[known] if known.any() else np.zeros(1, np.uint8)
    threshold = int(min(max(threshold_otsu(values), LEAST), MOST))
    mask = ((stained > threshold) & ~padding) | lost
    unknown = float(lost.mean())
    notes = _pen_marks(image.pixels)
    if unknown:
        notes += (
            f"{max(1, round(100 * unknown))} % of the slide could not be judged, as a coarse level "
            "of it is damaged; all of that counts as tissue and is read",
        )
    return TissueMask(mask, slide.width, slide.height, image.pixels_decoded, unknown, notes)


def tissue_share(pixels: NDArray[np.uint8]) -> float:
    """Share (0 to 1) of a picture (height, width, 3) that is not as good as white.

    The least threshold of `tissue_mask`: where this finds nothing, there is nothing. It needs no
    further read of the slide.
    """
    return float(is_tissue(pixels).mean())


def is_tissue(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels (height, width, 3) are not as good as white, bool (height, width).

    Nor are black ones where they reach the edge of the picture: that is padding. See
    `tissue_share`.
    """
    stained = _stained(pixels) > LEAST
    black = pixels.max(axis=-1) <= BLACK
    return np.asarray(stained & ~_at_edge(black)) if black.any() else np.asarray(stained)


def _at_edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Parts of a mask (height, width) that reach an edge of it."""
    from skimage.measure import label

    parts = label(mask, connectivity=1)
    edges = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.asarray(mask & np.isin(parts, np.unique(edges)))


def _stained(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How far each pixel is from white."""
    return np.asarray(255 - pixels.min(axis=-1), dtype=np.uint8)


def _is_readable(slide: Slide) -> bool:
    """Whether anything of level 0 can be read, where all of a coarse level is lost."""
    side = 256
    for part in (0.5, 0.25, 0.75):
        x, y = (int(part * max(0, extent - side)) for extent in (slide.width, slide.height))
        region = Region(x, y, side, side).clipped(slide.width, slide.height)
        if slide.read_region(region, (region.width, region.height)).unreadable < 1:
            return True
    return False


def _lost_cells(slide: Slide, image: RegionImage) -> NDArray[np.bool_]:
    """Pixels of the mask that meet a tile which could not be read."""
    rows, columns = image.pixels.shape[:2]
    lost = np.zeros((rows, columns), np.bool_)
    across, down = columns / slide.width, rows / slide.height
    for part in image.lost:
        x1, x2 = int(part.x * across), int(np.ceil((part.x + part.width) * across))
        y1, y2 = int(part.y * down), int(np.ceil((part.y + part.height) * down))
        lost[y1:y2, x1:x2] = True
    if image.unreadable >= 1:
        lost[:] = True
    return lost


def _pen_marks(pixels: NDArray[np.uint8]) -> tuple[str, ...]:
    """What to say of blue or green ink on a bright slide: neither is the colour of a stain."""
    if float(np.median(pixels)) < 128:
        return ()
    red, green, blue = (pixels[..., i].astype(np.int16) for i in range(3))
    ink = ((blue - red > 90) & (red < 110)) | ((green - red > 40) & (green - blue > 15))
    share = float(ink.mean())
    if share < PEN:
        return ()
    return (
        f"about {100 * share:.1f} % of the slide looks like marks of a pen; it counts as tissue",
    )


def _padding(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Black pixels that reach the edge of the slide, and neutral ones beside them, mixed of both.

    Black within is not known to be padding, and is looked at.
    """
    black = pixels.max(axis=-1) <= BLACK
    if not black.any():
        return np.asarray(black)
    black = _at_edge(black)
    spread = pixels.max(axis=-1).astype(np.int16) - pixels.min(axis=-1)
    return np.asarray(black | (_grown(black) & (spread <= NEUTRAL)))


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask and the eight neighbours of each of its pixels."""
    wide = np.pad(mask, 1)
    rows, columns = mask.shape
    parts = [wide[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    return np.asarray(np.logical_or.reduce(parts))


def _noise(pixels: NDArray[np.uint8]) -> float:
    """Standard deviation of noise, from the differences of neighbours: half of them are small."""
    if pixels.shape[1] < 2:
        return 0.0
    steps = np.abs(np.diff(pixels.astype(np.int16), axis=1))
    return float(np.median(steps)) / (0.6745 * math.sqrt(2))


def _smooth(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of 3 x 3 pixels, or of 5 x 5, where a picture is noisy."""
    noise = _noise(pixels)
    if noise <= NOISY:
        return pixels
    reach = 1 if noise <= 3 * NOISY else 2
    rows, columns = pixels.shape[:2]
    wide = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(np.uint32)
    side = 2 * reach + 1
    total = sum(wide[y : y + rows, x : x + columns] for y in range(side) for x in range(side))
    return np.asarray((total + side * side // 2) // (side * side), dtype=np.uint8)


def _balanced(pixels: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture as if its glass were white, where it has glass that is grey."""
    glass = _glass(pixels, known)
    if glass is None:
        return pixels
    lifted = pixels.astype(np.float32) * (255 / glass)
    return np.minimum(np.rint(lifted), 255).astype(np.uint8)


def _glass(pixels: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Colour of glass, float32 (3,): neutral, even, and the brightest there is; None where white.

    Pale tissue is neither even nor neutral; where no glass is in the picture, white is its measure.
    """
    brightness = pixels.mean(axis=-1)
    spread = pixels.max(axis=-1).astype(np.int16) - pixels.min(axis=-1)
    neutral = known & (spread <= NEUTRAL) & (brightness >= DIM)
    if neutral.sum() < 0.03 * max(1, known.sum()):
        return None
    counts, edges = np.histogram(brightness[neutral], bins=np.arange(DIM, 264, 4))
    level = float(edges[int(np.argmax(counts))] + 2)
    if level >= WHITE:
        return None
    around = neutral & (np.abs(brightness - level) <= 10)
    brighter = known & (brightness > level + 20)
    if around.sum() < 0.03 * known.sum() or brighter.sum() > 0.1 * known.sum():
        return None
    steps = np.abs(np.diff(brightness, axis=1))[around[:, 1:] & around[:, :-1]]
    if steps.size and float(np.median(steps)) > 3:
        return None
    colour: NDArray[np.float32] = np.median(pixels[around], axis=0).astype(np.float32)
    return colour


def _span(start: int, extent: int, zoom: float, length: int) -> tuple[int, int]:
    first = min(max(round(start * zoom), 0), length - 1)
    return first, min(max(round((start + extent) * zoom), first + 1), length)
