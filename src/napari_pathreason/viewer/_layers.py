"""Image layers as slides, and what the user means by a region of one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.engine import sentence
from napari_pathreason.errors import PathreasonError, RegionError, SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import Slide, slide_from_arrays

from ._allocation import MAP_KEY
from ._frame import LayerFrame, placement
from ._overlay import is_overlay
from ._settings import RegionSource
from ._shapes import outline_of_shape
from ._undo import undoable

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Shapes

SLIDE_KEY = "pathreason_slide"
"""Key of `layer.metadata` under which the reader leaves its `Slide`."""
PLANE_KEY = "pathreason_plane"
"""Of `layer.metadata` of a plane: the stack's id and the plane's numbers."""
PREVIEW_KEY = "pathreason_preview"
"""Of `layer.metadata` of pictures that this plugin lays over a slide."""


def is_slide(layer: Any) -> bool:
    """Whether a layer is an image that can be asked about; previews and heat maps are not."""
    from napari.layers import Image

    return isinstance(layer, Image) and PREVIEW_KEY not in layer.metadata


def slide_of(layer: Image) -> Slide | None:
    """The slide that a layer was opened from by this plugin's reader; None for other layers."""
    slide = layer.metadata.get(SLIDE_KEY)
    return slide if isinstance(slide, Slide) else None


def layer_size(layer: Image) -> tuple[int, int]:
    """(width, height) of an image layer in level-0 pixels.

    Raises
    ------
    SlideError
        If the layer is not one plane.
    """
    if layer.ndim != 2:
        if layer.level_shapes[0][-1] in (3, 4):
            raise SlideError(f"{layer.name!r} is no colour image yet; add it again with rgb=True")
        raise SlideError(f"{layer.name!r} is a stack: Ask takes the plane that is shown")
    height, width = (int(side) for side in layer.level_shapes[0][:2])
    return width, height


def is_stack(layer: Any) -> bool:
    """Whether a layer has planes, of which one is shown; colours along the last axis are none."""
    return is_slide(layer) and layer.ndim > 2 and layer.level_shapes[0][-1] not in (3, 4)


def plane_layer(viewer: Viewer, layer: Image) -> Image:
    """The plane of a stack that a viewer shows, as a layer of its own over it.

    An answer is about that plane alone, so it has a name of its own; asked for again, the same
    layer is given.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image
        See `is_stack`.
    """
    from napari.layers import Image

    place = layer.world_to_data(viewer.dims.point[-layer.ndim :])
    sizes = layer.level_shapes[0]
    planes = tuple(
        int(min(max(round(float(at)), 0), size - 1))
        for at, size in zip(place[:-2], sizes[: layer.ndim - 2], strict=True)
    )
    key = (layer.unique_id, planes)
    for other in viewer.layers:
        if isinstance(other, Image) and other.metadata.get(PLANE_KEY) == key:
            return other
    levels = [level[planes] for level in (layer.data if layer.multiscale else [layer.data])]
    numbers = ", ".join(str(plane + 1) for plane in planes)
    return viewer.add_image(
        levels if layer.multiscale else levels[0],
        multiscale=layer.multiscale,
        rgb=layer.rgb,
        name=f"{layer.name}, plane {numbers}",
        metadata={PLANE_KEY: key},
        **(
            {}
            if layer.rgb
            else {"colormap": layer.colormap, "contrast_limits": layer.contrast_limits}
        ),
        **placement(layer),
    )


def layer_mpp(layer: Image) -> tuple[float, float] | None:
    """Size of a level-0 pixel in um (x, y) from the layer's scale and units; None if unknown."""
    sizes = []
    for step, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True):
        if not unit.is_compatible_with("micrometer"):
            return None
        sizes.append(abs(float((float(step) * unit).to("micrometer").magnitude)))
    return sizes[1], sizes[0]


def known_mpp(layer: Image) -> tuple[float, float] | None:
    """Size of a level-0 pixel in um (x, y): the slide's own, else the layer's; None if unknown."""
    slide = slide_of(layer)
    return layer_mpp(layer) if slide is None else slide.info.mpp


