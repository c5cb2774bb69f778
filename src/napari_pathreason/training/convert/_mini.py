"""The embedded model's own sets: several known folders side by side, one split.

Folders of our own making (see the model card for what lies in them), not as published; published
sets have converters in ``sets``. A change of what this gives changes what the embedded model is
trained on, and the fingerprint of its data.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import SPLITS, Sample, Split

from ._alien import LUNG_KINDS
from ._blood import blood, blood_windows
from ._lung import lung
from ._lymph_node import LABELS, lymph_node
from ._nuclei import SMALLEST_TAUGHT, TAUGHT, nuclei, nuclei_instances, nuclei_taught
from ._nuclei_fields import nuclei_fields
from ._stitched import stitched
from ._tables import read_table
from .sets import sizes_of

FIELDS: dict[Split, int] = {"train": 9000, "val": 300, "test": 300}
STITCHED: dict[Split, int] = {"train": 3000, "val": 150, "test": 150}
VIEWS: dict[Split, int] = {"train": 6, "val": 2, "test": 2}
WINDOWS: dict[Split, int] = {"train": 6, "val": 0, "test": 0}
NUCLEI_FIELDS: dict[Split, int] = {"train": 350, "val": 80, "test": 0}
KNOWN: tuple[str, ...] = ("lymph_node", "lung", "blood", "nuclei", "nuclei_instances", TAUGHT)
TO_TRAIN_ON = ("nuclei_instances", TAUGHT)
"""Sets without splits: all of them trains."""
COLUMN = {"blood": "boxes", "nuclei": "mask", **dict.fromkeys(TO_TRAIN_ON, "instances")}
"""Column of what is known of a picture, where that is a file; else it is a label."""
CLASSES = {"lymph_node": LABELS, "lung": LUNG_KINDS}


def looks_mini(folder: Path) -> bool:
    """Whether a folder holds any of the known ones, each with its table."""
    return bool(_here(folder))


def read_mini(folder: Path, split: Split, seed: int, times: int = 1) -> Iterator[Sample]:
    """Samples of one split of all known folders that are there.

    Those to train on are drawn ``times`` over, each time by the next seed: the same pictures in
    other crops, fields and words. Where that is above 1, small windows of smears come besides,
    and wide fields of nuclei, in `val` too: an allocator learns there what a region of a slide
    needs.
    """
    more = times > 1
    return chain.from_iterable(
        _known(name, folder / name, split, each, more)
        for each in range(seed, seed + (times if split == "train" else 1))
        for name in _here(folder)
    )


def made_for(folder: Path) -> tuple[Split, ...]:
    """Splits that the known folders together are made for."""
    return ("train",) if all(name in TO_TRAIN_ON for name in _here(folder)) else SPLITS


def mini_files(folder: Path) -> tuple[list[Path], frozenset[Path]]:
    """Pictures that the tables name, and what else belongs to them: tables, masks, boxes.

    Masks and boxes are opened here; pictures are not.

    Raises
    ------
    QueryError
        If a row has no picture, an unknown split or an unknown label, or if a mask or a file of
        boxes cannot be read; names it.
    """
    pictures: list[Path] = []
    beside: set[Path] = set()
    for name in _here(folder):
        table = folder / name / ("labels.csv" if name in CLASSES else "index.csv")
        column = COLUMN.get(name, "label")
        beside.add(table)
        for number, row in enumerate(read_table(table), 2):
            where = f"{name}/{table.name}, line {number}"
            if not row.get("image") or not row.get(column):
                raise QueryError(f"{where}: needs image and {column}; fill both columns")
            if name not in TO_TRAIN_ON and row.get("split") not in SPLITS:
                raise QueryError(f"{where}: split is train, val or test; fill the column")
            if name in CLASSES and row[column].replace("_", " ") not in CLASSES[name]:
                raise QueryError(
                    f"{where}: {row[column]!r} is none of {', '.join(CLASSES[name])}; where {name} "
                    "is a set of your own, convert that folder itself"
                )
            pictures.append(folder / name / row["image"])
            if name in COLUMN:
                beside.add(folder / name / row[column])
    _refuse_broken(path for path in beside if path.suffix != ".csv")
    return pictures, frozenset(beside)


def _refuse_broken(files: Iterable[Path]) -> None:
    boxes: list[Path] = []
    masks: list[Path] = []
    for path in sorted(files):
        (boxes if path.suffix == ".xml" else masks).append(path)
    broken = [path for path, size in sizes_of(masks).items() if size is None]
    for path in boxes:
        try:
            ElementTree.parse(path)
        except (OSError, ElementTree.ParseError):
            broken.append(path)
    if broken:
        name = os.path.join(*broken[0].parts[-3:])
        raise QueryError(f"{name} cannot be read; copy the folder again")


def _here(folder: Path) -> list[str]:
    tables = ("labels.csv", "index.csv")
    return [name for name in KNOWN if any((folder / name / t).is_file() for t in tables)]


def _known(name: str, folder: Path, split: Split, seed: int, more: bool) -> Iterator[Sample]:
    views = VIEWS[split]
    windows = WINDOWS[split] if more else 0
    fields = NUCLEI_FIELDS[split] if more else 0
    match name:
        case "lymph_node":
            return lymph_node(folder, split, seed, FIELDS[split])
        case "lung":
            return lung(folder, split, seed)
        case "blood":
            return chain(
                blood(folder, split, seed, views),
                stitched(folder, split, seed, STITCHED[split]),
                blood_windows(folder, split, seed, windows),
            )
        case "nuclei":
            return chain(
                nuclei(folder, split, seed, views), nuclei_fields(folder, split, seed, fields)
            )
        case "nuclei_instances":
            return chain(
                nuclei_instances(folder, split, seed, views),
                nuclei_fields(folder, split, seed, fields, "instances"),
            )
        case _:
            return chain(
                nuclei_taught(folder, split, seed, views),
                nuclei_fields(folder, split, seed, fields, "instances", SMALLEST_TAUGHT),
            )
