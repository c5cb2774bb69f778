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
        If the file is missing or is no CSV in UTF-8.
    """
    if not path.is_file():
        raise QueryError(f"{path.name} is not in {path.parent.name}; every data folder needs one")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error):
        raise QueryError(f"{path.name} cannot be read; save it as CSV in UTF-8") from None
