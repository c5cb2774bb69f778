"""Tiles whose budget a user has set; pure values, and the files that list them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from napari_pathreason.budgets import BUDGET_GRID, parse_budget
from napari_pathreason.errors import QueryError

from ._tiles import Tile

TileBudget = int | Literal["native"]
"""Most visual tokens of one tile, 0 for none at all; ``native`` reads it at the run's mpp."""


@dataclass(frozen=True, slots=True)
class Override:
    """A tile, by its index, and the budget that a user has set for it."""

    tile: int
    budget: TileBudget


def overrides_of(budgets: Mapping[int, TileBudget]) -> tuple[Override, ...]:
    """Budgets by tile as the value that settings hold: in the order of the tiles."""
    return tuple(Override(tile, budgets[tile]) for tile in sorted(budgets))


def raised(budget: int | None, most: int) -> TileBudget:
    """One budget up.

    Parameters
    ----------
    budget : int or None
        What the tile was given, 0 where it was skipped; None for native.
    most : int
        Visual tokens of a tile at the run's mpp: above it there is only native.
    """
    if budget is None:
        return "native"
    return next((higher for higher in BUDGET_GRID if budget < higher < most), "native")


def apply_overrides(
    tiles: Sequence[Tile], overrides: Iterable[Override], folder: str
) -> tuple[Tile, ...]:
    """Tiles with the budgets that a user has set; what was set before is taken back.

    Raises
    ------
    QueryError
        If there is no such tile, or a budget is below zero.
    """
    changed = [replace(tile, override=None) for tile in tiles]
    for one in overrides:
        if not 0 <= one.tile < len(changed):
            raise QueryError(
                f"there is no tile {one.tile} in the run {folder}, which has 0 to "
                f"{len(changed) - 1}; take the numbers from its tiles.csv"
            )
        if isinstance(one.budget, int) and one.budget < 0:
            raise QueryError(
                f"tile {one.tile} is given {one.budget} visual tokens; give 0 to leave it out, "
                "or a number above"
            )
        changed[one.tile] = replace(changed[one.tile], override=one.budget)
    return tuple(changed)


def read_overrides(path: Path) -> tuple[Override, ...]:
    """Budgets of tiles from a file.

    A table (``.csv``) with the columns ``tile`` and ``budget``, others do not count, so that rows
    cut from ``tiles.csv`` will do; or JSON, an object of budgets by tile.

    Raises
    ------
    QueryError
        If it cannot be read or understood, or names a tile twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise QueryError(f"{path.name} cannot be read ({why}); check --tiles") from error
    rows = _json_rows(text, path.name) if path.suffix.lower() == ".json" else _csv_rows(text)
    told: dict[int, TileBudget] = {}
    for tile, budget in rows:
        index, most = _tile(tile, path.name), _budget(budget, tile, path.name)
        if told.setdefault(index, most) != most:
            raise QueryError(f"{path.name} gives tile {index} two budgets; leave one of them")
    return overrides_of(told)


def _csv_rows(text: str) -> list[tuple[Any, Any]]:
    table = csv.DictReader(text.splitlines())
    if not {"tile", "budget"} <= set(table.fieldnames or ()):
        raise QueryError(
            "the table of tiles has no columns tile and budget; name them in its first line"
        )
    return [(row["tile"], row["budget"]) for row in table]


def _json_rows(text: str, name: str) -> list[tuple[Any, Any]]:
    try:
        told = json.loads(text)
    except ValueError as error:
        raise QueryError(f"{name} is no JSON; check it, or give a .csv") from error
    if not isinstance(told, dict):
        raise QueryError(f'{name} holds no budgets by tile; write {{"12": 256, "13": 0}}')
    return list(told.items())


def _tile(word: Any, name: str) -> int:
    try:
        return int(str(word))
    except ValueError:
        raise QueryError(f"{name} names the tile {word!r}; give its number") from None


def _budget(word: Any, tile: Any, name: str) -> TileBudget:
    if str(word).strip() == "0":
        return 0
    try:
        budget = parse_budget(str(word))
    except QueryError:
        budget = "auto"
    if budget == "auto":  # a tile that is not named is left to the run's own budget
        raise QueryError(
            f"{name} gives tile {tile} the budget {word!r}; give a number of visual tokens, "
            "native, or 0 to leave it out"
        )
    return budget
