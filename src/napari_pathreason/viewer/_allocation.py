"""Maps of budgets: parts of a slide coloured by what they were given, to look at and to pick from.

Tiles of a slide run and windows of an answer are shown alike: the same colours, the same layer, the
same rectangles to pick with.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.geometry import Box
from napari_pathreason.types import Budget

from ._frame import LayerFrame, laid_over, placement
from ._overlay import OVERLAY_KEY

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels, Shapes

MAP_KEY = "pathreason_allocation"
WAITING, SKIPPED, NATIVE, UNREADABLE = 0, 1, len(BUDGET_GRID) + 2, len(BUDGET_GRID) + 3
KINDS = len(BUDGET_GRID) + 4
"""Of parts: waiting, skipped, one for each budget, native, unreadable."""
# what is left out is dimmed, and its tissue seen: opaque, it looked like a damaged part
COLOURS = {WAITING: (0, 0, 0, 0), SKIPPED: (0.35, 0.35, 0.35, 0.45), UNREADABLE: (1, 0, 0, 1)}
NOTHING = (0.0, 0.0, 0.0, 0.0)
PICK_COLOR = "#ff2fd0"
FRAMES, PICKED = KINDS, 2 * KINDS
"""Behind the kinds come their outlines, then that of what is picked."""
STYLES = 2 * KINDS + 1


class BudgetMap(Protocol):
    """Parts of a slide by their numbers; places and boxes in level-0 pixels."""

    @property
    def pick_width(self) -> float:
        """Width of the lines of picking rectangles, level-0 pixels."""

    def explain(self, part: int) -> str:
        """Why a part has its budget, in a line."""

    def at(self, x: float, y: float) -> int | None:
        """Part at a place; None beyond them."""

    def touched(self, box: Box) -> list[int]:
        """Parts that a box touches."""


def kind_of(budget: Budget | None, most: int) -> int:
    """Which colour a budget has: that of its budget, or of the next one above it.

    Parameters
    ----------
    budget : int, "native" or None
        Visual tokens; 0: left out; None (or ``auto``): not known yet.
    most : int
        Visual tokens of the part at native size.
    """
    if budget is None or budget == "auto":
        return WAITING
    if budget == 0:
        return SKIPPED
    if budget == "native" or budget >= most or budget > BUDGET_GRID[-1]:
        return NATIVE
    return SKIPPED + 1 + next(i for i, level in enumerate(BUDGET_GRID) if level >= budget)


def kind_colours() -> list[tuple[float, ...]]:
    """Colour of each kind, RGBA from 0 to 1; budgets run from dark to bright."""
    from napari.utils.colormaps import ensure_colormap

    budgets = ensure_colormap("viridis").map(np.linspace(0, 1, NATIVE - SKIPPED))
    return [
        COLOURS[kind] if kind in COLOURS else tuple(float(v) for v in budgets[kind - SKIPPED - 1])
        for kind in range(KINDS)
    ]


def values_of(parts: NDArray[np.int32], styles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Values of pixels that show parts in a style: a kind, `FRAMES` + a kind, or `PICKED`.

    A Labels layer with a cycle of `STYLES` colours then shows the style, while the value still
    names the part. So the colours of 100,000 parts are as many as the styles, changing a part is
    changing pixels, and napari finds the features of a pixel by its part. Shapes would take 0.1 ms
    for each part at each change.
    """
    return parts * STYLES + styles + 1


