"""Blood smears: boxes, counts and presence of white cells, platelets and red cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

from napari_pathreason.training.samples import Area, Facts, Sample, Split

from . import _wording as wording
from ._alien import cannot_tell, offered
from ._tables import read_table

NAMES = {"WBC": "white cell", "Platelets": "platelet", "RBC": "red cell"}
WIDTH, HEIGHT = 640, 480
EDGES = ("xmin", "ymin", "xmax", "ymax")


def blood(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """Whole smears, and ``views - 1`` crops of each; of each view boxes, numbers, presence."""
    rng = Random(f"{seed}-{split}")
    for image, cells in read_smears(folder, split):
        yield from smear_questions(rng, split, image, cells, views)


def blood_windows(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """``views`` small windows of each smear, most around a cell, as a zoom has them."""
    rng = Random(f"{seed}-{split}-windows")
    for image, cells in read_smears(folder, split):
        for _ in range(views):
            region = _window(rng, cells)
            inside = tuple(cell for cell in cells if _centre_inside(cell, region))
            yield from _view(rng, split, image, region, inside, "blood_windows")


def read_smears(folder: Path, split: Split) -> Iterator[tuple[str, tuple[Area, ...]]]:
    """File and cells of each smear of a split; level-0 pixels."""
    for row in read_table(folder / "index.csv"):
        if row["split"] == split:
            yield str(folder / row["image"]), read_voc(folder / row["boxes"])


def smear_questions(
    rng: Random, split: Split, image: str, cells: tuple[Area, ...], views: int
) -> Iterator[Sample]:
    """Of one smear, and of ``views - 1`` crops of it, boxes, numbers, presence."""
    for view in range(views):
        region = (0, 0, WIDTH, HEIGHT) if view == 0 else _crop(rng)
        inside = tuple(cell for cell in cells if _centre_inside(cell, region))
        yield from _view(rng, split, image, region, inside)


def _view(
    rng: Random,
    split: Split,
    image: str,
    region: tuple[int, int, int, int],
    cells: tuple[Area, ...],
    source: str = "blood",
) -> Iterator[Sample]:
    facts = Facts(known=tuple(NAMES.values()), areas=cells)
    common: dict[str, Any] = {"image": image, "region": region, "facts": facts, "source": source}
    for names in (("white cell",), ("platelet",), ("white cell", "platelet")):
        question, phrasing = wording.draw(rng, wording.FIND, split, " and ".join(names))
        yield Sample(
            **common,
            task="detection",
            question=question,
            phrasing=phrasing,
            choices=names,
            boxes=tuple(cell for cell in cells if cell.label in names),
            topic="boxes of " + " and ".join(names),
        )
    for name in NAMES.values():
        number = sum(cell.label == name for cell in cells)
        question, phrasing = wording.draw(rng, wording.COUNT, split, name + "s")
        yield Sample(
            **common,
            task="vqa",
            question=question,
            phrasing=phrasing,
            answer=str(number),
            topic=f"number of {name}s",
        )
        question, phrasing = wording.draw(rng, wording.PRESENCE, split, name + "s")
        yield Sample(
            **common,
            task="vqa",
            question=question,
            phrasing=phrasing,
            choices=offered(rng, ("yes", "no")),
            answer="yes" if number else "no",
            topic=f"presence of {name}s",
        )
    if source == "blood":
        yield from cannot_tell(rng, split, "blood", common)


def read_voc(path: Path, first: int = 0) -> tuple[Area, ...]:
    """Pascal VOC boxes, sorted in reading order; boxes without area are left out.

    ``first`` is the number that the file gives to the first row and column; its last row and
    column lie inside the box.
    """
    cells = []
    for item in ElementTree.parse(path).getroot().iter("object"):
        x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{edge}") or 0) for edge in EDGES)
        x1, y1 = max(x1 - first, 0), max(y1 - first, 0)
        name = NAMES.get(item.findtext("name") or "")
        if name and x2 > x1 and y2 > y1:
            cells.append(Area(label=name, corners=(x1, y1, x2, y2)))
    return tuple(sorted(cells, key=lambda cell: (cell.corners[1], cell.corners[0])))


def _crop(rng: Random) -> tuple[int, int, int, int]:
    side = rng.randrange(160, 449, 32)
    return rng.randint(0, WIDTH - side), rng.randint(0, HEIGHT - side), side, side


def _window(rng: Random, cells: tuple[Area, ...]) -> tuple[int, int, int, int]:
    """Around a platelet where there is one, now and then around any cell or nothing."""
    side = rng.randrange(96, 193, 16)
    platelets = [cell for cell in cells if cell.label == "platelet"]
    drawn = platelets if platelets and rng.random() < 0.7 else cells
    if drawn and rng.random() < 0.9:
        x1, y1, x2, y2 = rng.choice(drawn).corners
        middle = (x1 + x2) / 2, (y1 + y2) / 2
    else:
        middle = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
    x, y = (m + rng.uniform(-side / 4, side / 4) - side / 2 for m in middle)
    left, top = (round(min(max(v, 0), most - side)) for v, most in ((x, WIDTH), (y, HEIGHT)))
    return left, top, side, side


def _centre_inside(cell: Area, region: tuple[int, int, int, int]) -> bool:
    x = (cell.corners[0] + cell.corners[2]) / 2 - region[0]
    y = (cell.corners[1] + cell.corners[3]) / 2 - region[1]
    return 0 <= x < region[2] and 0 <= y < region[3]
