"""BCCD: blood smears, 640 x 480 px, with boxes around white cells, platelets and red cells.

Layout as published (Shenggan/BCCD_Dataset), the folder itself or the one above it::

    BCCD/JPEGImages/BloodImage_00000.jpg
    BCCD/Annotations/BloodImage_00000.xml        Pascal VOC, pixels counted from 1
    BCCD/ImageSets/Main/{train,val,test}.txt     names without ending, a line each

The published splits are kept; a smear that no list names is left out and counted, and so is a box
of another class. A list ``trainval`` counts for smears that no other list names. Smears of one
patient are not known. Tested on a miniature of the published layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from xml.etree import ElementTree

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Area, Facts, Sample, Split

from ._layout import Draw, Kind, LabelledEntry, LeftOut, Options, PictureSet, Place
from ._questions import Questions
from ._splits import published

CELL_NAMES = {"WBC": "white cell", "Platelets": "platelet", "RBC": "red cell"}
"""Classes of the annotations, and what they are called in questions."""
SMEAR_SIZE = (640, 480)
"""(width, height) of every smear in pixels."""
EDGES = ("xmin", "ymin", "xmax", "ymax")
LOOKED_AT = 20
"""Files whose classes are looked at to tell the set from others."""
BOTH = "trainval"
TRAIN: Split = "train"
VIEWS: dict[Split, int] = {"train": 6, "val": 2, "test": 2}
"""The whole smear, and crops of it."""


def _root(folder: Path) -> Path | None:
    inside = (folder, folder / "BCCD")
    return next((path for path in inside if (path / "JPEGImages").is_dir()), None)


def _matches(folder: Path) -> bool:
    root = _root(folder)
    known = root / "Annotations" if root is not None else None
    if known is None or not known.is_dir():
        return False
    first = sorted(known.glob("[!.]*.xml"))[:LOOKED_AT]
    found = set[str]().union(*map(_classes, first))
    return not found or bool(found & CELL_NAMES.keys())  # else a lab's own VOC


def _classes(path: Path) -> set[str]:
    try:
        items = ElementTree.parse(path).getroot().iter("object")
        return {item.findtext("name") or "" for item in items} - {""}
    except ElementTree.ParseError:
        return set()


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If no list of a split is there.
    """
    root, left = _root(folder), LeftOut()
    lists = {path.stem: path for path in root.glob("ImageSets/Main/[!.]*.txt")} if root else {}
    if root is None or not lists:
        raise QueryError(
            f"{folder.name} has no ImageSets/Main/train.txt, val.txt or test.txt; "
            "download BCCD whole, or say --kind voc to have it dealt"
        )
    entries = []
    listed: set[str] = set()
    both = {stem: path for stem, path in lists.items() if stem == BOTH}
    splits = published(lists.keys() - both.keys(), "ImageSets/Main")
    for stem, split in (*splits, *((stem, TRAIN) for stem in both)):
        names = lists[stem].read_text("utf-8").split()
        names = [name for name in names if stem != BOTH or name not in listed]
        listed.update(names)
        for name in names:
            file = root / "JPEGImages" / f"{name}.jpg"
            boxes = root / "Annotations" / f"{name}.xml"
            entries.append(LabelledEntry(name, name, partial(_ask, file, boxes, left), split, file))
    beside = frozenset({root / "Annotations", root / "ImageSets"})
    return PictureSet(entries, "smear", (), left, beside)


def _ask(file: Path, boxes: Path, left: LeftOut, draw: Draw) -> Iterator[Sample]:
    cells = read_voc(boxes, first=1)
    number = sum(1 for _ in ElementTree.parse(boxes).getroot().iter("object"))
    why = "boxes of another class or without area were left out"
    left.add(why, boxes.name, number - len(cells))
    yield from smear_questions(draw.rng, draw.split, str(file), cells, VIEWS[draw.split])


def smear_questions(
    rng: Random,
    split: Split,
    image: str,
    cells: tuple[Area, ...],
    views: int,
    source: str = "bccd",
) -> Iterator[Sample]:
    """Of one smear, and of ``views - 1`` crops of it, boxes, numbers, presence.

    Parameters
    ----------
    rng : random.Random
    split : {"train", "val", "test"}
    image : str
        File of the smear.
    cells : tuple of Area
        All cells of the smear, level-0 pixels.
    views : int
    source : str
        Name of the set.
    """
    for view in range(views):
        region = (0, 0, *SMEAR_SIZE) if view == 0 else _crop(rng)
        about, inside = about_cells(rng, split, image, cells, region, source)
        yield from cell_questions(about, inside)
        yield from about.cannot_tell("blood")


def about_cells(
    rng: Random,
    split: Split,
    image: str,
    cells: tuple[Area, ...],
    region: Place,
    source: str,
) -> tuple[Questions, tuple[Area, ...]]:
    """Questions about a region of a smear, and its cells: those whose middle it holds."""
    inside = tuple(cell for cell in cells if _centre_inside(cell, region))
    facts = Facts(known=tuple(CELL_NAMES.values()), areas=inside)
    return Questions(rng, split, image, source, facts, region), inside


def cell_questions(about: Questions, cells: tuple[Area, ...]) -> Iterator[Sample]:
    """Boxes of white cells and platelets; number and presence of each kind of cell."""
    for names in (("white cell",), ("platelet",), ("white cell", "platelet")):
        yield about.boxes(names, [cell for cell in cells if cell.label in names])
    for name in CELL_NAMES.values():
        number = sum(cell.label == name for cell in cells)
        yield about.number(f"{name}s", number)
        yield about.presence(f"{name}s", number > 0)


def read_voc(path: Path, first: int = 0) -> tuple[Area, ...]:
    """Pascal VOC boxes of cells, sorted in reading order; boxes without area are left out.

    Parameters
    ----------
    path : Path
    first : int
        Number that the file gives to the first row and column; its last row and column lie inside
        the box.
    """
    cells = []
    for item in ElementTree.parse(path).getroot().iter("object"):
        x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{edge}") or 0) for edge in EDGES)
        x1, y1 = max(x1 - first, 0), max(y1 - first, 0)
        name = CELL_NAMES.get(item.findtext("name") or "")
        if name and x2 > x1 and y2 > y1:
            cells.append(Area(label=name, corners=(x1, y1, x2, y2)))
    return tuple(sorted(cells, key=lambda cell: (cell.corners[1], cell.corners[0])))


def _crop(rng: Random) -> Place:
    side = rng.randrange(160, 449, 32)
    width, height = SMEAR_SIZE
    return rng.randint(0, width - side), rng.randint(0, height - side), side, side


def _centre_inside(cell: Area, region: Place) -> bool:
    x = (cell.corners[0] + cell.corners[2]) / 2 - region[0]
    y = (cell.corners[1] + cell.corners[3]) / 2 - region[1]
    return 0 <= x < region[2] and 0 <= y < region[3]


KIND: Kind = Kind("bccd", "JPEGImages/, Annotations/, ImageSets/Main/", _matches, _read)
