"""Figures put into a page that people write: what stands between two marks is replaced."""

from __future__ import annotations

import os
from pathlib import Path

from napari_pathreason.errors import QueryError

FIGURES, RELIABILITY = "figures", "reliability"
"""What stands between the marks of a page."""


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def fill(path: Path, text: str, what: str = FIGURES) -> None:
    """Replace what stands between the marks of a page; a new page is the text alone.

    Parameters
    ----------
    path : Path
    text : str
    what : str
        Which marks, such as `FIGURES`.

    Raises
    ------
    QueryError
        If the page is there without both marks, lest words be lost.
    """
    if not path.exists():
        write_whole(path, f"{text}\n")
        return
    (begin, end), (head, tail) = marks(what), around(path, what)
    write_whole(path, f"{head}{begin}\n\n{text}\n\n{end}{tail}")


def marks(what: str) -> tuple[str, str]:
    """What stands in a page before and after what is replaced."""
    return f"<!-- {what}: begin -->", f"<!-- {what}: end -->"


def around(path: Path, what: str = FIGURES) -> tuple[str, str]:
    """What stands before and after the marks of a page; parameters and errors as in `fill`."""
    begin, end = marks(what)
    head, begun, rest = path.read_text(encoding="utf-8").partition(begin)
    _, ended, tail = rest.partition(end)
    if not begun or not ended:
        raise QueryError(
            f"{path.name} is there and has no marks for {what}; put {begin} and {end} around "
            "them, or name a new file"
        )
    return head, tail
