"""Crops of blood smears stitched to one picture that holds few small things, or none, to find.

Platelets are small beside the picture, so the budget decides whether they are seen at all. Crops
show no white cell, and the seams between them are visible, so a score on such pictures must be
read with the words "stitched crops" beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from napari_pathreason.training.samples import (
    PLACES,
    Area,
    Facts,
    Sample,
    Split,
    name_crop,
    place_of,
)

from . import _wording as wording
from ._alien import offered
from ._blood import HEIGHT, WIDTH, read_smears

SIDE = 96
"""Side of a crop, level-0 pixels; a multiple of the visual token of every family's small models."""
EMPTY = 0.3
"""Share of pictures without any platelet."""
MOST = 3
NAME, NOWHERE = "platelet", "nowhere"

Crop = tuple[str, tuple[Area, ...]]
"""File with the place of the crop (media fragment), and the platelets in it, from its corner."""


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
        yield from _picture(rng, split, smears, with_platelet)


def _picture(
    rng: Random,
    split: Split,
    smears: Sequence[tuple[str, tuple[Area, ...]]],
    with_platelet: Sequence[tuple[str, tuple[Area, ...], Area]],
) -> Iterator[Sample]:
    columns, rows = rng.randint(2, 6), rng.randint(2, 6)
    wanted = 0 if rng.random() < EMPTY else rng.randint(1, MOST)
    full = set(rng.sample(range(columns * rows), wanted))
    crops = []
    for at in range(columns * rows):
        if at in full:
            image, cells, near = rng.choice(with_platelet)
            crop = _crop(rng, image, cells, near)
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
    common: dict[str, Any] = {"image": grid, "facts": facts, "source": "blood_stitched"}
    question, phrasing = wording.draw(rng, wording.FIND, split, NAME)
    yield Sample(
        **common,
        task="detection",
        question=question,
        phrasing=phrasing,
        choices=(NAME,),
        boxes=tuple(sorted(boxes, key=lambda box: (box.corners[1], box.corners[0]))),
        topic="boxes of platelet, stitched crops",
    )
    question, phrasing = wording.draw(rng, wording.COUNT, split, NAME + "s")
    yield Sample(
        **common,
        task="vqa",
        question=question,
        phrasing=phrasing,
        answer=str(len(boxes)),
        topic="number of platelets, stitched crops",
    )
    question, phrasing = wording.draw(rng, wording.PRESENCE, split, NAME + "s")
    yield Sample(
        **common,
        task="vqa",
        question=question,
        phrasing=phrasing,
        choices=offered(rng, ("yes", "no")),
        answer="yes" if boxes else "no",
        topic="presence of platelets, stitched crops",
    )
    if len(boxes) <= 1:
        question, phrasing = wording.draw(rng, wording.WHERE, split, NAME)
        yield Sample(
            **common,
            task="vqa",
            question=question,
            phrasing=phrasing,
            choices=(*PLACES, NOWHERE),
            answer=_place(boxes[0], columns, rows) if boxes else NOWHERE,
            topic="where the platelet is, stitched crops",
        )


def _crop(rng: Random, image: str, cells: Sequence[Area], near: Area) -> Crop | None:
    """A crop that holds all of ``near`` and no part of a white cell; None if there is no room."""
    x1, y1, x2, y2 = near.corners
    lefts = range(max(0, math.ceil(x2) - SIDE), min(int(x1), WIDTH - SIDE) + 1)
    tops = range(max(0, math.ceil(y2) - SIDE), min(int(y1), HEIGHT - SIDE) + 1)
    for _ in range(8 if lefts and tops else 0):
        crop = _cut(image, cells, rng.choice(lefts), rng.choice(tops))
        if crop is not None:
            return crop
    return None


def _background(rng: Random, smears: Sequence[tuple[str, tuple[Area, ...]]]) -> Crop:
    """A crop without white cells and platelets."""
    while True:
        image, cells = rng.choice(smears)
        crop = _cut(image, cells, rng.randint(0, WIDTH - SIDE), rng.randint(0, HEIGHT - SIDE))
        if crop is not None and not crop[1]:
            return crop


def _cut(image: str, cells: Sequence[Area], left: int, top: int) -> Crop | None:
    """The crop at a place; None where it would cut a platelet or meet a white cell."""
    inside = []
    for cell in cells:
        if cell.label == "red cell":
            continue
        x1, y1, x2, y2 = cell.corners
        if x1 >= left + SIDE or x2 <= left or y1 >= top + SIDE or y2 <= top:
            continue
        whole = x1 >= left and y1 >= top and x2 <= left + SIDE and y2 <= top + SIDE
        if cell.label != NAME or not whole:
            return None
        inside.append(Area(label=NAME, corners=(x1 - left, y1 - top, x2 - left, y2 - top)))
    return name_crop(image, left, top, SIDE, SIDE), tuple(inside)


def _place(box: Area, columns: int, rows: int) -> str:
    x1, y1, x2, y2 = box.corners
    return place_of((x1 + x2) / 2 / (columns * SIDE), (y1 + y2) / 2 / (rows * SIDE))
