"""Classes of tiles: one question over every tile, its answers as a map, as shares and as objects.

Tiles overlap by a little, as all are of one size; so that each place counts once, a tile stands for
its cell: the slide in as many equal rows and columns as there are of tiles. Each cell lies within
its tile.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_pathreason import exports, tasks
from napari_pathreason.geometry import Box
from napari_pathreason.types import Answer, Result

from ._plan import RunPlan
from ._record import TileRecord
from ._tiles import Tile

NO_CLASS = "no reliable answer"
"""What tiles are called whose answer may not be relied on, or could not be read."""
NO_CLASS_COLOUR = (97, 97, 97)
COLUMNS = (
    *("class", "tiles", "uncertain_tiles", "area_mm2", "tissue_mm2", "share_of_tissue"),
    *("slide", "task", "question", "model"),
)
_HUES = (
    *((230, 159, 0), (0, 114, 178), (0, 158, 115), (213, 94, 0), (86, 180, 233)),
    *((240, 228, 66), (204, 121, 167)),
)
"""Told apart by the colour-blind (Okabe and Ito, 2008); the one most like eosin comes last."""
_ABSENT = ((120, 144, 156), (161, 136, 127), (144, 164, 120))
"""Of classes that say that something is not there: dull, so that the others stand out."""
_GOLDEN = 0.618034
UM2_OF_MM2 = 1e6


@dataclass(frozen=True, slots=True)
class ClassShare:
    """How much of a slide is of a class.

    Parameters
    ----------
    name : str
        The class; `NO_CLASS` for tiles without a reliable answer.
    tiles : int
    uncertain : int
        Those of them whose answers are uncertain.
    area_mm2 : float
        Of their cells.
    tissue_mm2 : float
        Of the tissue in these.
    share : float
        Of the tissue of all tiles that were asked, 0 to 1.
    """

    name: str
    tiles: int = 0
    uncertain: int = 0
    area_mm2: float = 0.0
    tissue_mm2: float = 0.0
    share: float = 0.0


def class_number(record: TileRecord, classes: Sequence[str]) -> int:
    """Place of a tile's class among the classes, from 1; behind the last where it has none.

    It has none where its answer may not be relied on, or names no class.
    """
    named = None
    if not record.unknown and record.reliability.level != "none":
        named = tasks.find_option(record.answer, classes)
    return len(classes) + 1 if named is None else classes.index(named) + 1


def class_colours(classes: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    """A colour for each class, red, green and blue from 0 to 255; no two are the same."""
    absent = [tasks.states_absence(name, classes) or name.casefold() == "no" for name in classes]
    if all(absent):
        absent = [False] * len(classes)
    dull, bright = iter(_ABSENT), iter(_HUES)
    colours: list[tuple[int, int, int]] = []
    for number, one in enumerate(absent):
        colours.append(next(dull if one else bright, _hue(number)))
    return tuple(colours)


def _hue(number: int) -> tuple[int, int, int]:
    """A colour beyond the list: hues by the golden ratio, each tenth of another brightness."""
    brightness = 0.9 - 0.08 * (number // 10 % 6)
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.75, brightness)
    return round(255 * red), round(255 * green), round(255 * blue)


def map_shape(plan: RunPlan) -> tuple[int, int]:
    """(rows, columns) of the tiles of a run."""
    last = plan.tiles[-1]
    return last.row + 1, last.column + 1


def cell_of(plan: RunPlan, tile: Tile) -> Box:
    """What a tile stands for on a map, level-0 pixels."""
    rows, columns = map_shape(plan)
    width, height = plan.slide.width / columns, plan.slide.height / rows
    return Box(tile.column * width, tile.row * height, width, height)


class ClassTally:
    """Classes of the tiles of a run, counted as they come.

    Parameters
    ----------
    plan : RunPlan

    Attributes
    ----------
    numbers : uint8 array (tiles,)
        See `class_number`; 0 where a tile was not asked.
    uncertain : bool array (tiles,)
        Whether its answer is uncertain.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self.numbers = np.zeros(len(plan.tiles), np.uint8)
        self.uncertain = np.zeros(len(plan.tiles), np.bool_)
        self._tissue = np.array([tile.tissue for tile in plan.tiles])

    def add(self, record: TileRecord) -> None:
        """Count a tile that is done; one that was counted before gives way."""
        self.numbers[record.index] = class_number(record, self._plan.classes)
        self.uncertain[record.index] = record.reliability.level == "uncertain"

    def map(self) -> NDArray[np.uint8]:
        """A pixel a tile: `numbers` as (rows, columns)."""
        return self.numbers.reshape(map_shape(self._plan))

    def shares(self) -> tuple[ClassShare, ...]:
        """Every class in its order, those of no tile too; tiles without a class last."""
        plan, numbers = self._plan, self.numbers.copy()
        rows, columns = map_shape(plan)
        mpp = plan.slide.mpp or (0.0, 0.0)
        cell = plan.slide.width * mpp[0] / columns * plan.slide.height * mpp[1] / rows / UM2_OF_MM2
        count = len(plan.classes) + 2
        tiles = np.bincount(numbers, minlength=count)
        uncertain = np.bincount(numbers, weights=self.uncertain, minlength=count)
        tissue = np.bincount(numbers, weights=self._tissue, minlength=count)
        every = float(tissue[1:].sum())
        return tuple(
            ClassShare(
                name,
                int(tiles[number]),
                int(uncertain[number]),
                int(tiles[number]) * cell,
                float(tissue[number]) * cell,
                float(tissue[number]) / every if every else 0.0,
            )
            for number, name in enumerate((*plan.classes, NO_CLASS), 1)
        )


