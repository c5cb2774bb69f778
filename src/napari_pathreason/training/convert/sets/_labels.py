"""What stands beside pictures: CSV tables, and labels that differ by more than case and blanks."""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from napari_pathreason.errors import QueryError
from napari_pathreason.tasks import equal_choices

Named = tuple[str, str]
"""A label as it is spelled, and where it stands ("" where that is said already)."""


MARKS = ",;\t"
"""What may stand between the cells of a table; spreadsheets write semicolons in half of Europe."""


def text_of_table(path: Path) -> tuple[str, str]:
    """Text of a table, and the mark between its cells: the most frequent one of its first line.

    UTF-8, or UTF-16 that says so, as spreadsheets save "Unicode text". Of other encodings nobody
    could tell which one it is.

    Raises
    ------
    UnicodeDecodeError, OSError
    """
    data = path.read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if wide else "utf-8-sig")
    head = text.partition("\n")[0]
    return text, max(MARKS, key=head.count)


def names_in(path: Path) -> list[str]:
    """Names of a table's columns in lower case; none where it cannot be read."""
    try:
        text, mark = text_of_table(path)
        first = next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    return [name.strip().lower() for name in first]


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
        text, mark = text_of_table(path)
        return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=mark))
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
    text, mark = text_of_table(path)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    names = [name.strip().lower() for name in next(lines, [])]
    twice = next((n for n in names if n and names.count(n) > 1), None)
    if twice is not None:
        raise QueryError(f"{path.name} has two columns {twice}; rename or remove one")
    rows = []
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(names) :]):
            held = {",": "a comma", ";": "a semicolon", "\t": "a tabulator"}[mark]
            raise QueryError(
                f"{path.name}, line {lines.line_num}: more cells than columns; put cells that "
                f"hold {held} in quotes"
            )
        filled = [*cells, *[""] * (len(names) - len(cells))]
        rows.append((lines.line_num, dict(zip(names, filled, strict=False))))
    return rows


def key_of(label: str) -> str:
    """A label without case, doubled blanks, underscores; signs and numbers stay."""
    plain = unicodedata.normalize("NFC", label).replace("_", " ")
    return " ".join(plain.split()).casefold()


def alike(choices: Sequence[str]) -> tuple[str, str] | None:
    """The first two choices that are one after case and blanks; None if all differ."""
    return equal_choices(choices, key_of)


def refuse_alike(where: str, what: str, named: Iterable[Named]) -> None:
    """Refuse two spellings of one label.

    Parameters
    ----------
    where : str
        File, row or picture that offers them, for the message.
    what : str
        What they are, in the plural: "labels", "class folders".
    named : iterable of (label, place)
        A spelling may come often.

    Raises
    ------
    QueryError
        If two spellings are one after case and blanks; names both and where they stand.
    """
    places: dict[str, str] = {}
    for label, place in named:
        places.setdefault(label, place)
    pair = alike(list(places))
    if pair is not None:
        first, second = (
            f"{label!r}" + f" ({places[label]})" * bool(places[label]) for label in pair
        )
        raise QueryError(
            f"{where}: the {what} {first} and {second} are one after case and blanks; spell them "
            "alike, or rename one"
        )


def refuse_alike_choices(where: str, choices: Sequence[str]) -> None:
    """Refuse choices of one question of which two are one, equal ones included.

    Raises
    ------
    QueryError
        Names both, and the question.
    """
    pair = alike(choices)
    if pair is not None:
        raise QueryError(
            f"{where}: the choices {pair[0]!r} and {pair[1]!r} are one after case and blanks; "
            "offer each once"
        )


def plain(label: str) -> str:
    """A label as it is asked for: without blanks around it, underscores as blanks."""
    return label.strip().replace("_", " ")
