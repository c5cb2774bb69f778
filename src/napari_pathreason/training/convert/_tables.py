"""CSV tables."""

from __future__ import annotations

import csv
from pathlib import Path

from napari_pathreason.errors import QueryError


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


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows of a lab's own CSV, each with the number of its line.

    Names of columns are taken in any letter case, without blanks around them; rows without
    anything in them are passed over.

    Raises
    ------
    QueryError
        If the file is missing or is no CSV in UTF-8, two columns have one name, or a row has more
        cells than the header; names the line.
    """
    read_table(path)  # what it refuses
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        names = [name.strip().lower() for name in next(lines, [])]
        twice = next((n for n in names if n and names.count(n) > 1), None)
        if twice is not None:
            raise QueryError(f"{path.name} has two columns {twice}; rename or remove one")
        rows = []
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if any(cell.strip() for cell in cells[len(names) :]):
                raise QueryError(
                    f"{path.name}, line {lines.line_num}: more cells than columns; put cells that "
                    "hold a comma in quotes"
                )
            filled = [*cells, *[""] * (len(names) - len(cells))]
            rows.append((lines.line_num, dict(zip(names, filled, strict=False))))
    return rows
