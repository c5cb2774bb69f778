"""GlaS: colon glands outlined one by one, each picture graded benign or malignant.

Layout as published (Warwick-QU, MICCAI 2015)::

    train_1.bmp, train_1_anno.bmp    picture; a number for each gland
    testA_1.bmp, testB_1.bmp, ...
    Grade.csv                        name, patient ID, grade (GlaS), grade (Sirinukunwattana ...)

The published split is kept (testA and testB are both test) and ``val`` taken from train by
patient. Tested on a miniature of the published layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Area, Sample, Split

from ._labels import read_table
from ._layout import Draw, Kind, LabelledEntry, LeftOut, Options, PictureSet
from ._questions import Questions
from ._splits import published

GRADES = ("benign", "malignant")
PARTS: dict[str, Split] = {"testA": "test", "testB": "test"}
FINE = "grade (Sirinukunwattana et al. 2015)"


def _matches(folder: Path) -> bool:
    return (folder / "Grade.csv").is_file()


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If Grade.csv lacks a column, or a grade is unknown.
    """
    entries, left = [], LeftOut()
    beside = {folder / "Grade.csv"}
    table = [
        {(k or "").strip(): (v or "").strip() for k, v in row.items() if isinstance(v, str)}
        for row in read_table(folder / "Grade.csv")
    ]
    fine = tuple(sorted({row[FINE] for row in table if row.get(FINE)}))
    for row in table:
        if row.get("grade (GlaS)") not in GRADES or not row.get("name"):
            raise QueryError("Grade.csv needs name and grade (GlaS), benign or malignant, a row")
        name = row["name"]
        ((_, split),) = published([name.partition("_")[0]], "Grade.csv", PARTS)
        file = folder / f"{name}.bmp"
        outlines = file.with_name(f"{name}_anno.bmp")
        if outlines.is_file():
            beside.add(outlines)
        elif file.is_file():
            left.add("pictures have no outlines, so nothing is asked about their glands", name)
        ask = partial(_ask, file, outlines, row["grade (GlaS)"], row.get(FINE, ""), fine)
        entries.append(
            LabelledEntry(
                name, row.get("patient ID") or name, ask, split, file, label=row["grade (GlaS)"]
            )
        )
    return PictureSet(entries, "patient", (), left, frozenset(beside))


def _ask(
    file: Path, outlines: Path, grade: str, kind: str, kinds: tuple[str, ...], draw: Draw
) -> Iterator[Sample]:
    common: dict[str, Any] = {"image": str(file), "source": "glas"}
    yield Sample(
        **common,
        task="subtyping",
        question="Are the glands of this colon tissue benign or malignant?",
        choices=GRADES,
        answer=grade,
        topic="grade of glands",
    )
    if kind:
        yield Sample(
            **common,
            task="subtyping",
            question="Which grade does this colon tissue show?",
            choices=kinds,
            answer=kind,
            topic="differentiation of glands",
        )
    if not outlines.is_file():
        return
    glands = _boxes(outlines)
    about = Questions(draw.rng, draw.split, str(file), "glas")
    yield about.number("glands", len(glands))
    yield about.boxes(("gland",), glands)


def _boxes(outlines: Path) -> tuple[Area, ...]:
    """Bounds of every gland in reading order, level-0 pixels."""
    from scipy import ndimage

    with Image.open(outlines) as file:
        numbers = np.asarray(file)
    slices = [where for where in ndimage.find_objects(numbers.astype(np.int32)) if where]
    corners = [(float(x.start), float(y.start), float(x.stop), float(y.stop)) for y, x in slices]
    return tuple(Area(label="gland", corners=c) for c in sorted(corners, key=lambda c: c[1::-1]))


KIND: Kind = Kind("glas", "Grade.csv, train_1.bmp, train_1_anno.bmp, testA_1.bmp", _matches, _read)
