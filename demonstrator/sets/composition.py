"""Which of the folders are asked what, how often, and to which split that goes.

`COUNTS` is the composition of the embedded model's data. Folders that train alone have no split;
of the others a row of the table names it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

from napari_pathreason.errors import QueryError
from napari_pathreason.training import convert
from napari_pathreason.training.samples import CROP, SPLITS, Sample, Split

from .nuclei import SMALLEST_TAUGHT, TAUGHT, nuclei, nuclei_fields, nuclei_instances, nuclei_taught
from .smears import blood, blood_windows, stitched
from .tiles import lung, lymph_node


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is drawn of a split.

    Parameters
    ----------
    fields : int
        Fields composed of tiles of lymph node.
    stitched : int
        Pictures stitched of crops of smears.
    views : int
        Of each smear and each picture of nuclei: the whole, and crops.
    windows : int
        Small windows of each smear, where all is drawn several times.
    nuclei_fields : int
        Wide fields of each set of nuclei, where all is drawn several times.
    """

    fields: int
    stitched: int
    views: int
    windows: int
    nuclei_fields: int


COUNTS: dict[Split, Counts] = {
    "train": Counts(fields=9000, stitched=3000, views=6, windows=6, nuclei_fields=350),
    "val": Counts(fields=300, stitched=150, views=2, windows=0, nuclei_fields=80),
    "test": Counts(fields=300, stitched=150, views=2, windows=0, nuclei_fields=0),
}
KNOWN: tuple[str, ...] = ("lymph_node", "lung", "blood", "nuclei", "nuclei_instances", TAUGHT)
TO_TRAIN_ON = ("nuclei_instances", TAUGHT)
"""Sets without splits: all of them trains."""
COLUMN = {"blood": "boxes", "nuclei": "mask", **dict.fromkeys(TO_TRAIN_ON, "instances")}
"""Column of what is known of a picture, where that is a file; else it is a label."""
CLASSES = {"lymph_node": convert.TUMOUR_LABELS, "lung": convert.LUNG_KINDS}


def plan_of(folder: Path, out: Path, seed: int = 0, times: int = 1) -> convert.ConversionPlan:
    """Samples of all known folders that lie in ``folder``, their pictures opened.

    Parameters
    ----------
    folder : Path
    out : Path
        Where the samples go.
    seed : int
        Of wordings, crops and fields.
    times : int
        How often those to train on are drawn, each time by the next seed: the same pictures in
        other crops, fields and words. Where that is above 1, small windows of smears come besides,
        and wide fields of nuclei, in `val` too: an allocator learns there what a region of a slide
        needs.

    Raises
    ------
    QueryError
        If none is there, or a row or a file of theirs is amiss.
    """
    folder, out = folder.resolve(), out.resolve()
    if not _here(folder):
        raise QueryError(f"{folder.name} holds none of {', '.join(KNOWN)}, each with its table")
    left = convert.LeftOut()
    pictures, beside = _files_of(folder)
    here = {Path(os.path.normpath(path)) for path in (*pictures, *beside)}
    convert.count_unused(left, folder, here, out)
    broken = {str(path) for path, one in convert.open_all(pictures).items() if one.size is None}
    for name in sorted(broken):
        left.add(convert.BROKEN, convert.shown(Path(name), folder))
    left.refuse_damaged(convert.BROKEN, len(pictures), "copy the folder again")
    samples = {
        split: _without_broken(_read(folder, split, seed, times), broken, left) for split in SPLITS
    }
    train_alone = all(name in TO_TRAIN_ON for name in _here(folder))
    gives: tuple[Split, ...] = ("train",) if train_alone else SPLITS
    return convert.ConversionPlan(folder.name, samples, left, gives, len(pictures))


def _read(folder: Path, split: Split, seed: int, times: int) -> Iterator[Sample]:
    return chain.from_iterable(
        _known(name, folder / name, split, each, times > 1)
        for each in range(seed, seed + (times if split == "train" else 1))
        for name in _here(folder)
    )


def _without_broken(
    samples: Iterable[Sample], broken: set[str], left: convert.LeftOut
) -> Iterator[Sample]:
    """Samples that show none of the broken files; others are counted."""
    for sample in samples:
        convert.refuse_alike_choices(sample.topic, sample.choices)
        if broken and any(file.partition(CROP)[0] in broken for file in _images(sample)):
            left.add("questions show a picture that cannot be read and were left out")
        else:
            yield sample


def _images(sample: Sample) -> Iterator[str]:
    if isinstance(sample.image, str):
        yield sample.image
    else:
        yield from (name for row in sample.image for name in row)


def _files_of(folder: Path) -> tuple[list[Path], frozenset[Path]]:
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
        for number, row in enumerate(convert.read_table(table), 2):
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
    broken = [path for path, one in convert.open_all(masks).items() if one.size is None]
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
    counts = COUNTS[split]
    views = counts.views
    windows = counts.windows if more else 0
    fields = counts.nuclei_fields if more else 0
    match name:
        case "lymph_node":
            return lymph_node(folder, split, seed, counts.fields)
        case "lung":
            return lung(folder, split, seed)
        case "blood":
            return chain(
                blood(folder, split, seed, views),
                stitched(folder, split, seed, counts.stitched),
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
