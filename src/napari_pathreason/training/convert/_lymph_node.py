"""Questions on lymph node tiles, and on fields composed of them.

A tile's label speaks of its central third.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from napari_pathreason.training.samples import PLACES, Area, Facts, Sample, Split, place_of

from . import _wording as wording
from ._alien import cannot_tell, offered
from ._fields import Tile, draw_grid, draw_lesions
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
            yield from lymph_node_questions(rng, split, file, tumour)
    for _ in range(fields):
        yield from _field(rng, split, tiles)


def lymph_node_questions(rng: Random, split: Split, file: str, tumour: bool) -> Iterator[Sample]:
    """Of one tile whether it holds tumour, and what it is."""
    areas = (Area(label="tumour", corners=(0, 0, TILE, TILE)),) if tumour else ()
    facts = Facts(known=("tumour",), areas=areas)
    common: dict[str, Any] = {"image": file, "facts": facts, "source": "lymph_node"}
    yield _presence(rng, split, common, tumour, "tumour in a tile")
    question, phrasing = wording.draw(rng, wording.TUMOUR_KIND, split)
    yield Sample(
        **common,
        task="subtyping",
        question=question,
        phrasing=phrasing,
        choices=offered(rng, tuple(rng.sample(LABELS, 2))),
        answer=LABELS[0] if tumour else LABELS[1],
        topic="tumour in a tile",
    )
    yield from cannot_tell(rng, split, "lymph", common)


def _presence(
    rng: Random, split: Split, common: dict[str, Any], tumour: bool, topic: str
) -> Sample:
    question, phrasing = wording.draw(rng, wording.TUMOUR_PRESENT, split)
    return Sample(
        **common,
        task="vqa",
        question=question,
        phrasing=phrasing,
        choices=offered(rng, YES_NO),
        answer="yes" if tumour else "no",
        topic=topic,
    )


def _field(rng: Random, split: Split, tiles: dict[bool, list[str]]) -> Iterator[Sample]:
    columns, rows = draw_grid(rng)
    lesions = draw_lesions(rng, columns, rows)
    tumour = set().union(*lesions)
    grid = tuple(
        tuple(rng.choice(tiles[(x, y) in tumour]) for x in range(columns)) for y in range(rows)
    )
    boxes = tuple(sorted((_box(lesion) for lesion in lesions), key=lambda a: a.corners[1::-1]))
    facts = Facts(
        known=("tumour",), areas=tuple(_box({tile}) for tile in sorted(tumour)), boxes=boxes
    )
    common: dict[str, Any] = {"image": grid, "facts": facts, "source": "lymph_field"}
    question, phrasing = wording.draw(rng, wording.FIND, split, "tumour")
    yield Sample(
        **common,
        task="detection",
        question=question,
        phrasing=phrasing,
        choices=("tumour",),
        boxes=boxes,
        topic="boxes of tumour",
    )
    yield _presence(rng, split, common, bool(tumour), "tumour in a field")
    if len(lesions) <= 1:
        question, phrasing = wording.draw(rng, wording.TUMOUR_WHERE, split)
        yield Sample(
            **common,
            task="vqa",
            question=question,
            phrasing=phrasing,
            choices=(*PLACES, NOWHERE),
            answer=_place(boxes[0], columns, rows) if boxes else NOWHERE,
            topic="where the tumour is",
        )
    yield from cannot_tell(rng, split, "lymph", common)


def _box(lesion: set[Tile]) -> Area:
    """Bounding box of tiles, level-0 pixels."""
    xs, ys = [x for x, _ in lesion], [y for _, y in lesion]
    corners = (min(xs) * TILE, min(ys) * TILE, (max(xs) + 1) * TILE, (max(ys) + 1) * TILE)
    return Area(label="tumour", corners=corners)


def _place(box: Area, columns: int, rows: int) -> str:
    x1, y1, x2, y2 = box.corners
    return place_of((x1 + x2) / 2 / (columns * TILE), (y1 + y2) / 2 / (rows * TILE))
