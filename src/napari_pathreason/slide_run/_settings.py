"""What a user sets of a slide run: what is looked for or asked, how finely, and budgets of tiles.

Pure values, and the files that list budgets of tiles.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from napari_pathreason import tasks
from napari_pathreason.budgets import BUDGET_GRID, parse_budget
from napari_pathreason.errors import QueryError
from napari_pathreason.types import Budget, Effort, GenerationSettings, Query, TaskName

from ._tiles import Tile

_LEAST_OVERLAP, _MOST_OVERLAP = 0.1, 0.5
MOST_CLASSES = 250
"""Of a map: each has a number of eight bits there."""
TileBudget = int | Literal["native"]
"""Most visual tokens of one tile, 0 for none at all; ``native`` reads it at the run's mpp."""


@dataclass(frozen=True, slots=True)
class Override:
    """A tile, by its index, and the budget that a user has set for it."""

    tile: int
    budget: TileBudget


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings of a slide run; two runs of equal settings on equal slides are the same run.

    Parameters
    ----------
    task : {"detection", "vqa", "subtyping"}
        Lesions are looked for in each tile, or each tile is asked a question whose answers, or
        subtypes, are the classes of a map.
    options : tuple of str
        Names of the lesions or of the classes. A question without any has those that the model
        was trained to see behind it, such as yes and no.
    question : str
        Plain words in place of the default wording; a task ``vqa`` needs them.
    mpp : float
        Micrometres per pixel at which a tile is read at most.
    tile : int
        Side of a tile in pixels at that mpp.
    overlap : float
        Share of a side that neighbours have in common, up to 0.5. Lesions are joined there and
        take 0.1 at least; classes need none.
    budget : int, "auto" or "native"
        Most visual tokens of a tile; ``auto`` asks the allocator for each tile, ``native`` reads
        each at ``mpp``.
    effort : {"low", "balanced", "high"}
        How readily the allocator spends tokens where the budget is ``auto``.
    min_tissue : float
        Tiles with a smaller share of tissue are not read.
    batch : int
        Tiles that are answered together. It may change the last digits of what a model computes,
        so it belongs to the settings.
    generation : GenerationSettings
    overrides : tuple of Override, optional
        Tiles whose budget a user has set, all of them. None: those that the folder keeps, which
        are none in a new one.
    """

    task: TaskName = "detection"
    options: tuple[str, ...] = ("tumour",)
    question: str = ""
    mpp: float = 1.0
    tile: int = 384
    overlap: float = 0.25
    budget: Budget = "auto"
    effort: Effort = "balanced"
    min_tissue: float = 0.02
    batch: int = 8
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    overrides: tuple[Override, ...] | None = None

    def __post_init__(self) -> None:
        # what is read back from a plan is a float: 1 and 1.0 must be the same run
        for name in ("mpp", "overlap", "min_tissue"):
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def query(self) -> Query:
        """What each tile is asked."""
        return Query(self.task, self.question, self.options)

    @property
    def is_detection(self) -> bool:
        """Whether boxes are looked for; otherwise each tile gets a class."""
        return self.task == "detection"

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        QueryError
            Names the setting and what it may be.
        """
        if self.is_detection:
            if not self.options or not all(name.strip() for name in self.options):
                raise QueryError("there is no lesion to look for; give at least one name")
            tasks.check_choices(self.options, "lesions")
        else:
            self._check_classes()
        if not (math.isfinite(self.mpp) and self.mpp > 0):
            raise QueryError(f"the mpp is {self.mpp:g}; give micrometres per pixel above zero")
        if self.tile < 1:
            raise QueryError(f"the tile is {self.tile} px; give a side such as 384")
        least = _LEAST_OVERLAP if self.is_detection else 0
        if not least <= self.overlap <= _MOST_OVERLAP:
            why = ", since lesions on a seam are joined where tiles overlap"
            raise QueryError(
                f"the overlap is {self.overlap:g}; give {least} to {_MOST_OVERLAP}"
                f"{why if self.is_detection else ''}"
            )
        if not 0 <= self.min_tissue <= 1:
            raise QueryError(f"the least tissue is {self.min_tissue:g}; give a share from 0 to 1")
        if self.batch < 1:
            raise QueryError(f"the batch is {self.batch}; give 1 or more tiles")
        if isinstance(self.budget, int) and self.budget < 1:
            raise QueryError(f"the budget is {self.budget}; give auto, native or at least 1")

    def _check_classes(self) -> None:
        """Refuse a question that cannot be asked; whether its answers are classes, a model says."""
        if self.task == "vqa" and not self.question.strip():
            raise QueryError("the question is empty; write what every tile is asked")
        if len(self.options) == 1 or (self.task == "subtyping" and not self.options):
            raise QueryError("a map needs at least two classes to choose from; list them")
        if len(self.options) > MOST_CLASSES:
            raise QueryError(
                f"there are {len(self.options):,} classes; a map has at most {MOST_CLASSES}"
            )
        tasks.check_choices(self.options, "classes")


def overrides_of(budgets: Mapping[int, TileBudget]) -> tuple[Override, ...]:
    """Budgets by tile as the value that settings hold: in the order of the tiles."""
    return tuple(Override(tile, budgets[tile]) for tile in sorted(budgets))


def raised(budget: int | None, most: int) -> TileBudget:
    """One budget up.

    Parameters
    ----------
    budget : int or None
        Budget of the tile, 0 where it was skipped; None for native.
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
    budgets: dict[int, TileBudget] = {}
    for tile, budget in rows:
        index, most = _tile(tile, path.name), _budget(budget, tile, path.name)
        if budgets.setdefault(index, most) != most:
            raise QueryError(f"{path.name} gives tile {index} two budgets; leave one of them")
    return overrides_of(budgets)


def _csv_rows(text: str) -> list[tuple[Any, Any]]:
    table = csv.DictReader(text.splitlines())
    try:
        if not {"tile", "budget"} <= set(table.fieldnames or ()):
            raise QueryError(
                "the table of tiles has no columns tile and budget; name them in its first line"
            )
        return [(row["tile"], row["budget"]) for row in table]
    except csv.Error as error:
        raise QueryError(f"the table of tiles is none ({error}); check --tiles") from error


def _json_rows(text: str, name: str) -> list[tuple[Any, Any]]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise QueryError(f"{name} is no JSON; check it, or give a .csv") from error
    if not isinstance(values, dict):
        raise QueryError(f'{name} holds no budgets by tile; write {{"12": 256, "13": 0}}')
    return list(values.items())


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
