"""A region as the model will see it, as layers that lie exactly over the slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.geometry import Region

from ._frame import laid_over

if TYPE_CHECKING:
    from napari.layers import Image

PREVIEW_KEY = "pathreason_preview"
GRID_COLOR = "#1a5cff"


def preview_layer_data(
    source: Image, region: Region, pixels: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], dict[str, Any], str]:
    """Image layer of the picture that a model reads, over its region.

    Parameters
    ----------
    source : napari.layers.Image
        The slide; its placement and units are carried over.
    region : Region
        Level-0 pixels of the slide.
    pixels : uint8 array (height, width, 3)
        The region as read, see `Slide.read_region`.
    """
    height, width = pixels.shape[:2]
    attributes = {
        **laid_over(source, region.box, (width, height)),
        "name": f"as read, {width} \N{MULTIPLICATION SIGN} {height} px: {source.name}",
        "rgb": True,
        "interpolation2d": "nearest",
        "metadata": {PREVIEW_KEY: True},
    }
    return pixels, attributes, "image"


def grid_layer_data(
    source: Image, region: Region, size: tuple[int, int], token_px: int
) -> tuple[NDArray[np.float64], dict[str, Any], str]:
    """Vectors layer with the borders of the visual tokens of a picture (width, height)."""
    width, height = size
    down = [[[-0.5, x - 0.5], [height, 0]] for x in range(0, width + 1, token_px)]
    across = [[[y - 0.5, -0.5], [0, width]] for y in range(0, height + 1, token_px)]
    attributes = {
        **laid_over(source, region.box, size),
        "name": f"visual tokens: {source.name}",
        "edge_color": GRID_COLOR,
        "edge_width": max(size) / 400,
        "vector_style": "line",
        "metadata": {PREVIEW_KEY: True},
    }
    return np.asarray([*down, *across], dtype=float), attributes, "vectors"
