"""Blood smears: boxes, counts and presence of white cells, platelets and red cells.

Besides whole smears and crops of them: small windows as a zoom has them, and crops stitched to one
picture that holds few small things, or none, to find. Platelets are small beside such a picture, so
the budget decides whether they are seen at all. Crops show no white cell, and the seams between
them are visible, so a score on stitched pictures must be read with the words "stitched crops"
beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from napari_pathreason.tasks import PLACES
from napari_pathreason.training import convert
from napari_pathreason.training.samples import (
    Area,
    Facts,
    Sample,
    Split,
    name_crop,
    place_of,
)

SIDE = 96
"""Side of a stitched crop, level-0 pixels; a multiple of the visual token of every family's small
models."""
EMPTY = 0.3
"""Share of stitched pictures without any platelet."""
MOST = 3
"""Platelets of a stitched picture."""
NAME, NOWHERE = "platelet", "nowhere"
WHERE = convert.Phrasings(
    (
        "Where is the {}?",
        "In which part is the {}?",
        "Which part shows the {}?",
        "Where in this region is the {}?",
    ),
    ("Where does the {} lie?", "Which part of the picture shows the {}?"),
)

Cells = tuple[Area, ...]
Crop = tuple[str, Cells]
"""File with the place of the crop (media fragment), and its white cells and platelets, from its
corner."""


def blood(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """Whole smears, and ``views - 1`` crops of each; of each view boxes, numbers, presence."""
    rng = Random(f"{seed}-{split}")
    for image, cells in read_smears(folder, split):
        yield from convert.smear_questions(rng, split, image, cells, views, "blood")


def blood_windows(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """``views`` small windows of each smear, most around a cell, as a zoom has them."""
    rng = Random(f"{seed}-{split}-windows")
    for image, cells in read_smears(folder, split):
        for _ in range(views):
            region = _window(rng, cells)
            yield from convert.cell_questions(
                *convert.about_cells(rng, split, image, cells, region, "blood_windows")
            )


def read_smears(folder: Path, split: Split) -> Iterator[tuple[str, Cells]]:
    """File and cells of each smear of a split; level-0 pixels."""
    for row in convert.read_table(folder / "index.csv"):
        if row["split"] == split:
            yield str(folder / row["image"]), convert.read_voc(folder / row["boxes"])


def stitched(folder: Path, split: Split, seed: int, pictures: int) -> Iterator[Sample]:
    """Questions on ``pictures`` stitched ones of a split: boxes, number, presence, place."""
    rng = Random(f"{seed}-{split}-stitched")
    smears = list(read_smears(folder, split))
    with_platelet = [
        (image, cells, cell) for image, cells in smears for cell in cells if cell.label == NAME
    ]
    if not with_platelet:
        return
    for _ in range(pictures):
        yield from _stitch(rng, split, smears, with_platelet)


def _stitch(
    rng: Random,
    split: Split,
    smears: Sequence[tuple[str, Cells]],
    with_platelet: Sequence[tuple[str, Cells, Area]],
) -> Iterator[Sample]:
    columns, rows = rng.randint(2, 6), rng.randint(2, 6)
    wanted = 0 if rng.random() < EMPTY else rng.randint(1, MOST)
    full = set(rng.sample(range(columns * rows), wanted))
    crops = []
    for at in range(columns * rows):
        if at in full:
            image, cells, near = rng.choice(with_platelet)
            crop = crop_around(rng, image, cells, near)
        else:
            crop = None
        crops.append(crop or _background(rng, smears))
    grid = tuple(tuple(crops[y * columns + x][0] for x in range(columns)) for y in range(rows))
    boxes = tuple(
        Area(label=NAME, corners=(left + a, top + b, left + c, top + d))
        for at, (_, found) in enumerate(crops)
        for left, top in [(at % columns * SIDE, at // columns * SIDE)]
        for a, b, c, d in [area.corners for area in found]
    )
    facts = Facts(known=("white cell", NAME), areas=boxes)
    about = convert.Questions(rng, split, grid, "blood_stitched", facts)
    in_order = sorted(boxes, key=lambda box: (box.corners[1], box.corners[0]))
    yield about.boxes((NAME,), in_order, "boxes of platelet, stitched crops")
    yield about.number("platelets", len(boxes), "number of platelets, stitched crops")
    yield about.presence("platelets", bool(boxes), "presence of platelets, stitched crops")
    if len(boxes) <= 1:
        yield about.ask(
            WHERE,
            NAME,
            topic="where the platelet is, stitched crops",
            choices=(*PLACES, NOWHERE),
            answer=_place(boxes[0], columns, rows) if boxes else NOWHERE,
        )


def crop_around(rng: Random, image: str, cells: Cells, near: Area, side: int = SIDE) -> Crop | None:
    """A crop that holds all of a white cell or platelet, and others of its kind alone, whole.

    None if there is no room, as far as eight tries tell.
    """
    width, height = convert.SMEAR_SIZE
    x1, y1, x2, y2 = near.corners
    lefts = range(max(0, math.ceil(x2) - side), min(int(x1), width - side) + 1)
    tops = range(max(0, math.ceil(y2) - side), min(int(y1), height - side) + 1)
    for _ in range(8 if lefts and tops else 0):
        crop = _cut(image, cells, rng.choice(lefts), rng.choice(tops), side)
        if crop is not None and all(cell.label == near.label for cell in crop[1]):
            return crop
    return None


def empty_crop(rng: Random, image: str, cells: Cells, side: int = SIDE) -> Crop | None:
    """A crop without white cells and platelets; None if the one that was tried has some."""
    width, height = convert.SMEAR_SIZE
    crop = _cut(image, cells, rng.randint(0, width - side), rng.randint(0, height - side), side)
    return None if crop is None or crop[1] else crop


def _background(rng: Random, smears: Sequence[tuple[str, Cells]]) -> Crop:
    """A crop of any of the smears, without white cells and platelets."""
    while True:
        crop = empty_crop(rng, *rng.choice(smears))
        if crop is not None:
            return crop


def _cut(image: str, cells: Sequence[Area], left: int, top: int, side: int) -> Crop | None:
    """The crop at a place; None where it would cut a white cell or platelet."""
    inside = []
    for cell in cells:
        if cell.label == "red cell":
            continue
        x1, y1, x2, y2 = cell.corners
        if x1 >= left + side or x2 <= left or y1 >= top + side or y2 <= top:
            continue
        if not (x1 >= left and y1 >= top and x2 <= left + side and y2 <= top + side):
            return None
        corners = (x1 - left, y1 - top, x2 - left, y2 - top)
        inside.append(Area(label=cell.label, corners=corners))
    return name_crop(image, left, top, side, side), tuple(inside)


def _window(rng: Random, cells: Cells) -> tuple[int, int, int, int]:
    """Around a platelet where there is one, now and then around any cell or nothing."""
    side = rng.randrange(96, 193, 16)
    platelets = [cell for cell in cells if cell.label == NAME]
    aims = platelets if platelets and rng.random() < 0.7 else cells
    if aims and rng.random() < 0.9:
        x1, y1, x2, y2 = rng.choice(aims).corners
        middle = (x1 + x2) / 2, (y1 + y2) / 2
    else:
        middle = rng.uniform(0, convert.SMEAR_SIZE[0]), rng.uniform(0, convert.SMEAR_SIZE[1])
    x, y = (m + rng.uniform(-side / 4, side / 4) - side / 2 for m in middle)
    width, height = convert.SMEAR_SIZE
    left, top = (round(min(max(v, 0), most - side)) for v, most in ((x, width), (y, height)))
    return left, top, side, side


def _place(box: Area, columns: int, rows: int) -> str:
    x1, y1, x2, y2 = box.corners
    return place_of((x1 + x2) / 2 / (columns * SIDE), (y1 + y2) / 2 / (rows * SIDE))
