"""CSV tables, and the converter for a lab's own folder + CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from random import Random

from napari_pathreason._errors import QueryError
from napari_pathreason.training._sample import Sample, Split


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV with a header.

    Raises
    ------
    QueryError
        If the file is missing.
    """
    if not path.is_file():
        raise QueryError(f"{path.name} is not in {path.parent.name}; every data folder needs one")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plain_folder(folder: Path, split: Split, seed: int, question: str) -> Iterator[Sample]:
    """A lab's own folder: ``labels.csv`` with columns ``image``, ``label`` and maybe ``split``.

    Rows without a split are dealt 80/10/10 by ``seed``. Labels become the choices.

    Raises
    ------
    QueryError
        If a column or an image is missing.
    """
    rows = read_table(folder / "labels.csv")
    if rows and not {"image", "label"} <= rows[0].keys():
        raise QueryError("labels.csv needs the columns image and label (and may have split)")
    names = tuple(sorted({row["label"].replace("_", " ") for row in rows}))
    for row in rows:
        if not (folder / row["image"]).is_file():
            raise QueryError(f"labels.csv names {row['image']}, which is not in the folder")
        if (row.get("split") or _deal(row["image"], seed)) == split:
            yield Sample(
                image=str(folder / row["image"]),
                task="subtyping",
                question=question,
                choices=names,
                answer=row["label"].replace("_", " "),
                source=folder.name,
                topic=folder.name,
            )


def _deal(name: str, seed: int) -> Split:
    draw = Random(f"{seed}-{name}").random()
    return "train" if draw < 0.8 else "val" if draw < 0.9 else "test"
