"""What the user means by a region of a slide: the view, shapes that are marked, all annotations."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.engine import sentence
from napari_pathreason.errors import PathreasonError, RegionError
from napari_pathreason.geometry import Region

from ._allocation import MAP_KEY
from ._frame import LayerFrame, go_to, placement, until_released
from ._layers import REGIONS_KEY, drawn_on, is_slide, known_mpp, layer_size
from ._overlay import is_overlay
from ._settings import RegionSource
from ._shapes import outline_of_shape
from ._undo import undoable

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Shapes

RECTANGLE = "add_rectangle"
FLAT = ("line", "path")
"""Kinds of shapes that enclose nothing."""


@dataclass(frozen=True, slots=True)
class Marked:
    """One region that is to be asked about.

    Parameters
    ----------
    region : Region
        Level-0 pixels, clipped to the layer.
    outline : tuple of (float, float)
        Corners (x, y) of what is no upright rectangle, level-0 pixels; empty where all counts.
    name : str
        Of the annotation; its number where it has none, empty where it is no annotation.
    """

    region: Region
    outline: tuple[tuple[float, float], ...] = ()
    name: str = ""


def regions_of(viewer: Viewer, layer: Image, source: RegionSource) -> tuple[Marked, ...]:
    """Regions of an image layer that the user means.

    Several are asked one after the other, those of ``together`` in one question.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image
    source : {"shape", "together", "annotations", "view", "layers", "layer"}
        The selected shapes, for a question each or for one, all shapes of the layer of annotations,
        what the canvas shows, of this layer or of others too, or all of the layer.

    Raises
    ------
    RegionError
        If nothing is marked, or it lies outside the layer.
    """
    if source in ("shape", "together"):
        shapes, places = _marked_shapes(viewer, layer)
        if is_overlay(shapes) and source == "shape":  # the outline and the boxes of one answer
            vertices = np.concatenate([shapes.data[place] for place in places])
            region = _bounding_region(_on_slide(viewer, shapes, layer, vertices), layer)
            return (Marked(region, _outline(viewer, layer, shapes, places)),)
        return tuple(_marked(viewer, layer, shapes, place) for place in places)
    if source == "annotations":
        return _annotations(viewer, layer)
    if source in ("view", "layers"):
        return (Marked(region_in_view(viewer, layer)),)
    return (Marked(Region(0, 0, *layer_size(layer))),)


def region_of(viewer: Viewer, layer: Image, source: RegionSource) -> Region:
    """The first of `regions_of`, to which what is foreseen refers."""
    return regions_of(viewer, layer, source)[0].region


def region_note(viewer: Viewer, image: Image | None, source: RegionSource) -> str:
    """Size of the region that the user means in pixels and mm, or why there is none."""
    if image is None:
        return "Open a slide or any image first."
    try:
        marked = regions_of(viewer, image, source)
    except PathreasonError as error:
        return sentence(error)
    first = marked[0].region
    size = f"{first.width:,} \N{MULTIPLICATION SIGN} {first.height:,} px"
    mpp = known_mpp(image)
    if mpp is None:
        note = f"{size}; pixel size unknown"
    else:
        width, height = first.width * mpp[0] / 1000, first.height * mpp[1] / 1000
        note = f"{size} = {width:.2f} \N{MULTIPLICATION SIGN} {height:.2f} mm"
    if source == "together":
        if len(marked) < 2:
            return "Select two shapes or more, to ask about them in one question."
        masked = any(one.outline for one in marked)
        outlines = "; what lies outside outlines is masked" if masked else ""
        return f"{len(marked):,} regions in one question, a picture each{outlines}"
    if source == "layers":
        count = len(layers_of(viewer, image))
        if count < 2:
            return "Select two image layers or more in the layer list, to compare what they show."
        return f"{count:,} layers in one question, a picture each; the first: {note}"
    if marked[0].outline and len(marked) == 1:
        note = f"{note}; what lies outside its outline is masked"
    if left := _left_out(viewer, image, marked) if source == "annotations" else "":
        note = f"{note}; {left}"
    if len(marked) > 1:
        return f"{len(marked):,} regions, one after the other; the first: {note}"
    return note


def _left_out(viewer: Viewer, image: Image, marked: Sequence[Marked]) -> str:
    """How many annotations are not asked about, and why; empty where all are."""
    shapes = annotation_layer(viewer, image)
    if shapes is None or not (count := len(shapes.data) - len(marked)):
        return ""
    return (
        f"left out: {count:,} of {len(shapes.data):,} shapes, outside the image or without an area"
    )


def layers_of(viewer: Viewer, image: Image) -> list[Image]:
    """The layers that are compared: the one that is asked about, and the other selected ones."""
    selected = viewer.layers.selection
    others = [layer for layer in viewer.layers if layer in selected and is_slide(layer)]
    return list(dict.fromkeys([image, *others]))


def marked_region(viewer: Viewer, layer: Image) -> Region:
    """Bounding box, in the image layer's level-0 pixels, of the first selected shape.

    The layers may differ in scale, translate, rotate, affine and units.
    """
    return region_of(viewer, layer, "shape")


def next_region(viewer: Viewer, layer: Image, step: int) -> Marked | None:
    """Select the next annotation, or that before it (-1), and go to it; None where there is none.

    Shapes that lie outside the image are passed over.
    """
    shapes = annotation_layer(viewer, layer)
    if shapes is None or not len(shapes.data):
        return None
    count = len(shapes.data)
    selected = sorted(shapes.selected_data)
    place = selected[-1 if step > 0 else 0] if selected else (-1 if step > 0 else count)
    for _ in range(count):
        place = (place + step) % count
        try:
            marked = _marked(viewer, layer, shapes, place)
        except RegionError:
            continue
        viewer.layers.selection.active = shapes
        shapes.mode = "select"
        shapes.selected_data = {place}
        go_to(viewer, layer, marked.region)
        return marked
    return None


def annotation_layer(viewer: Viewer, image: Image) -> Shapes | None:
    """The Shapes layer over an image: the active one, else the top-most; no overlay."""
    own = _own_shapes(viewer, image)
    active = viewer.layers.selection.active
    if active in own:
        return active
    filled = [layer for layer in own if len(layer.data)]
    return (filled or own or [None])[-1]


def _own_shapes(viewer: Viewer, image: Image) -> list[Shapes]:
    """Shapes layers of the user, but those that were drawn on another slide that is open."""
    from napari.layers import Shapes

    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Shapes)
        and not is_overlay(layer)
        and drawn_on(viewer, layer) in (None, image)
    ]


def start_drawing(viewer: Viewer, layer: Image) -> Shapes:
    """Make a Shapes layer over an image layer active, ready to draw one rectangle.

    Uses the top-most Shapes layer that holds no answers, and no regions of another open slide;
    else adds one that lies as the image.
    Once a rectangle is drawn it is selected, and the next press of the mouse draws no other; a
    click draws none.
    """
    own = _own_shapes(viewer, layer)
    shapes = own[-1] if own else None
    if shapes is None:
        width = max(layer_size(layer)) / 500
        shapes = undoable(
            viewer.add_shapes(
                None,
                name=f"regions: {layer.name}",
                edge_color="black",
                face_color="transparent",
                edge_width=width,
                metadata={REGIONS_KEY: layer.unique_id},
                **placement(layer),
            )
        )
    viewer.layers.selection.active = shapes
    shapes.visible = True
    shapes.mode = RECTANGLE
    _drop_drawing(shapes)
    shapes.mouse_drag_callbacks.append(_draw_one)  # behind napari's own, which draws
    return shapes


def _draw_one(shapes: Shapes, event: Any) -> Generator[None, None, None]:
    """Leave off drawing after one rectangle; what is as small as a click is none."""
    if str(shapes.mode) != RECTANGLE:  # the user has chosen something else
        _drop_drawing(shapes)
        return
    before = len(shapes.data)
    clicked = yield from until_released(event)
    if clicked:
        if len(shapes.data) == before and before:
            shapes.selected_data = {before - 1}
            shapes.remove_selected()
        return
    _drop_drawing(shapes)
    shapes.mode = "select"
    shapes.selected_data = {len(shapes.data) - 1}


def _drop_drawing(shapes: Shapes) -> None:
    if _draw_one in shapes.mouse_drag_callbacks:
        shapes.mouse_drag_callbacks.remove(_draw_one)


def _annotations(viewer: Viewer, layer: Image) -> tuple[Marked, ...]:
    shapes = annotation_layer(viewer, layer)
    if shapes is None or not len(shapes.data):
        raise RegionError("there are no annotations; draw some, or open a GeoJSON of QuPath")
    found = []
    for place, kind in enumerate(shapes.shape_type):
        if str(kind) in FLAT:
            continue
        try:
            found.append(_marked(viewer, layer, shapes, place))
        except RegionError:  # of another slide
            continue
    if not found:
        raise RegionError(f"no annotation of {shapes.name!r} lies on the image {layer.name!r}")
    return tuple(found)


def _marked(viewer: Viewer, layer: Image, shapes: Shapes, place: int) -> Marked:
    points = _on_slide(viewer, shapes, layer, np.asarray(shapes.data[place]))
    outline = _outline(viewer, layer, shapes, [place])
    return Marked(_bounding_region(points, layer), outline, _name(shapes, place))


def _name(shapes: Shapes, place: int) -> str:
    """The feature ``name`` or ``label`` of a shape, as QuPath's files bring it; else its number."""
    for column in ("name", "label"):
        if column in shapes.features:
            text = shapes.features[column].iloc[place]
            if isinstance(text, str) and text.strip():
                return " ".join(text.split())
    return str(place + 1)


