"""What pictures have in common, out of a table: a slide, a patient, an organ."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import CROP, Sample


def group_names(table: Path, column: str, samples: Sequence[Sample], folder: Path) -> list[str]:
    """The group of each sample's picture; empty where the table does not name it.

    A picture that is composed of several files has a group where all of them have the same.

    Parameters
    ----------
    table : Path
        CSV with a column ``image``, files relative to it, and the column that groups them.
    column : str
    samples : sequence of Sample
    folder : Path
        That the files of the samples are relative to.

    Raises
    ------
    QueryError
        If the table cannot be read, lacks a column, or names none of the pictures.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        by_file = {(table.parent / row["image"]).resolve(): row[column].strip() for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error):
        raise QueryError(f"{table.name} cannot be read; give --groups a CSV in UTF-8") from None
    except (KeyError, AttributeError):
        raise QueryError(
            f"{table.name} needs the columns image and {column} in every row; see its first line"
        ) from None

    def group(sample: Sample) -> str:
        rows = ((sample.image,),) if isinstance(sample.image, str) else sample.image
        files = {name.partition(CROP)[0] for row in rows for name in row}
        found = {by_file.get((folder / name).resolve(), "") for name in files}
        return found.pop() if len(found) == 1 else ""

    names = [group(sample) for sample in samples]
    if not any(names):
        raise QueryError(
            f"{table.name} names none of the pictures asked about; give --groups the table that "
            "the data were converted from"
        )
    return names