def slide_opener(layer: Image) -> Callable[[], Slide]:
    """What gives, in any thread, the slide behind an image layer.

    That is the one it was opened from, else one over its arrays: numpy, dask or zarr, single or
    multiscale, RGB, RGBA or one channel. Opening may read pixels (the range of 16-bit values), so
    it is left to a worker.

    Raises
    ------
    SlideError
        If the layer is not one plane; the opener does, if its values are no picture.
    """
    slide = slide_of(layer)
    if slide is not None:
        return lambda: slide
    layer_size(layer)
    return arrays_opener(layer, layer_mpp(layer))


def open_slide_layer() -> Image | None:
    """The slide in napari's current window: the selected one, or the only one; else None."""
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is None:
        return None
    slides = [layer for layer in viewer.layers if SLIDE_KEY in layer.metadata]
    active = viewer.layers.selection.active
    if active in slides:
        return active
    return slides[0] if len(slides) == 1 else None


def arrays_opener(layer: Image, mpp: float | tuple[float, float] | None) -> Callable[[], Slide]:
    """What opens the arrays of an image layer as a slide of so many um per pixel."""
    levels = list(layer.data) if layer.multiscale else [layer.data]
    return partial(slide_from_arrays, levels, layer.name, mpp)


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


def region_note(viewer: Viewer, image: Image | None, source: RegionSource) -> str:
    """Size of the region that the user means in pixels and mm, or why there is none."""
    if image is None:
        return "Open a slide or any image first."
    try:
        region = region_of(viewer, image, source)
    except PathreasonError as error:
        return sentence(error)
    size = f"{region.width:,} \N{MULTIPLICATION SIGN} {region.height:,} px"
    mpp = known_mpp(image)
    if mpp is None:
        return f"{size}; pixel size unknown, the scale is in pixels."
    width, height = region.width * mpp[0] / 1000, region.height * mpp[1] / 1000
    return f"{size} = {width:.2f} \N{MULTIPLICATION SIGN} {height:.2f} mm"


def marked_region(viewer: Viewer, layer: Image) -> Region:
    """Bounding box, in the image layer's level-0 pixels, of the selected shape.

    The layers may differ in scale, translate, rotate, affine and units.
    """
    shapes, marked = _marked_shapes(viewer)
    vertices = np.concatenate([shapes.data[index] for index in marked])
    return _bounding_region(_on_slide(viewer, shapes, layer, vertices), layer)


def outline_of(
    viewer: Viewer, layer: Image, source: RegionSource
) -> tuple[tuple[float, float], ...]:
    """Corners (x, y), level-0 pixels, of the one selected shape that is no upright rectangle.

    Empty for any other region: all of it counts.
    """
    if source != "shape":
        return ()
    shapes, marked = _marked_shapes(viewer)
    if len(marked) != 1:
        return ()
    points = _on_slide(viewer, shapes, layer, np.asarray(shapes.data[marked[0]]))
    return outline_of_shape(points, str(shapes.shape_type[marked[0]]))


def _on_slide(
    viewer: Viewer, shapes: Shapes, layer: Image, vertices: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Vertices of a Shapes layer as level-0 pixels (x, y) of an image layer."""
    units = viewer.dims.units
    world = LayerFrame.of(shapes, units).data_to_world(vertices)
    return LayerFrame.of(layer, units).world_to_slide(world)


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


def _marked_shapes(viewer: Viewer) -> tuple[Shapes, list[int]]:
    """Layer and indices of the shapes that are selected, the active layer first."""
    from napari.layers import Shapes

    every = [layer for layer in reversed(viewer.layers) if isinstance(layer, Shapes)]
    layers = [layer for layer in every if MAP_KEY not in layer.metadata]  # those only pick
    active = viewer.layers.selection.active
    if active not in layers and layers and len(every) > len(layers) and active in every:
        active = layers[0]  # the region stays marked while windows of it are picked
    # among the rest, what the user drew goes before the overlay of earlier answers
    layers.sort(key=lambda layer: (layer is not active, is_overlay(layer)))
    for layer in layers:
        if layer.selected_data:
            return layer, sorted(layer.selected_data)
    if layers and layers[0] is active and len(layers[0].data):
        return layers[0], [len(layers[0].data) - 1]
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
