"""The allocation map: each tile of a slide run, coloured by its budget, to look at and to pick."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.geometry import Box
from napari_pathreason.slide_run import RunPlan, Tile, TileBudget, TileRecord, most_tokens

from ._frame import LayerFrame, laid_over, placement
from ._overlay import OVERLAY_KEY
from ._words import reliability_words

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels, Shapes

MAP_KEY = "pathreason_allocation"
WAITING, SKIPPED, NATIVE, UNREADABLE = 0, 1, len(BUDGET_GRID) + 2, len(BUDGET_GRID) + 3
KINDS = len(BUDGET_GRID) + 4
"""Of tiles: waiting, skipped, one for each budget, native, unreadable."""
COLOURS = {WAITING: (0, 0, 0, 0), SKIPPED: (0.35, 0.35, 0.35, 1), UNREADABLE: (1, 0, 0, 1)}
NOTHING = (0.0, 0.0, 0.0, 0.0)
PICK_COLOR = "#ff2fd0"
LIKELIEST = 3
"""Budgets whose probability is shown, the most probable first."""
BY = {"user": "the run's budget", "fixed": "the model's fixed budget", "policy": "the allocator"}


class AllocationMap:
    """Tiles as a picture of one pixel a tile, over the whole slide.

    Tiles overlap and pixels do not; tiles are spread evenly, so each pixel lies within its tile.

    The value of a pixel is ``tile * KINDS + kind + 1``: a Labels layer with a cycle of `KINDS`
    colours then shows the kind, while its value still names the tile. So the colours of 100,000
    tiles are as many as the kinds, changing a tile is changing a pixel, and napari finds the
    features of a pixel by its tile. Shapes would take 0.1 ms for each tile at each change.

    Parameters
    ----------
    plan : RunPlan
    """

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        last = plan.tiles[-1]
        self.shape = (last.row + 1, last.column + 1)
        self.box = Box(0, 0, plan.slide.width, plan.slide.height)
        self.most = most_tokens(
            plan.tiles[0].region, plan.slide, plan.settings.mpp, plan.model.dims.token_px
        )
        count = len(plan.tiles)
        self._kinds = np.zeros(count, np.int32)
        self._budgets = np.empty(count, object)
        self._why = np.empty(count, object)
        for tile in plan.tiles:
            self._set(tile, None)

    def take(self, record: TileRecord) -> None:
        """Note a tile that is done."""
        self._set(self.plan.tiles[record.index], record)

    def _set(self, tile: Tile, record: TileRecord | None) -> None:
        budget: TileBudget | None = tile.override
        if not tile.is_read(self.plan.settings.min_tissue):
            budget = 0
        elif record is not None and record.allocation is not None:
            chosen = record.allocation.budget
            budget = "native" if chosen is None or chosen >= self.most else chosen
        unreadable = record is not None and record.unreadable
        done = record is not None or budget == 0
        kind = UNREADABLE if unreadable else self.kind(budget) if done else WAITING
        self._kinds[tile.index] = kind
        self._budgets[tile.index] = _budget_text(budget)
        self._why[tile.index] = _why(tile, record, self.plan)

    def kind(self, budget: TileBudget | None) -> int:
        """Which colour a budget has: that of its budget, or of the next one above it."""
        if budget is None:
            return WAITING
        if budget == 0:
            return SKIPPED
        if budget == "native" or budget >= self.most or budget > BUDGET_GRID[-1]:
            return NATIVE
        return SKIPPED + 1 + next(i for i, level in enumerate(BUDGET_GRID) if level >= budget)

    def labels(self, changes: Mapping[int, TileBudget | None]) -> NDArray[np.int32]:
        """Values of the pixels, int32 (rows, columns); ``changes`` are budgets still to be run."""
        kinds = self._kinds.copy()
        for tile, budget in changes.items():
            kinds[tile] = self.kind(budget)
        return (np.arange(len(kinds), dtype=np.int32) * KINDS + kinds + 1).reshape(self.shape)

    def features(self, changes: Mapping[int, TileBudget | None]) -> dict[str, Any]:
        """Feature table of the pixels: columns ``index`` (the value), ``tile``, budget and why."""
        reasons = self._why.copy()
        for tile, budget in changes.items():
            reasons[tile] = f"will be {_budget_text(budget)}; now {reasons[tile]}"
        return {
            "index": self.labels(changes).ravel(),
            "tile": np.arange(len(reasons)),
            "budget": self._budgets.copy(),
            "why": reasons,
        }

    def explain(self, tile: int) -> str:
        """Why a tile has its budget, in a line."""
        return f"Tile {tile:,}: {self._why[tile]}"

    def tile_at(self, x: float, y: float) -> int | None:
        """Tile whose pixel lies at a place, level-0 pixels; None beyond them."""
        tiles = self.tiles_in(Box(x, y, 0, 0))
        return tiles[0] if tiles else None

    def tiles_in(self, box: Box) -> list[int]:
        """Tiles whose pixels a box touches, level-0 pixels."""
        x1, y1, x2, y2 = box.corners
        rows, columns = self.shape
        across = _touched(x1, x2, self.box.w / columns, columns)
        down = _touched(y1, y2, self.box.h / rows, rows)
        return [row * columns + column for row in down for column in across]


def allocation_layer(
    source: Image, allocations: AllocationMap, changes: Mapping[int, TileBudget | None]
) -> Labels:
    """Labels layer of an allocation map, over its slide; it cannot be painted on.

    Parameters
    ----------
    source : napari.layers.Image
        The slide; its placement and units are carried over.
    allocations : AllocationMap
    changes : mapping of int to budget or None
        Budgets that are still to be run; None where the run's own is to count again.
    """
    from napari.layers import Labels
    from napari.utils import CyclicLabelColormap

    labels = allocations.labels(changes)
    with warnings.catch_warnings():
        # napari first makes random colours, of which skimage says that it clips some
        warnings.filterwarnings("ignore", message="Conversion from CIE-LAB")
        layer = Labels(
            labels,
            **laid_over(source, allocations.box, (labels.shape[1], labels.shape[0])),
            name=f"allocation map: {source.name}",
            features=allocations.features(changes),
            colormap=CyclicLabelColormap(colors=[NOTHING, *kind_colours()]),
            opacity=0.6,
            metadata={MAP_KEY: True},
        )
    layer.editable = False
    return layer


def kind_colours() -> list[tuple[float, ...]]:
    """Colour of each kind, RGBA from 0 to 1; budgets run from dark to bright."""
    from napari.utils.colormaps import ensure_colormap

    budgets = ensure_colormap("viridis").map(np.linspace(0, 1, NATIVE - SKIPPED))
    return [
        COLOURS[kind] if kind in COLOURS else tuple(float(v) for v in budgets[kind - SKIPPED - 1])
        for kind in range(KINDS)
    ]


def start_picking(viewer: Viewer, image: Image, allocations: AllocationMap) -> Shapes:
    """Make a layer active on which rectangles pick tiles; the one there is, if there is one."""
    layer = picks_of(viewer, image)
    if layer is None:
        layer = viewer.add_shapes(
            None,
            name=f"picked tiles: {image.name}",
            edge_color=PICK_COLOR,
            face_color="transparent",
            edge_width=max(allocations.plan.tiles[0].region.width / 25, 1),
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


def picked_tiles(viewer: Viewer, image: Image, allocations: AllocationMap) -> list[int]:
    """Tiles whose pixels on the map a picking rectangle touches; a click makes a small one."""
    layer = picks_of(viewer, image)
    if layer is None:
        return []
    units = viewer.dims.units
    here, slide = LayerFrame.of(layer, units), LayerFrame.of(image, units)
    tiles: set[int] = set()
    for vertices in layer.data:
        points = slide.world_to_slide(here.data_to_world(vertices))
        box = Box.from_corners(*points.min(axis=0), *points.max(axis=0))
        tiles |= set(allocations.tiles_in(box))
    return sorted(tiles)


def tile_under(
    viewer: Viewer, image: Image, allocations: AllocationMap, position: tuple[float, ...]
) -> int | None:
    """Tile under the cursor, whose position is in the world."""
    frame = LayerFrame.of(image, viewer.dims.units)
    ((x, y),) = frame.world_to_slide([position[-2:]])
    return allocations.tile_at(float(x), float(y))


def _why(tile: Tile, record: TileRecord | None, plan: RunPlan) -> str:
    """Tokens, who chose them and out of what, tissue, boxes, and how far these may be relied on.

    The record is None until it is done.
    """
    tissue = f"tissue {_percent(tile.tissue)}"
    if not tile.is_read(plan.settings.min_tissue):
        if tile.override == 0:
            return f"left out by you, {tissue}"
        return f"skipped: {tissue}, less than {_percent(plan.settings.min_tissue)}"
    if record is None:
        override = "" if tile.override is None else f", {_budget_text(tile.override)} set by you"
        return f"waiting{override}, {tissue}"
    if record.unreadable or record.tokens is None or record.allocation is None:
        return f"its part of the file is damaged, {tissue}"
    whose = BY[record.allocation.source] if tile.override is None else "you"
    words = [f"{record.tokens.realised:,} visual tokens by {whose}", tissue]
    if record.allocation.probabilities:
        words[0] += f" {_probabilities(record.allocation.probabilities)}"
    boxes = "1 box" if len(record.detections) == 1 else f"{len(record.detections)} boxes"
    words.append("what is there is unknown" if record.unknown else boxes)
    return f"{', '.join(words)}. {reliability_words(record.reliability)}"


def _budget_text(budget: TileBudget | None) -> str:
    """A budget in a word; ``auto`` where it is left to the run."""
    return "auto" if budget is None else f"{budget:,}" if isinstance(budget, int) else budget


def _probabilities(probabilities: tuple[float, ...]) -> str:
    names = [*map(str, BUDGET_GRID), "native"]
    best = sorted(zip(probabilities, names, strict=False), key=lambda pair: -pair[0])[:LIKELIEST]
    return f"({', '.join(f'{name}: {_percent(probability)}' for probability, name in best)})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _touched(low: float, high: float, side: float, count: int) -> range:
    first = math.floor(low / side)
    last = max(math.ceil(high / side) - 1, first)  # a click touches one
    return range(max(first, 0), min(last, count - 1) + 1)
