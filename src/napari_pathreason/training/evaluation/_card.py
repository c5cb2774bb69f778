"""Figures put into a page that people write: what stands between two marks is replaced."""

from __future__ import annotations

import os
from pathlib import Path

from napari_pathreason._errors import QueryError

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def fill(path: Path, text: str) -> None:
    """Replace what stands between the marks of a page; a new page is the text alone.

    Raises
    ------
    QueryError
        If the page is there without both marks, lest words be lost.
    """
    if not path.exists():
        write_whole(path, f"{text}\n")
        return
    head, tail = around(path)
    write_whole(path, f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")


def around(path: Path) -> tuple[str, str]:
    """What stands before and after the marks of a page; errors as in `fill`."""
    head, begun, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not begun or not ended:
        raise QueryError(
            f"{path.name} is there and has no marks for figures; put {BEGIN} and {END} around "
            "them, or name a new file"
        )
    return head, tail
