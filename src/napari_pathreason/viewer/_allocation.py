"""The allocation map: each tile of a slide run, coloured by its budget."""

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

from ._allocation_why import budget_text, why
from ._frame import laid_over

if TYPE_CHECKING:
    from napari.layers import Image, Labels

MAP_KEY = "pathreason_allocation"
WAITING, SKIPPED, NATIVE, UNREADABLE = 0, 1, len(BUDGET_GRID) + 2, len(BUDGET_GRID) + 3
KINDS = len(BUDGET_GRID) + 4
"""Colours: two below the budget grid, two above it."""
COLOURS = {WAITING: (0, 0, 0, 0), SKIPPED: (0.35, 0.35, 0.35, 1), UNREADABLE: (1, 0, 0, 1)}
NOTHING = (0.0, 0.0, 0.0, 0.0)


class AllocationMap:
    """Tiles as a picture of one pixel a tile, over the whole slide.

    Tiles overlap and pixels do not; tiles are spread evenly, so each pixel lies within its tile.

    The value of a pixel is ``tile * KINDS + kind + 1``: a Labels layer with a cycle of `KINDS`
    colours then shows the kind, while its value still names the tile. So the colours of 100,000
    tiles are twelve, changing a tile is changing a pixel, and napari finds what it tells of a
    pixel by the tile. Shapes would take a tenth of a millisecond for each tile at each change.

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
            self._tell(tile, None)

    def take(self, record: TileRecord) -> None:
        """Note a tile that is done."""
        self._tell(self.plan.tiles[record.index], record)

    def _tell(self, tile: Tile, record: TileRecord | None) -> None:
        budget: TileBudget | None = tile.override
        if not tile.is_read(self.plan.settings.min_tissue):
            budget = 0
        elif record is not None and record.allocation is not None:
            given = record.allocation.budget
            budget = "native" if given is None or given >= self.most else given
        unreadable = record is not None and record.unreadable
        done = record is not None or budget == 0
        kind = UNREADABLE if unreadable else self.kind(budget) if done else WAITING
        self._kinds[tile.index] = kind
        self._budgets[tile.index] = budget_text(budget)
        self._why[tile.index] = why(tile, record, self.plan)

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
        """What napari tells of a pixel: columns ``index`` (its value), ``tile``, budget and why."""
        reasons = self._why.copy()
        for tile, budget in changes.items():
            reasons[tile] = f"will be {budget_text(budget)}; now {reasons[tile]}"
        return {
            "index": self.labels(changes).ravel(),
            "tile": np.arange(len(reasons)),
            "budget": self._budgets.copy(),
            "why": reasons,
        }

    def told(self, tile: int) -> str:
        """Why a tile has its budget, in a line."""
        return f"Tile {tile:,}: {self._why[tile]}"

    def tile_at(self, x: float, y: float) -> int | None:
        """Tile whose pixel lies at a place, level-0 pixels; None beyond them."""
        found = self.tiles_in(Box(x, y, 0, 0))
        return found[0] if found else None

    def tiles_in(self, box: Box) -> list[int]:
        """Tiles whose pixels a box touches, level-0 pixels."""
        x1, y1, x2, y2 = box.corners
        rows, columns = self.shape
        across = _touched(x1, x2, self.box.w / columns, columns)
        down = _touched(y1, y2, self.box.h / rows, rows)
        return [row * columns + column for row in down for column in across]


def allocation_layer(
    source: Image, shown: AllocationMap, changes: Mapping[int, TileBudget | None]
) -> Labels:
    """Labels layer of an allocation map, over its slide; it cannot be painted on.

    Parameters
    ----------
    source : napari.layers.Image
        The slide; its placement and units are carried over.
    shown : AllocationMap
    changes : mapping of int to budget or None
        Budgets that are still to be run; None where the run's own is to count again.
    """
    from napari.layers import Labels
    from napari.utils import CyclicLabelColormap

    labels = shown.labels(changes)
    with warnings.catch_warnings():
        # napari first makes random colours, of which skimage says that it clips some
        warnings.filterwarnings("ignore", message="Conversion from CIE-LAB")
        layer = Labels(
            labels,
            **laid_over(source, shown.box, (labels.shape[1], labels.shape[0])),
            name=f"allocation map: {source.name}",
            features=shown.features(changes),
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


def _touched(low: float, high: float, token_px: float, count: int) -> range:
    first = math.floor(low / token_px)
    last = max(math.ceil(high / token_px) - 1, first)  # a click touches one
    return range(max(first, 0), min(last, count - 1) + 1)