def tally_of_classes(plan: RunPlan, records: Iterable[TileRecord]) -> ClassTally:
    """Classes of the tiles that are done."""
    tally = ClassTally(plan)
    for record in records:
        tally.add(record)
    return tally


def class_shares(plan: RunPlan, records: Iterable[TileRecord]) -> tuple[ClassShare, ...]:
    """See `ClassTally.shares`; areas are of these tiles alone."""
    return tally_of_classes(plan, records).shares()


def shares_line(shares: Sequence[ClassShare]) -> str:
    """Classes in words, the largest first: ``tumour 62 % of the tissue, normal 38 %``."""
    found = sorted((one for one in shares[:-1] if one.tiles), key=lambda one: -one.share)
    words = [f"{one.name} {percent(one.share)}" for one in found]
    if not words:
        return "no tile of a class"
    words[0] += " of the tissue"
    return ", ".join(words)


def percent(share: float) -> str:
    """A share in words; one that is there is never 0 %."""
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def tile_marks(
    plan: RunPlan, records: Iterable[TileRecord], whole: Result
) -> Iterator[exports.Mark]:
    """The cells of tiles with their classes, as objects of a file.

    Parameters
    ----------
    plan : RunPlan
    records : iterable of TileRecord
    whole : Result
        About the whole slide.
    """
    names = (*plan.classes, "")
    colours = (*class_colours(plan.classes), NO_CLASS_COLOUR)
    for record in records:
        place = class_number(record, plan.classes) - 1
        yield exports.Mark(
            shape=cell_of(plan, plan.tiles[record.index]),
            kind="tile",
            label=names[place],
            colour=colours[place],
            number=record.index,
            result=replace(
                whole,
                answer=Answer(record.rationale, record.answer, reply=record.reply),
                reliability=record.reliability,
                tokens=whole.tokens if record.tokens is None else record.tokens,
            ),
            run=plan.run,
            confidence=record.confidence,
            mpp=plan.slide.mpp,
        )


def write_classes(path: Path, plan: RunPlan, shares: Iterable[ClassShare]) -> None:
    """Write a row for each class.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    about = (plan.slide.name, plan.query.task, plan.query.question, plan.model.name)
    exports.write_csv(
        path,
        COLUMNS,
        (
            [
                exports.plain(one.name),
                *(str(one.tiles), str(one.uncertain)),
                *(repr(round(v, 6)) for v in (one.area_mm2, one.tissue_mm2, one.share)),
                *map(exports.plain, about),
            ]
            for one in shares
        ),
    )
