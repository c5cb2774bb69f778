"""Large regions composed of real tiles of one split, with every kind of question.

Pictures with labels show a tenth of a millimetre; a region that a user marks on a slide is ten
times as wide, and holds one small thing to find, or hundreds to count. Lymph node: one lesion of 1
to 16 tiles, or none. Lung: a patch of carcinoma in normal tissue, or none. Smears: few white cells
and platelets, or none. Nuclei: pictures of dense and of sparse tissue.

They are mosaics, and their seams are visible, so a score on them must be read with the words
"composed of tiles" beside it. Sources are few and come again in several regions, as evenly as
shuffled decks deal them; each region names the sources that its answers rest on, so that intervals
can be over those. A label of a tile of lymph node speaks of its central third, so the border of a
lesion is known to half a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.errors import QueryError
from napari_pathreason.tasks import PLACES
from napari_pathreason.training import convert
from napari_pathreason.training.samples import (
    CROP,
    Area,
    Corners,
    Facts,
    Sample,
    Split,
    name_crop,
    place_of,
    turn_array,
)

from .mosaic import Piece, Rows, draw_turn
from .smears import Cells, Crop, crop_around, empty_crop, read_smears
from .tiles import LUNG_SIDE, NOWHERE, TUMOUR_WHERE, Tile, grow_lesion

SIDES = (2016, 4032)
"""Least and most level-0 pixels of a side of a region."""
NUMBERS = {"lymph_node": 36, "lung": 24, "nuclei": 12, "blood": 12}
"""Regions of each set and split."""
SMALL, LARGE = (1, 4), (5, 16)
"""Tiles of a lesion of lymph node; half of the lesions are small."""
PATCH = (2, 9)
"""Tiles of a patch of carcinoma."""
SMEAR_SIDE, NUCLEI_SIDE = 252, 504
"""Sides of the pieces of a mosaic, level-0 pixels: one holds most white cells, the other is all
of a picture but a margin."""
CELLS = (1, 4)
"""White cells, and platelets, of a mosaic that has some; a crop may hold a second one."""
LYMPH_MPP = 0.97
BLUE, DARK = 45, 130
"""Of a stained nucleus of a smear: how far blue is above green at the least, and green at the
most."""
RIM = 6
"""Pixels around a box that still belong to its cell."""
MOST_UNMARKED = 600
"""Pixels of stained nuclei outside all boxes from which on a smear is not wholly annotated."""

NORMAL = "normal"
CELL_NAMES = ("white cell", "platelet")

Grid = tuple[int, int]
"""Columns and rows."""
Smear = tuple[str, Cells]
Near = tuple[str, Cells, Area]
"""A smear, and one of its cells."""
MOST_TRIES = 10_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LargeRegion:
    """A mosaic and its questions.

    Parameters
    ----------
    name : str
        Of its files.
    dataset : str
        Folder that its pieces come from.
    rows : Rows
    samples : tuple of Sample
        Their picture is ``pictures/NAME.tif``, their mask ``masks/NAME.png``.
    sources : tuple of str
        That its answers rest on, one for each piece: those of the lesion or of the cells, and of
        all pieces where there is none.
    lesion : int
        Pieces of the lesion or patch.
    mpp : float or None
    glass : bool
        Whether pieces show glass beside tissue.
    """

    name: str
    dataset: str
    rows: Rows
    samples: tuple[Sample, ...]
    sources: tuple[str, ...]
    lesion: int = 0
    mpp: float | None = None
    glass: bool = True

    @property
    def has_mask(self) -> bool:
        """Whether its nuclei are annotated."""
        return self.rows[0][0].mask is not None


def picture_of(name: str) -> str:
    """File of a region's picture, relative to that of its questions."""
    return f"pictures/{name}.tif"


def mask_of(name: str) -> str:
    """File of the mask of its nuclei, relative to that of its questions."""
    return f"masks/{name}.png"


def large_regions(
    folder: Path,
    split: Split,
    seed: int = 0,
    times: int = 1,
    sides: tuple[int, int] = SIDES,
) -> Iterator[LargeRegion]:
    """Regions of every known set that lies in ``folder``.

    Parameters
    ----------
    folder : Path
        With ``lymph_node``, ``lung``, ``nuclei``, ``blood``, or some of them, each with its table.
    split : {"train", "val", "test"}
        No piece is of another.
    seed : int
        The same gives the same.
    times : int
        How many times the `NUMBERS`.
    sides : tuple of int
        Least and most level-0 pixels of a side, as far as whole pieces allow.
    """
    for name, number in NUMBERS.items():
        tables = (folder / name / table for table in ("labels.csv", "index.csv"))
        if any(table.is_file() for table in tables):
            draw = _Draw(Random(f"{seed}-{split}-large {name}"), split, name, sides)
            yield from SETS[name](draw, folder / name, number * times)


