"""Tiles with one label each: of lung, and of lymph node, single and composed to fields.

A label of lymph node speaks of the central third of its tile. A field is a grid of real tiles of
one split, with tumour areas of any shape or none; the seams between tiles are visible, so a score
on fields must be read with the words "composed of tiles" beside it. The split of lung is by source
tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from napari_pathreason.tasks import PLACES
from napari_pathreason.training import convert
from napari_pathreason.training.convert import TILE_SIDE
from napari_pathreason.training.samples import Area, Facts, Sample, Split, place_of

LUNG_SIDE = 224
"""Side of a tile of lung, level-0 pixels."""
NOWHERE = "nowhere"
TUMOUR_WHERE = convert.Phrasings(
    (
        "Where is the tumour?",
        "In which part of the field does the tumour lie?",
        "In which part is the tumour?",
        "Which part shows tumour?",
        "Where in this region is the tumour?",
    ),
    ("Where does the tumour lie?", "Which part of the field shows the tumour?"),
)

Tile = tuple[int, int]
"""Column and row of a tile."""

LESION_FREE = 0.4
SINGLE = 0.25
"""Share of fields with tumour whose tumour is one tile."""


def lung(folder: Path, split: Split, seed: int) -> Iterator[Sample]:
    """Of each tile of lung its subtype, and whether it is normal."""
    rng = Random(f"{seed}-{split}")
    for row in convert.read_table(folder / "labels.csv"):
        if row["split"] == split:
            kind = row["label"].replace("_", " ")
            yield from convert.lung_questions(
                rng, split, str(folder / row["image"]), kind, LUNG_SIDE, "lung"
            )


def lymph_node(folder: Path, split: Split, seed: int, fields: int) -> Iterator[Sample]:
    """Questions on single tiles and on ``fields`` composed fields of one split."""
    rng = Random(f"{seed}-{split}")
    rows = [row for row in convert.read_table(folder / "labels.csv") if row["split"] == split]
    tiles: dict[bool, list[str]] = {True: [], False: []}
    for row in rows:
        tiles[row["label"] == "tumour"].append(str(folder / row["image"]))
    for tumour, files in tiles.items():
        for file in files:
            yield from convert.lymph_node_questions(rng, split, file, tumour, "lymph_node")
    for _ in range(fields):
        yield from _field(rng, split, tiles)


def _field(rng: Random, split: Split, tiles: dict[bool, list[str]]) -> Iterator[Sample]:
    columns, rows = draw_grid(rng)
    lesions = draw_lesions(rng, columns, rows)
    tumour = set().union(*lesions)
    grid = tuple(
        tuple(rng.choice(tiles[(x, y) in tumour]) for x in range(columns)) for y in range(rows)
    )
    boxes = tuple(sorted((_box(lesion) for lesion in lesions), key=lambda a: a.corners[1::-1]))
    areas = tuple(_box({tile}) for tile in sorted(tumour))
    facts = Facts(known=("tumour",), areas=areas, boxes=boxes)
    about = convert.Questions(rng, split, grid, "lymph_field", facts)
    yield about.boxes(("tumour",), boxes)
    yield about.presence("", bool(tumour), "tumour in a field", convert.TUMOUR_PRESENT)
    if len(lesions) <= 1:
        yield about.ask(
            TUMOUR_WHERE,
            topic="where the tumour is",
            choices=(*PLACES, NOWHERE),
            answer=_place(boxes[0], columns, rows) if boxes else NOWHERE,
        )
    yield from about.cannot_tell("lymph")


def _box(lesion: set[Tile]) -> Area:
    """Bounding box of tiles, level-0 pixels."""
    xs, ys = [x for x, _ in lesion], [y for _, y in lesion]
    left, top, right, bottom = min(xs), min(ys), max(xs) + 1, max(ys) + 1
    corners = (left * TILE_SIDE, top * TILE_SIDE, right * TILE_SIDE, bottom * TILE_SIDE)
    return Area(label="tumour", corners=corners)


def _place(box: Area, columns: int, rows: int) -> str:
    x1, y1, x2, y2 = box.corners
    return place_of((x1 + x2) / 2 / (columns * TILE_SIDE), (y1 + y2) / 2 / (rows * TILE_SIDE))


def draw_grid(rng: Random) -> tuple[int, int]:
    """Columns and rows, 2 to 8 each; a field is at most 768 px wide."""
    return rng.choice((2, 3, 3, 4, 4, 5, 6, 8)), rng.choice((2, 3, 3, 4, 4, 5, 6, 8))


def draw_lesions(rng: Random, columns: int, rows: int) -> list[set[Tile]]:
    """Connected areas of tumour tiles, none, one or two, that do not touch one another."""
    if rng.random() < LESION_FREE:
        return []
    lesions: list[set[Tile]] = []
    for _ in range(2 if rng.random() < 0.35 else 1):
        taken = {near for lesion in lesions for tile in lesion for near in _around(*tile)}
        free = [(x, y) for y in range(rows) for x in range(columns) if (x, y) not in taken]
        if not free:
            break
        most = 1 if rng.random() < SINGLE else rng.randint(1, max(1, columns * rows // 2))
        lesions.append(grow_lesion(rng, set(free), most))
    if sum(map(len, lesions)) == columns * rows:  # leave something to compare with
        lesions[0].pop()
    return [lesion for lesion in lesions if lesion]


def grow_lesion(rng: Random, free: set[Tile], most: int) -> set[Tile]:
    """One area of up to ``most`` tiles, grown from a tile to neighbours by an edge."""
    if rng.random() < 0.5:
        return _rectangle(rng, free, most)
    area = {rng.choice(sorted(free))}
    while len(area) < most:
        rim = sorted({t for x, y in area for t in _beside(x, y)} & free - area)
        if not rim:
            break
        area.add(rng.choice(rim))
    return area


def _rectangle(rng: Random, free: set[Tile], most: int) -> set[Tile]:
    x, y = rng.choice(sorted(free))
    area = {(x, y)}
    for _ in range(most):  # grow by whole edges while there is room
        xs, ys = [t[0] for t in area], [t[1] for t in area]
        left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
        side = rng.randrange(4)
        left, right = left - (side == 0), right + (side == 1)
        top, bottom = top - (side == 2), bottom + (side == 3)
        grown = {(i, j) for i in range(left, right + 1) for j in range(top, bottom + 1)}
        if not grown <= free or len(grown) > most:
            break
        area = grown
    return area


def _beside(x: int, y: int) -> tuple[Tile, ...]:
    return (x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)


def _around(x: int, y: int) -> set[Tile]:
    return {(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
