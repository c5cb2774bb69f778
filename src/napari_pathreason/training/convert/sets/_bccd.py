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
from napari_pathreason.training.convert import read_voc, smear_questions
from napari_pathreason.training.samples import Sample, Split

from ._entry import Entry, Found, Kind, Options
from ._left_out import LeftOut
from ._split_names import published
from ._store import Store

BOTH = "trainval"
TRAIN: Split = "train"
VIEWS: dict[Split, int] = {"train": 6, "val": 2, "test": 2}
"""The whole smear, and crops of it."""


def _root(folder: Path) -> Path | None:
    inside = (folder, folder / "BCCD")
    return next((path for path in inside if (path / "JPEGImages").is_dir()), None)


def _looks(folder: Path) -> bool:
    root = _root(folder)
    return root is not None and (root / "Annotations").is_dir()


def _read(folder: Path, options: Options) -> Found:
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
            "download BCCD whole"
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
            entries.append(Entry(name, name, partial(_ask, file, boxes, left), split, file))
    beside = frozenset({root / "Annotations", root / "ImageSets"})
    return Found(entries, "smear", (), left, beside)


def _ask(
    file: Path, boxes: Path, left: LeftOut, split: Split, rng: Random, store: Store
) -> Iterator[Sample]:
    cells = read_voc(boxes, first=1)
    drawn = sum(1 for _ in ElementTree.parse(boxes).getroot().iter("object"))
    left.add("boxes of another class or without area were left out", boxes.name, drawn - len(cells))
    for sample in smear_questions(rng, split, str(file), cells, VIEWS[split]):
        yield sample.model_copy(update={"source": "bccd"})


KIND: Kind = Kind("bccd", "JPEGImages/, Annotations/, ImageSets/Main/", _looks, _read)
