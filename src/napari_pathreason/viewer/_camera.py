"""Move the view to a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_pathreason.geometry import Region

from ._frame import LayerFrame

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image


def go_to(viewer: Viewer, layer: Image, region: Region, margin: float = 0.15) -> None:
    """Centre a region of an image layer and zoom so that it fills the canvas.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image
    region : Region
        Level-0 pixels of the layer.
    margin : float
        Share of the canvas left free around the region.
    """
    x1, y1, x2, y2 = region.box.corners
    frame = LayerFrame.of(layer, viewer.dims.units)
    corners = frame.slide_to_world([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    camera = viewer.scene.camera
    camera.center = (*camera.center[:-2], *((low + high) / 2))
    room = np.asarray(viewer.canvas.size, dtype=float) * (1 - margin)
    camera.zoom = float(np.min(room / np.maximum(high - low, 1e-9)))
