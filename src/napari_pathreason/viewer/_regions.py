"""From what the user marked or looks at to a region in level-0 pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import RegionError
from napari_pathreason.geometry import Region

from ._frame import LayerFrame
from ._layers import layer_size
from ._overlay import is_overlay, placement
from ._undo import undoable

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Shapes

RegionSource = Literal["shape", "view", "layer"]


def region_of(viewer: Viewer, layer: Image, source: RegionSource) -> Region:
    """Region of an image layer that the user means, clipped to the layer.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image
    source : {"shape", "view", "layer"}
        The selected shape, what the canvas shows, or all of the layer.

    Raises
    ------
    RegionError
        If nothing is marked, or it lies outside the layer.
    """
    if source == "shape":
        return marked_region(viewer, layer)
    if source == "view":
        return region_in_view(viewer, layer)
    return Region(0, 0, *layer_size(layer))


def marked_region(viewer: Viewer, layer: Image) -> Region:
    """Bounding box, in the image layer's level-0 pixels, of the selected shape.

    The layers may differ in scale, translate, rotate, affine and units.
    """
    shapes, vertices = _selected_vertices(viewer)
    units = viewer.dims.units
    world = LayerFrame.of(shapes, units).data_to_world(vertices)
    return _bounding_region(LayerFrame.of(layer, units).world_to_slide(world), layer)


def region_in_view(viewer: Viewer, layer: Image) -> Region:
    """Part of the image layer that the canvas shows.

    Taken from the camera and the canvas: `Layer.corner_pixels` is wider since napari 0.9, as
    requests grow to whole chunks.
    """
    if viewer.dims.ndisplay != 2:
        raise RegionError("the current view is 3D; switch to 2D or mark a rectangle")
    if tuple(viewer.dims.displayed[-2:]) != (viewer.dims.ndim - 2, viewer.dims.ndim - 1):
        raise RegionError("the view shows other axes than the image's; reset the axis order")
    centre = np.asarray(viewer.scene.camera.center[-2:], dtype=float)
    half = np.asarray(viewer.canvas.size, dtype=float) / viewer.scene.camera.zoom / 2
    (top, left), (bottom, right) = centre - half, centre + half
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    frame = LayerFrame.of(layer, viewer.dims.units)
    return _bounding_region(frame.world_to_slide(corners), layer)


def start_drawing(viewer: Viewer, layer: Image) -> Shapes:
    """Make a Shapes layer over an image layer active, ready to draw a rectangle.

    Uses the top-most Shapes layer that holds no answers, else adds one that lies as the image.
    """
    from napari.layers import Shapes

    own = [x for x in viewer.layers if isinstance(x, Shapes) and not is_overlay(x)]
    shapes = own[-1] if own else None
    if shapes is None:
        width = max(layer_size(layer)) / 500
        shapes = undoable(
            viewer.add_shapes(
                None,
                name="regions",
                edge_color="black",
                face_color="transparent",
                edge_width=width,
                **placement(layer),
            )
        )
    viewer.layers.selection.active = shapes
    shapes.visible = True
    shapes.mode = "add_rectangle"
    return shapes


def _selected_vertices(viewer: Viewer) -> tuple[Shapes, NDArray[np.float64]]:
    """Layer and vertices (n, d) of the shapes that are selected, the active layer first."""
    from napari.layers import Shapes

    found = [layer for layer in reversed(viewer.layers) if isinstance(layer, Shapes)]
    active = viewer.layers.selection.active
    # among the rest, what the user drew goes before the overlay of earlier answers
    found.sort(key=lambda layer: (layer is not active, is_overlay(layer)))
    for layer in found:
        if layer.selected_data:
            return layer, np.concatenate([layer.data[i] for i in sorted(layer.selected_data)])
    if found and found[0] is active and len(found[0].data):
        return found[0], np.asarray(found[0].data[-1])
    raise RegionError(
        "no rectangle is selected; draw one in a Shapes layer, or choose the current view"
    )


def _bounding_region(points: NDArray[np.float64], layer: Image) -> Region:
    """Whole-pixel bounding box of level-0 points (n, 2), clipped to the layer."""
    x1, y1 = (int(v) for v in np.round(points.min(axis=0)))
    x2, y2 = (int(v) for v in np.round(points.max(axis=0)))
    width, height = layer_size(layer)
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        raise RegionError(
            f"the region lies outside the image {layer.name!r} ({width} x {height} px); "
            "mark a place on it, or move it into view"
        )
    return Region(x1, y1, x2 - x1, y2 - y1).clipped(width, height)
