"""BCCD: blood smears, 640 x 480 px, with boxes around white cells, platelets and red cells.

Layout as published (Shenggan/BCCD_Dataset), the folder itself or the one above it::

    BCCD/JPEGImages/BloodImage_00000.jpg
    BCCD/Annotations/BloodImage_00000.xml        Pascal VOC, pixels counted from 1
    BCCD/ImageSets/Main/{train,val,test}.txt     names without ending, a line each

The published splits are kept; a smear that no list names is left out. Smears of one patient are
not known. Tested on a miniature of the published layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from napari_pathreason._errors import QueryError
from napari_pathreason.training.convert._blood import picture_questions, read_voc
from napari_pathreason.training.samples._sample import SPLITS, Sample, Split

from ._entry import Entry, Found, Kind, Options
from ._store import Store

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
    root = _root(folder)
    entries = []
    for split in SPLITS:
        listed = root / "ImageSets/Main" / f"{split}.txt" if root else None
        if root is None or listed is None or not listed.is_file():
            continue
        for name in listed.read_text(encoding="utf-8").split():
            file = root / "JPEGImages" / f"{name}.jpg"
            boxes = root / "Annotations" / f"{name}.xml"
            entries.append(Entry(name, name, partial(_ask, file, boxes), split, file))
    if not entries:
        raise QueryError(
            f"{folder.name} has no ImageSets/Main/train.txt, val.txt or test.txt; "
            "download BCCD whole"
        )
    return Found(entries, "smear")


def _ask(file: Path, boxes: Path, split: Split, rng: Random, store: Store) -> Iterator[Sample]:
    cells = read_voc(boxes, first=1)
    for sample in picture_questions(rng, split, str(file), cells, VIEWS[split]):
        yield sample.model_copy(update={"source": "bccd"})


KIND = Kind("bccd", "JPEGImages/, Annotations/, ImageSets/Main/", _looks, _read)
