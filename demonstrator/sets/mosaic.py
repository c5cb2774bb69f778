"""Pieces of labelled pictures put side by side, their stains blended or not, written as a slide.

Pieces of several slides differ in stain and brightness as no region of one slide does, and these
differences are easier to see than what the pieces show. So a mosaic can be blended: in optical
density, where stains add up, every piece gets the light and the stain of one of them. What is even
across a piece goes, its structure stays; so do the seams.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.files import atomic_bytes
from napari_pathreason.training.samples import Corners, Pictures, turn_array, turn_corners

Pixels = NDArray[np.uint8]
Density = NDArray[np.float64]
"""Optical density of each channel, -ln((v + 1) / 256); float64 (..., 3)."""

BRIGHT = 3
"""Percentile of a piece's density that is its background, if it shows any."""
GLASS = 0.12
"""Mean density above the brightest piece's background, up to which a piece's brightest is glass;
and above its own, up to which a pixel is."""
LEAST_TISSUE = 0.1
"""Share of a piece that is no background, below which all of it counts."""
LEAST_STAIN = 0.02
"""Density below which there is nothing to scale."""
MOST_CHANGE = 2.0
"""Factor by which a piece's density grows or falls, at the most."""
EVERY = 3
"""Every third pixel of a row and of a column is looked at for the stain of a piece."""
SMALLEST_LEVEL = 512
"""Longer side of the smallest level of a slide, at the most; level-0 pixels halve until then."""
TILE = 256
QUALITY = 90


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a labelled picture, turned.

    Parameters
    ----------
    name : str
        A file or a crop of one, as in `Sample.image`.
    source : str
        What was labelled: other pieces of the same source are no independent evidence.
    turn : (int, bool)
        Quarter turns anticlockwise, then a flip from left to right or not.
    mask : str, optional
        As ``name``: what its nuclei cover.
    """

    name: str
    source: str
    turn: tuple[int, bool] = (0, False)
    mask: str | None = None

    def turned(self, corners: Corners, side: int) -> Corners:
        """Where a box (x1, y1, x2, y2) in pixels of the piece lies once it is turned."""
        x1, y1, x2, y2 = (corner / side for corner in corners)
        a, b, c, d = (round(s * side, 6) for s in turn_corners((x1, y1, x2, y2), self.turn))
        return a, b, c, d


Rows = tuple[tuple[Piece, ...], ...]


def draw_turn(rng: Random) -> tuple[int, bool]:
    """One of the eight symmetries of a square."""
    return rng.randrange(4), rng.random() < 0.5


def compose(rows: Rows, pictures: Pictures) -> Pixels:
    """The mosaic as its pieces are, uint8 (height, width, 3)."""
    return _composed(rows, lambda piece: pictures.tile(piece.name))


def compose_mask(rows: Rows, pictures: Pictures) -> NDArray[np.bool_]:
    """What nuclei cover in a mosaic whose pieces all have masks, bool (height, width)."""
    parts = [
        [turn_array(pictures.tile(piece.mask or "")[..., 0] > 0, piece.turn) for piece in row]
        for row in rows
    ]
    return np.block(parts)


def compose_blended(rows: Rows, pictures: Pictures, rng: Random, glass: bool) -> Pixels:
    """The mosaic with the light and the stain of all of its pieces made alike.

    In optical density, each channel by itself: the background of every piece is moved to that of
    the mosaic, and the median of what stands above it is scaled to that of one of the pieces. A
    piece without background is taken to have that of the mosaic. Smears are moved alone: what is
    dark in them is few cells.

    Parameters
    ----------
    rows : Rows
    pictures : Pictures
    rng : Random
        Draws the piece that gives the stain, of the half that is neither palest nor darkest.
    glass : bool
        Whether pieces show tissue, with glass as the background; else they are of smears.

    Returns
    -------
    uint8 array (height, width, 3)
    """
    names = sorted({piece.name for row in rows for piece in row})
    thinned = {name: _density(pictures.tile(name)[::EVERY, ::EVERY]) for name in names}
    bright = {n: np.percentile(d, BRIGHT, axis=(0, 1)) for n, d in thinned.items()}
    limit = min(float(own.mean()) for own in bright.values()) + GLASS
    with_background = [own for own in bright.values() if own.mean() < limit or not glass]
    common: Density = np.median(with_background, axis=0)
    backgrounds = {
        name: own if own.mean() < limit or not glass else common for name, own in bright.items()
    }
    if glass:
        stains = {name: _stain(thinned[name], backgrounds[name]) for name in names}
        in_order = sorted(names, key=lambda name: float(stains[name].mean()))
        wanted = stains[rng.choice(in_order[len(names) // 4 : -(len(names) // 4) or None])]
        factors = {
            name: np.clip(wanted / np.maximum(stain, LEAST_STAIN), 1 / MOST_CHANGE, MOST_CHANGE)
            for name, stain in stains.items()
        }
    else:
        factors = dict.fromkeys(names, np.ones(3))
    tables = {name: _table(backgrounds[name], common, factors[name]) for name in names}

    def coloured(piece: Piece) -> Pixels:
        tile, table = pictures.tile(piece.name), tables[piece.name]
        return np.stack([table[tile[..., c], c] for c in range(3)], axis=-1)

    return _composed(rows, coloured)


def write_slide(path: Path, pixels: Pixels, mpp: float | None) -> None:
    """Write a tiled TIFF with levels that halve, JPEG inside, whole or not at all.

    Parameters
    ----------
    path : Path
    pixels : uint8 array (height, width, 3)
    mpp : float or None
        Micrometres per pixel; None where nobody knows.
    """
    import tifffile

    levels = list(_levels(pixels))
    scale = {} if mpp is None else {"resolution": (1e4 / mpp,) * 2, "resolutionunit": 3}
    whole = io.BytesIO()
    with tifffile.TiffWriter(whole) as tiff:
        for number, level in enumerate(levels):
            tiff.write(
                level,
                photometric="rgb",
                tile=(TILE, TILE),
                compression="jpeg",
                subsampling=(1, 1),  # nuclei are told by their hue
                compressionargs={"level": QUALITY},
                subifds=len(levels) - 1 if number == 0 else 0,
                subfiletype=int(number > 0),
                metadata=None,
                **(scale if number == 0 else {}),
            )
    with atomic_bytes(path) as file:
        file.write(whole.getbuffer())


def _composed(rows: Rows, pixels_of: Callable[[Piece], Pixels]) -> Pixels:
    return np.vstack(
        [np.hstack([turn_array(pixels_of(piece), piece.turn) for piece in row]) for row in rows]
    )


def _density(pixels: Pixels) -> Density:
    density: Density = -np.log((pixels.astype(np.float64) + 1) / 256)
    return density


def _stain(density: Density, background: Density) -> Density:
    """Median of each channel above the background, of what is no background if that is enough."""
    above = density.reshape(-1, 3) - background
    tissue = above[above.mean(1) > GLASS]
    enough = len(tissue) >= LEAST_TISSUE * len(above)
    stain: Density = np.median(tissue if enough else above, axis=0)
    return stain


def _table(background: Density, common: Density, factor: Density) -> Pixels:
    """New value of each old one of each channel, uint8 (256, 3)."""
    above = _density(np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)) - background
    new = common + np.where(above > 0, above * factor, above)
    values: Pixels = np.clip(np.rint(256 * np.exp(-new) - 1), 0, 255).astype(np.uint8)
    return values


def _levels(pixels: Pixels) -> Iterator[Pixels]:
    yield pixels
    while max(pixels.shape[:2]) > SMALLEST_LEVEL:
        pixels = np.asarray(Image.fromarray(pixels).reduce(2))  # the mean of four
        yield pixels
