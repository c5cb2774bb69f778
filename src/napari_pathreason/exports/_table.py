"""Findings as a table for spreadsheets and statistics."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from napari_pathreason.files import atomic_text
from napari_pathreason.geometry import Box

from ._marks import Mark, box_um
from ._reliability import LEVEL_KEY, REASONS_KEY, joined_reasons

COLUMNS = (
    *("run", "slide", "result", "kind", LEVEL_KEY, "label", "confidence"),
    *("x_px", "y_px", "width_px", "height_px"),
    *("x_um", "y_um", "width_um", "height_um", "area_um2"),
    *("visual_tokens", "model", "task", "question", REASONS_KEY, "answer"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(path: str | Path, marks: Iterable[Mark]) -> int:
    """Write a CSV with a row for each finding or drawing; see `rows_of` for regions.

    Boxes are the bounds of the shape from the slide's upper left corner; um stay empty where the
    pixel size is not known. Text that a spreadsheet would take for a formula has a ``'`` before it.

    Returns
    -------
    int
        Rows written, the head not counted.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    count = 0
    with atomic_text(path) as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for row in rows_of(marks):
            table.writerow(row)
            count += 1
    return count


def rows_of(marks: Iterable[Mark]) -> Iterator[list[str]]:
    """Rows in the order of `COLUMNS`.

    A region has a row where its answer has no findings: without one, an answer that could not be
    read would look like a place where nothing was found.
    """
    for mark in marks:
        if mark.kind != "region" or (mark.result is not None and not mark.result.detections):
            yield _row(mark)


def _row(mark: Mark) -> list[str]:
    box, result, assessed = _bounds(mark), mark.result, mark.reliability
    um = None if mark.mpp is None else box_um(box, mark.mpp)
    return [
        mark.run,
        "" if result is None else plain(result.slide.name),
        str(mark.number or ""),
        mark.kind,
        "" if assessed is None else assessed.level,
        plain(mark.label),
        _number(mark.confidence, 6),
        *(_number(value, 3) for value in (box.x, box.y, box.w, box.h)),
        *(_number(v, 3) for v in ((None,) * 4 if um is None else (um.x, um.y, um.w, um.h))),
        _number(mark.area_um2, 3),
        "" if result is None else str(result.tokens.spent),
        *(
            ("",) * 3
            if result is None
            else map(plain, (result.model.name, result.query.task, result.query.question))
        ),
        "" if assessed is None else plain(joined_reasons(assessed)),
        plain(mark.answer),
    ]


def _bounds(mark: Mark) -> Box:
    shape = mark.shape
    return shape if isinstance(shape, Box) else Box.from_corners(*shape.bounds)


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else repr(round(float(value), decimals))


def plain(text: str) -> str:
    """One line that no spreadsheet takes for a formula."""
    line = " ".join(text.split())
    return f"'{line}" if line.startswith(_FORMULA) else line
