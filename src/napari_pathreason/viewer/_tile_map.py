"""The allocation map of a slide run: each tile, coloured by its budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.geometry import Box
from napari_pathreason.slide_run import RunPlan, Tile, TileBudget, TileRecord, most_tokens

from ._allocation import UNREADABLE, WAITING, kind_of, values_of
from ._words import reliability_words

LIKELIEST = 3
"""Budgets whose probability is shown, the most probable first."""
BY = {"user": "the run's budget", "fixed": "the model's fixed budget", "policy": "the allocator"}
PICKED_TILES = "picked tiles"
"""Name of the layer on which tiles are picked."""


class TileMap:
    """Tiles as a picture of one pixel a tile, over the whole slide.

    Tiles overlap and pixels do not; tiles are spread evenly, so each pixel lies within its tile.

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
        kind = UNREADABLE if unreadable else kind_of(budget, self.most) if done else WAITING
        self._kinds[tile.index] = kind
        self._budgets[tile.index] = _budget_text(budget)
        self._why[tile.index] = _why(tile, record, self.plan)

    def labels(self, changes: Mapping[int, TileBudget | None]) -> NDArray[np.int32]:
        """Values of the pixels, int32 (rows, columns); ``changes`` are budgets still to be run."""
        kinds = self._kinds.copy()
        for tile, budget in changes.items():
            kinds[tile] = kind_of(budget, self.most)
        tiles = np.arange(len(kinds), dtype=np.int32)
        return values_of(tiles, kinds).reshape(self.shape)

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

    @property
    def pick_width(self) -> float:
        """See `BudgetMap`."""
        return max(self.plan.tiles[0].region.width / 25, 1)

    def explain(self, part: int) -> str:
        """Why a tile has its budget, in a line."""
        return f"Tile {part:,}: {self._why[part]}"

    def at(self, x: float, y: float) -> int | None:
        """Tile whose pixel lies at a place, level-0 pixels; None beyond them."""
        tiles = self.touched(Box(x, y, 0, 0))
        return tiles[0] if tiles else None

    def touched(self, box: Box) -> list[int]:
        """Tiles whose pixels a box touches, level-0 pixels."""
        x1, y1, x2, y2 = box.corners
        rows, columns = self.shape
        across = _touched(x1, x2, self.box.w / columns, columns)
        down = _touched(y1, y2, self.box.h / rows, rows)
        return [row * columns + column for row in down for column in across]


def _why(tile: Tile, record: TileRecord | None, plan: RunPlan) -> str:
    """Tokens, who chose them and of what, tissue, boxes or class, and how far to rely on these.

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
    found = "1 box" if len(record.detections) == 1 else f"{len(record.detections)} boxes"
    if plan.classes:
        found = "" if record.reliability.level == "none" else record.answer
    words.append("what is there is unknown" if record.unknown else found)
    return f"{', '.join(filter(None, words))}. {reliability_words(record.reliability)}"


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
