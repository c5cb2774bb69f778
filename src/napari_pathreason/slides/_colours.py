"""TIFF colours that are not grey or RGB yet: palettes, inverted grey, inks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

WHITE_IS_ZERO, PALETTE, INKS = 0, 3, 5  # values of the PhotometricInterpretation tag


def to_colours(pixels: NDArray[Any], page: Any) -> NDArray[Any]:
    """Pixels of a tifffile page as grey or RGB: palettes looked up, inverted grey turned.

    Palette pixels (H, W) become uint8 (H, W, 3); all others keep shape and type.
    """
    if page.photometric == PALETTE:
        table = (np.asarray(page.colormap) >> 8).astype(np.uint8).T
        colours: NDArray[Any] = table[pixels[..., 0] if pixels.ndim == 3 else pixels]
        return colours
    if page.photometric == WHITE_IS_ZERO and pixels.dtype.kind == "u":
        turned: NDArray[Any] = np.iinfo(pixels.dtype).max - pixels
        return turned
    return pixels


def refuse_inks(photometric: int, name: str) -> None:
    """Refuse CMYK, whose colours need the printer's profile.

    Raises
    ------
    SlideError
        If the TIFF holds inks.
    """
    if photometric == INKS:
        raise SlideError(f"{name} holds printing inks (CMYK); save it as RGB")
