"""Slides whose pixels say where they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def coded_pixels(xs: NDArray[np.floating], ys: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colours that code level-0 pixel centres: red for x, green for y, in steps of 8 px.

    Both wrap after 2,048 px; blue counts the wraps of x times 16 plus those of y, times 8.

    Parameters
    ----------
    xs, ys : float arrays (width,) and (height,)
        Level-0 coordinates.

    Returns
    -------
    uint8 array (height, width, 3)
    """
    out = np.empty((len(ys), len(xs), 3), np.uint8)
    out[..., 0] = (xs // 8).astype(np.int64)[None, :] % 256
    out[..., 1] = (ys // 8).astype(np.int64)[:, None] % 256
    wraps = (xs // 2048).astype(np.int64)[None, :] * 4 + (ys // 2048).astype(np.int64)[:, None]
    out[..., 2] = wraps * 8 % 256
    return out


def write_synthetic_slide(
    path: Path,
    width: int,
    height: int,
    downsamples: Sequence[float] = (1, 4),
    tile: int = 256,
    mpp: float | None = 0.5,
) -> Path:
    """Write a tiled, losslessly packed OME-TIFF pyramid with `coded_pixels`.

    Parameters
    ----------
    path : Path
        Ends in ``.tif`` or ``.tiff``.
    width, height : int
        Level-0 pixels.
    downsamples : sequence of float
        One a level, the first 1; need not be whole numbers.
    tile : int
        Side of a tile in pixels, a multiple of 16.
    mpp : float, optional
        Micrometres per pixel; None writes no resolution.
    """
    import tifffile

    about: dict[str, object] = {"axes": "YXS"}
    if mpp is not None:
        about |= {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    with tifffile.TiffWriter(path, ome=True) as writer:
        for index, zoom in enumerate(downsamples):
            columns, rows = round(width / zoom), round(height / zoom)
            xs = (np.arange(columns) + 0.5) * width / columns
            ys = (np.arange(rows) + 0.5) * height / rows
            writer.write(
                coded_pixels(xs, ys),
                tile=(tile, tile),
                photometric="rgb",
                compression="zlib",
                subifds=len(downsamples) - 1 if index == 0 else None,
                subfiletype=0 if index == 0 else 1,
                metadata=about if index == 0 else None,
            )
    return path
