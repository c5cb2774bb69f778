"""Why a tile of a slide run has its budget, in words."""

from __future__ import annotations

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.slide_run import RunPlan, Tile, TileBudget, TileRecord

from ._reliability import reliability_words

LIKELIEST = 3
"""Budgets of which the allocator's probability is told."""
BY = {"user": "the run's budget", "fixed": "the model's fixed budget", "policy": "the allocator"}


def why(tile: Tile, record: TileRecord | None, plan: RunPlan) -> str:
    """Tokens, who chose them and out of what, tissue, boxes, and how far these may be relied on.

    The record is None until it is done.
    """
    tissue = f"tissue {_percent(tile.tissue)}"
    if not tile.is_read(plan.settings.min_tissue):
        if tile.override == 0:
            return f"left out by you, {tissue}"
        return f"skipped: {tissue}, less than {_percent(plan.settings.min_tissue)}"
    if record is None:
        asked = "" if tile.override is None else f", {budget_text(tile.override)} set by you"
        return f"waiting{asked}, {tissue}"
    if record.unreadable or record.tokens is None or record.allocation is None:
        return f"its part of the file is damaged, {tissue}"
    whose = BY[record.allocation.source] if tile.override is None else "you"
    words = [f"{record.tokens.realised:,} visual tokens by {whose}", tissue]
    if record.allocation.probabilities:
        words[0] += f" {_probabilities(record.allocation.probabilities)}"
    boxes = "1 box" if len(record.detections) == 1 else f"{len(record.detections)} boxes"
    words.append("what is there is unknown" if record.unknown else boxes)
    assessed = reliability_words(record.reliability)
    return f"{', '.join(words)}. {assessed}"


def budget_text(budget: TileBudget | None) -> str:
    """A budget in a word; ``auto`` where it is left to the run."""
    return "auto" if budget is None else f"{budget:,}" if isinstance(budget, int) else budget


def _probabilities(probabilities: tuple[float, ...]) -> str:
    names = [*map(str, BUDGET_GRID), "native"]
    best = sorted(zip(probabilities, names, strict=False), key=lambda pair: -pair[0])[:LIKELIEST]
    return f"({', '.join(f'{name}: {_percent(probability)}' for probability, name in best)})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
