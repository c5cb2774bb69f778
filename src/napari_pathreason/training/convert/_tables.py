"""CSV tables."""

from __future__ import annotations

import csv
from pathlib import Path

from napari_pathreason._errors import QueryError


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV with a header.

    Raises
    ------
    QueryError
        If the file is missing.
    """
    if not path.is_file():
        raise QueryError(f"{path.name} is not in {path.parent.name}; every data folder needs one")
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))
