"""Lymph node tiles, and fields composed of them.

A tile's label speaks of its central third. A field is an m x n grid of real tiles of one split
with one rectangle of tumour tiles (the box) or none; its seams are visible, so a score on fields
must be read with the words "composed of tiles" beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from napari_pathreason.training._places import PLACES, place_of
from napari_pathreason.training._sample import Area, Facts, Sample, Split

from . import _wording as wording
from ._tables import read_table

TILE = 96
YES_NO = ("yes", "no")
LABELS = ("tumour", "no tumour")
NOWHERE = "nowhere"


def lymph_node(folder: Path, split: Split, seed: int, fields: int) -> Iterator[Sample]:
    """Questions on single tiles and on ``fields`` composed fields of one split."""
    rng = Random(f"{seed}-{split}")
    rows = [row for row in read_table(folder / "labels.csv") if row["split"] == split]
    tiles: dict[bool, list[str]] = {True: [], False: []}
    for row in rows:
        tiles[row["label"] == "tumour"].append(str(folder / row["image"]))
    for tumour, files in tiles.items():
        for file in files:
            yield _tile(rng, file, tumour)
    for index in range(fields):
        yield _field(rng, tiles, index)


def _tile(rng: Random, file: str, tumour: bool) -> Sample:
    areas = (Area(label="tumour", corners=(0, 0, TILE, TILE)),) if tumour else ()
    facts = Facts(known=("tumour",), areas=areas)
    if rng.random() < 0.5:
        return Sample(
            image=file,
            task="vqa",
            question=wording.draw(rng, wording.TUMOUR_PRESENT),
            choices=YES_NO,
            answer="yes" if tumour else "no",
            facts=facts,
            source="lymph_node",
            topic="tumour in a tile",
        )
    return Sample(
        image=file,
        task="subtyping",
        question=wording.draw(rng, wording.TUMOUR_KIND),
        choices=tuple(rng.sample(LABELS, 2)),
        answer=LABELS[0] if tumour else LABELS[1],
        facts=facts,
        source="lymph_node",
        topic="tumour in a tile",
    )


def _field(rng: Random, tiles: dict[bool, list[str]], index: int) -> Sample:
    columns, rows = rng.randint(2, 6), rng.randint(2, 6)
    inside = _rectangle(rng, columns, rows) if rng.random() < 0.6 else (0, 0, 0, 0)
    x1, y1, x2, y2 = inside
    grid = tuple(
        tuple(rng.choice(tiles[x1 <= x < x2 and y1 <= y < y2]) for x in range(columns))
        for y in range(rows)
    )
    tumour = x2 > x1
    corners = (x1 * TILE, y1 * TILE, x2 * TILE, y2 * TILE)
    boxes = (Area(label="tumour", corners=corners),) if tumour else ()
    facts = Facts(known=("tumour",), areas=boxes)
    if index % 3 == 0:
        return Sample(
            image=grid,
            task="vqa",
            question=wording.draw(rng, wording.TUMOUR_PRESENT),
            choices=YES_NO,
            answer="yes" if tumour else "no",
            facts=facts,
            source="lymph_field",
            topic="tumour in a field",
        )
    if index % 3 == 1 and tumour:
        centre = ((x1 + x2) / 2 / columns, (y1 + y2) / 2 / rows)
        return Sample(
            image=grid,
            task="vqa",
            question=wording.draw(rng, wording.TUMOUR_WHERE),
            choices=(*PLACES, NOWHERE),
            answer=place_of(*centre),
            facts=facts,
            source="lymph_field",
            topic="where the tumour is",
        )
    return Sample(
        image=grid,
        task="detection",
        question=wording.draw(rng, wording.FIND, "tumour"),
        choices=("tumour",),
        boxes=boxes,
        facts=facts,
        source="lymph_field",
        topic="boxes of tumour",
    )


def _rectangle(rng: Random, columns: int, rows: int) -> tuple[int, int, int, int]:
    """Tile corners of a rectangle that leaves at least one tile without tumour."""
    width, height = rng.randint(1, columns), rng.randint(1, rows)
    if width == columns and height == rows:
        width -= 1
    x, y = rng.randint(0, columns - width), rng.randint(0, rows - height)
    return x, y, x + width, y + height