def budget_layer(
    source: Image,
    box: Box,
    values: NDArray[np.int32],
    features: Mapping[str, Any],
    name: str,
    opacity: float = 0.6,
    through: float = 1.0,
) -> Labels:
    """Labels layer of a map of budgets, over its slide; it cannot be painted on.

    Parameters
    ----------
    source : napari.layers.Image
        The slide; its placement and units are carried over.
    box : Box
        What the values show, level-0 pixels.
    values : int32 array (rows, columns)
        See `values_of`.
    features : mapping
        Feature table, with a column ``index`` of values.
    name : str
        What stands before the slide's name.
    opacity : float
        Of the layer, 0 to 1.
    through : float
        Opacity of parts within their outlines, of the layer's, 0 to 1.
    """
    from napari.layers import Labels
    from napari.utils import CyclicLabelColormap
    from napari.utils.colormaps.standardize_color import transform_color

    outlines = kind_colours()
    fills = [(*rgba[:3], through * rgba[3]) for rgba in outlines]
    picked = tuple(float(v) for v in transform_color(PICK_COLOR)[0])
    with warnings.catch_warnings():
        # napari first makes random colours, of which skimage says that it clips some
        warnings.filterwarnings("ignore", message="Conversion from CIE-LAB")
        layer = Labels(
            values,
            **laid_over(source, box, (values.shape[1], values.shape[0])),
            name=f"{name}: {source.name}",
            features=features,
            colormap=CyclicLabelColormap(colors=[NOTHING, *fills, *outlines, picked]),
            opacity=opacity,
            metadata={MAP_KEY: True},
        )
    layer.editable = False
    return layer


def fill_layer(layer: Image | Labels, source: Image, box: Box, values: NDArray[Any]) -> None:
    """Change a picture in place, or, for parts of another size, the picture of a layer.

    The layer itself is kept: where the CPU paints, drawing the slide has crashed after layers over
    it were removed while a run went on.
    """
    placed = laid_over(source, box, (values.shape[1], values.shape[0]))
    if layer.data.shape == values.shape:
        layer.data[...] = values
        layer.refresh(extent=False)
    else:
        layer.data = values
    if not np.allclose(layer.affine.affine_matrix, placed["affine"]):
        layer.affine = placed["affine"]


def start_picking(viewer: Viewer, image: Image, shown: BudgetMap, name: str) -> Shapes:
    """Make a layer active on which rectangles are drawn; the one there is, if there is one.

    Parameters
    ----------
    viewer : napari.Viewer
    image : napari.layers.Image
    shown : BudgetMap
        What is picked from.
    name : str
        What stands before the slide's name.
    """
    layer = picks_of(viewer, image, name)
    if layer is None:
        layer = viewer.add_shapes(
            None,
            name=f"{name}: {image.name}",
            edge_color=PICK_COLOR,
            face_color="transparent",
            edge_width=shown.pick_width,
            opacity=1.0,
            metadata={OVERLAY_KEY: True, MAP_KEY: True},
            **placement(image),
        )
    layer.visible = True
    viewer.layers.selection.active = layer
    layer.mode = "add_rectangle"
    return layer


def picks_of(viewer: Viewer, image: Image, name: str) -> Shapes | None:
    """The layer of picks of a name over an image."""
    from napari.layers import Shapes

    full = f"{name}: {image.name}"
    for layer in viewer.layers:
        if isinstance(layer, Shapes) and MAP_KEY in layer.metadata and layer.name == full:
            return layer
    return None


def drawn_boxes(viewer: Viewer, image: Image, name: str) -> list[Box]:
    """Rectangles on a layer of picks, level-0 pixels; a click makes a small one."""
    layer = picks_of(viewer, image, name)
    if layer is None:
        return []
    units = viewer.dims.units
    here, slide = LayerFrame.of(layer, units), LayerFrame.of(image, units)
    boxes = []
    for vertices in layer.data:
        points = slide.world_to_slide(here.data_to_world(vertices))
        boxes.append(Box.from_corners(*points.min(axis=0), *points.max(axis=0)))
    return boxes


def picked_parts(viewer: Viewer, image: Image, shown: BudgetMap, name: str) -> list[int]:
    """Parts that a picking rectangle touches."""
    boxes = drawn_boxes(viewer, image, name)
    return sorted({part for box in boxes for part in shown.touched(box)})


def place_under(viewer: Viewer, image: Image, position: tuple[float, ...]) -> tuple[float, float]:
    """Level-0 pixels (x, y) of an image under a position in the world, such as the cursor's."""
    frame = LayerFrame.of(image, viewer.dims.units)
    ((x, y),) = frame.world_to_slide([position[-2:]])
    return float(x), float(y)


def part_under(
    viewer: Viewer, image: Image, shown: BudgetMap, position: tuple[float, ...]
) -> int | None:
    """Part under the cursor, whose position is in the world."""
    return shown.at(*place_under(viewer, image, position))
