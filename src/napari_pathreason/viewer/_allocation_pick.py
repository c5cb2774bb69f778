"""Tiles that the user picks on the allocation map, by rectangles or clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_pathreason.geometry import Box

from ._allocation import MAP_KEY, AllocationMap
from ._frame import LayerFrame
from ._overlay import OVERLAY_KEY, placement

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Shapes

PICK_COLOR = "#ff2fd0"


def start_picking(viewer: Viewer, image: Image, shown: AllocationMap) -> Shapes:
    """Make a layer active on which rectangles pick tiles; the one there is, if there is one."""
    layer = picks_of(viewer, image)
    if layer is None:
        layer = viewer.add_shapes(
            None,
            name=f"picked tiles: {image.name}",
            edge_color=PICK_COLOR,
            face_color="transparent",
            edge_width=max(shown.plan.tiles[0].region.width / 25, 1),
            opacity=1.0,
            metadata={OVERLAY_KEY: True, MAP_KEY: True},
            **placement(image),
        )
    layer.visible = True
    viewer.layers.selection.active = layer
    layer.mode = "add_rectangle"
    return layer


def picks_of(viewer: Viewer, image: Image) -> Shapes | None:
    """The layer of picks over an image."""
    from napari.layers import Shapes

    name = f"picked tiles: {image.name}"
    for layer in viewer.layers:
        if isinstance(layer, Shapes) and MAP_KEY in layer.metadata and layer.name == name:
            return layer
    return None


def picked_tiles(viewer: Viewer, image: Image, shown: AllocationMap) -> list[int]:
    """Tiles whose pixels on the map a picking rectangle touches; a click makes a small one."""
    layer = picks_of(viewer, image)
    if layer is None:
        return []
    units = viewer.dims.units
    here, slide = LayerFrame.of(layer, units), LayerFrame.of(image, units)
    found: set[int] = set()
    for vertices in layer.data:
        points = slide.world_to_slide(here.data_to_world(vertices))
        found |= set(shown.tiles_in(Box.from_corners(*points.min(axis=0), *points.max(axis=0))))
    return sorted(found)


def tile_under(
    viewer: Viewer, image: Image, shown: AllocationMap, position: tuple[float, ...]
) -> int | None:
    """Tile under the cursor, whose position is in the world."""
    frame = LayerFrame.of(image, viewer.dims.units)
    ((x, y),) = frame.world_to_slide([position[-2:]])
    return shown.tile_at(float(x), float(y))