def _outline(
    viewer: Viewer, layer: Image, shapes: Shapes, places: list[int]
) -> tuple[tuple[float, float], ...]:
    """Corners of the one shape that is no upright rectangle; empty for any other."""
    if len(places) != 1:
        return ()
    points = _on_slide(viewer, shapes, layer, np.asarray(shapes.data[places[0]]))
    return outline_of_shape(points, str(shapes.shape_type[places[0]]))


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


def _on_slide(
    viewer: Viewer, shapes: Shapes, layer: Image, vertices: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Vertices of a Shapes layer as level-0 pixels (x, y) of an image layer."""
    units = viewer.dims.units
    world = LayerFrame.of(shapes, units).data_to_world(vertices)
    return LayerFrame.of(layer, units).world_to_slide(world)


def _marked_shapes(viewer: Viewer, image: Image) -> tuple[Shapes, list[int]]:
    """Layer and indices of the shapes that are selected, the active layer first."""
    from napari.layers import Shapes

    every = [layer for layer in reversed(viewer.layers) if isinstance(layer, Shapes)]
    layers = [
        layer
        for layer in every
        if MAP_KEY not in layer.metadata  # those only pick
        and drawn_on(viewer, layer) in (None, image)
    ]
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
            f"the region lies outside the image {layer.name!r} "
            f"({width:,} \N{MULTIPLICATION SIGN} {height:,} px); "
            "mark a place on it, or move it into view"
        )
    return Region(x1, y1, x2 - x1, y2 - y1).clipped(width, height)