class Deck(Generic[T]):
    """Deals things evenly: all of them, then all again, each time in another order."""

    def __init__(self, rng: Random, things: Sequence[T]) -> None:
        if not things:
            raise ValueError("a deck needs something to deal")
        self._rng, self._things = rng, things
        self._left: list[T] = []

    def deal(self) -> T:
        """The next one."""
        if not self._left:
            self._left = self._rng.sample(list(self._things), len(self._things))
        return self._left.pop()


@dataclass(frozen=True, slots=True)
class _Draw:
    """What the regions of a set and split are drawn with."""

    rng: Random
    split: Split
    dataset: str
    sides: tuple[int, int]

    def grid(self, side: int) -> Grid:
        """Columns and rows of pieces of a side."""
        least, most = self.sides
        fewest = -(-least // side)
        counts = fewest, max(most // side, fewest)
        return self.rng.randint(*counts), self.rng.randint(*counts)

    def name(self, number: int) -> str:
        return f"{self.dataset}-{self.split}-{number:03}"

    def about(self, number: int, facts: Facts) -> convert.Questions:
        image = picture_of(self.name(number))
        return convert.Questions(self.rng, self.split, image, f"large_{self.dataset}", facts)

    def lesion(self, grid: Grid, sizes: tuple[int, int] | None) -> set[Tile]:
        """A connected area of so many tiles at the least and at the most; empty for None."""
        if sizes is None:
            return set()
        free = {(x, y) for y in range(grid[1]) for x in range(grid[0])}
        while True:
            lesion = grow_lesion(self.rng, free, min(self.rng.randint(*sizes), len(free) // 2))
            if len(lesion) >= min(sizes[0], len(free) // 2):
                return lesion


def _lymph_node(draw: _Draw, folder: Path, number: int) -> Iterator[LargeRegion]:
    files: dict[str, list[Piece]] = {"tumour": [], "no_tumour": []}
    for row in _of_split(folder / "labels.csv", draw.split):
        file = str(folder / row["image"])
        files[row["label"]].append(Piece(file, Path(file).name))
    decks = {label: Deck(draw.rng, pieces) for label, pieces in files.items()}
    for at in range(number):
        grid = draw.grid(convert.TILE_SIDE)
        lesion = draw.lesion(grid, (None, SMALL, LARGE)[at % 3])
        rows = _tiled(draw.rng, grid, lesion, decks["tumour"], decks["no_tumour"])
        facts = _facts(("tumour",), "tumour", lesion, convert.TILE_SIDE)
        about = draw.about(at, facts)
        samples = (
            about.boxes(("tumour",), facts.boxes),
            about.presence("", bool(lesion), "tumour in a field", convert.TUMOUR_PRESENT),
            _where(about, lesion, grid),
            *about.cannot_tell("lymph"),
        )
        yield LargeRegion(
            draw.name(at),
            draw.dataset,
            rows,
            samples,
            _sources(rows, lesion),
            len(lesion),
            LYMPH_MPP,
        )


def _lung(draw: _Draw, folder: Path, number: int) -> Iterator[LargeRegion]:
    tiles: dict[str, list[Piece]] = {kind: [] for kind in convert.LUNG_KINDS}
    for row in _of_split(folder / "labels.csv", draw.split):
        kind = row["label"].replace("_", " ")
        tiles[kind].append(Piece(str(folder / row["image"]), row["source_tile"]))
    decks = {kind: Deck(draw.rng, pieces) for kind, pieces in tiles.items()}
    for at in range(number):
        kind = convert.LUNG_KINDS[at % 3]
        grid = draw.grid(LUNG_SIDE)
        patch = draw.lesion(grid, None if kind == NORMAL else PATCH)
        rows = _tiled(draw.rng, grid, patch, decks[kind], decks[NORMAL])
        known = tuple(k for k in convert.LUNG_KINDS if k != NORMAL)
        about = draw.about(at, _facts(known, kind, patch, LUNG_SIDE))
        asked_of_tiles = convert.lung_questions(
            draw.rng, draw.split, picture_of(draw.name(at)), kind, LUNG_SIDE, about.source
        )
        samples = (
            *(sample.model_copy(update={"facts": about.facts}) for sample in asked_of_tiles),
            _where(about, patch, grid),
        )
        sources = _sources(rows, patch)
        yield LargeRegion(draw.name(at), draw.dataset, rows, samples, sources, len(patch))


def _tiled(
    rng: Random, grid: Grid, lesion: set[Tile], inside: Deck[Piece], outside: Deck[Piece]
) -> Rows:
    """Whole tiles, those of a lesion out of a deck of their own."""

    def deal(tile: Tile) -> Piece:
        piece = (inside if tile in lesion else outside).deal()
        return replace(piece, turn=draw_turn(rng))

    return tuple(tuple(deal((x, y)) for x in range(grid[0])) for y in range(grid[1]))


def _facts(known: tuple[str, ...], label: str, lesion: set[Tile], side: int) -> Facts:
    """What is annotated of a region with a lesion or none: its tiles, and the box around them."""
    areas = tuple(_box(label, {tile}, side) for tile in sorted(lesion))
    return Facts(known=known, areas=areas, boxes=(_box(label, lesion, side),) if lesion else ())


def _box(label: str, tiles: set[Tile], side: int) -> Area:
    xs, ys = [x for x, _ in tiles], [y for _, y in tiles]
    corners = (min(xs) * side, min(ys) * side, (max(xs) + 1) * side, (max(ys) + 1) * side)
    return Area(label=label, corners=corners)


def _where(about: convert.Questions, lesion: set[Tile], grid: Grid) -> Sample:
    """In which ninth of the region the lesion's box has its centre."""
    answer = NOWHERE
    if lesion:
        x1, y1, x2, y2 = _box("", lesion, 1).corners
        answer = place_of((x1 + x2) / 2 / grid[0], (y1 + y2) / 2 / grid[1])
    topic, choices = "where the tumour is", (*PLACES, NOWHERE)
    return about.ask(TUMOUR_WHERE, topic=topic, choices=choices, answer=answer)


def _sources(rows: Rows, lesion: set[Tile]) -> tuple[str, ...]:
    """Those of a lesion's pieces; of all pieces where there is none."""
    return tuple(
        piece.source
        for y, row in enumerate(rows)
        for x, piece in enumerate(row)
        if not lesion or (x, y) in lesion
    )


@dataclass(frozen=True, slots=True)
class _Labelled:
    """A picture of nuclei: its files, what they cover, and their centres."""

    image: str
    mask: str
    covered: NDArray[np.bool_]
    centres: Sequence[convert.Point]


@dataclass(frozen=True, slots=True)
class _Crop:
    """A square of a picture of nuclei, turned."""

    piece: Piece
    covered: NDArray[np.bool_]
    centres: Sequence[convert.Point]


def _nuclei(draw: _Draw, folder: Path, number: int) -> Iterator[LargeRegion]:
    rng, labelled = draw.rng, []
    for row in _of_split(folder / "index.csv", draw.split):
        image, mask = folder / row["image"], folder / row["mask"]
        covered, centres = convert.read_nuclei(mask, False, convert.SMALLEST_NUCLEUS)
        labelled.append(_Labelled(str(image), str(mask), covered, centres))
    side = min(NUCLEI_SIDE, *(min(one.covered.shape) for one in labelled))
    labelled.sort(key=lambda one: float(one.covered.mean()))
    half = len(labelled) // 2
    sparse, dense = Deck(rng, labelled[:half] or labelled), Deck(rng, labelled[half:])
    for at in range(number):
        columns, lines = draw.grid(side)
        # every third region is even; others have a quadrant of dense tissue in sparse tissue
        quadrant = None if at % 3 == 0 else (rng.random() < 0.5, rng.random() < 0.5)
        crops: dict[Tile, _Crop] = {}
        for y, x in product(range(lines), range(columns)):
            here = (2 * x >= columns, 2 * y >= lines)
            crowded = rng.random() < 0.5 if quadrant is None else here == quadrant
            crops[x, y] = _cut(rng, (dense if crowded else sparse).deal(), side)
        moved = tuple(
            (cx + x * side, cy + y * side)
            for (x, y), crop in crops.items()
            for cx, cy in crop.centres
        )
        whole = np.block([[crops[x, y].covered for x in range(columns)] for y in range(lines)])
        facts = Facts(known=("nucleus",), nuclei=mask_of(draw.name(at)), centres=moved)
        samples = convert.nuclei_questions(draw.about(at, facts), whole, len(moved))
        rows = tuple(tuple(crops[x, y].piece for x in range(columns)) for y in range(lines))
        yield LargeRegion(draw.name(at), draw.dataset, rows, tuple(samples), _sources(rows, set()))


def _cut(rng: Random, one: _Labelled, side: int) -> _Crop:
    height, width = one.covered.shape
    x, y = rng.randint(0, width - side), rng.randint(0, height - side)
    image, mask = (name_crop(file, x, y, side, side) for file in (one.image, one.mask))
    piece = Piece(image, Path(one.image).name, draw_turn(rng), mask)
    centres = []
    for cx, cy in convert.centres_inside(one.centres, (x, y, side, side)):
        # a pixel is a square, which lies in the piece whichever way that is turned
        left, top, _, _ = piece.turned((cx - x, cy - y, cx - x + 1, cy - y + 1), side)
        centres.append((round(left), round(top)))
    covered = turn_array(one.covered[y : y + side, x : x + side], piece.turn)
    return _Crop(piece, covered, centres)


def _blood(draw: _Draw, folder: Path, number: int) -> Iterator[LargeRegion]:
    rng, side = draw.rng, SMEAR_SIDE
    smears = [smear for smear in read_smears(folder, draw.split) if is_annotated(*smear)]
    empty = Deck(rng, smears)
    near = {
        name: Deck(
            rng, [(*smear, cell) for smear in smears for cell in smear[1] if cell.label == name]
        )
        for name in CELL_NAMES
    }
    for at in range(number):
        columns, lines = draw.grid(side)
        wanted = [
            name
            for turn, name in enumerate(CELL_NAMES)
            if at % 4 != turn  # a quarter has no white cell, another no platelet
            for _ in range(rng.randint(*CELLS))
        ]
        tiles = [(x, y) for y, x in product(range(lines), range(columns))]
        rng.shuffle(wanted)
        wanted = wanted[: len(tiles) // 2]  # of a small region
        full = dict(zip(rng.sample(tiles, len(wanted)), wanted, strict=True))
        crops = {}
        for tile in tiles:
            deck = near[full[tile]] if tile in full else None
            crops[tile] = _turned(rng, _any_crop(rng, side, empty, deck))
        areas = sorted(
            (
                Area(label=cell.label, corners=_moved(piece.turned(cell.corners, side), tile, side))
                for tile, (piece, cells) in crops.items()
                for cell in cells
            ),
            key=lambda area: area.corners[1::-1],
        )
        rows = tuple(tuple(crops[x, y][0] for x in range(columns)) for y in range(lines))
        samples = _about_cells(draw.about(at, Facts(known=CELL_NAMES, areas=tuple(areas))))
        sources = _sources(rows, set(full))
        yield LargeRegion(draw.name(at), draw.dataset, rows, tuple(samples), sources, glass=False)


def is_annotated(image: str, cells: Cells) -> bool:
    """Whether all of the stained nuclei of a smear lie in boxes of white cells and platelets.

    A few smears show white cells that nobody annotated, most of them at a border; a crop of one
    would be labelled as having none.
    """
    with Image.open(image) as file:
        red_green_blue = np.asarray(file.convert("RGB"), np.int16)
    green, blue = red_green_blue[..., 1], red_green_blue[..., 2]
    nuclei = (blue - green > BLUE) & (green < DARK)
    for cell in cells:
        if cell.label in CELL_NAMES:
            x1, y1, x2, y2 = (round(corner) for corner in cell.corners)
            nuclei[max(0, y1 - RIM) : y2 + RIM, max(0, x1 - RIM) : x2 + RIM] = False
    return int(nuclei.sum()) < MOST_UNMARKED


def _any_crop(rng: Random, side: int, empty: Deck[Smear], near: Deck[Near] | None) -> Crop:
    """A crop about the cell that a deck deals, or an empty one; what does not fit is passed over.

    Raises
    ------
    QueryError
        If nothing fits.
    """
    for _ in range(MOST_TRIES):
        if near is None:
            crop = empty_crop(rng, *empty.deal(), side)
        else:
            crop = crop_around(rng, *near.deal(), side)
        if crop is not None:
            return crop
    raise QueryError("no part of the smears of this split can be cut out; add smears")


def _turned(rng: Random, crop: Crop) -> tuple[Piece, Cells]:
    """A crop of a smear as a piece, and its cells before it is turned."""
    name, cells = crop
    return Piece(name, Path(name.partition(CROP)[0]).name, draw_turn(rng)), cells


def _moved(corners: Corners, tile: Tile, side: int) -> Corners:
    """A box of a piece where it lies in the region."""
    x1, y1, x2, y2 = corners
    left, top = tile[0] * side, tile[1] * side
    return x1 + left, y1 + top, x2 + left, y2 + top


def _about_cells(about: convert.Questions) -> Iterator[Sample]:
    """Boxes, number and presence of white cells and of platelets."""
    for name in CELL_NAMES:
        cells = [area for area in about.facts.areas if area.label == name]
        yield about.boxes((name,), cells)
        yield about.number(f"{name}s", len(cells))
        yield about.presence(f"{name}s", bool(cells))
    yield from about.cannot_tell("blood")


def _of_split(table: Path, split: Split) -> list[dict[str, str]]:
    """Rows of a split.

    Raises
    ------
    QueryError
        If there is none.
    """
    rows = [row for row in convert.read_table(table) if row.get("split") == split]
    if not rows:
        raise QueryError(f"{table.parent.name}/{table.name} has no row of {split}; add some")
    return rows


SETS: dict[str, Callable[[_Draw, Path, int], Iterator[LargeRegion]]] = {
    "lymph_node": _lymph_node,
    "lung": _lung,
    "nuclei": _nuclei,
    "blood": _blood,
}
