"""Results as tables: findings, views, what each answer cost, and every answer in full.

The last is JSON Lines, the others are CSV for spreadsheets and statistics.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path

from napari_pathreason.engine import result_to_dict
from napari_pathreason.errors import ExportError
from napari_pathreason.files import atomic_text
from napari_pathreason.geometry import Box
from napari_pathreason.types import Result

from ._marks import Mark, box_um
from ._reliability import LEVEL_KEY, REASONS_KEY, answer_line, joined_reasons
from ._views import ViewRow, policy_of, view_rows, windows_read

FINDINGS = (
    *("run", "slide", "result", "kind", LEVEL_KEY, "label", "confidence"),
    *("x_px", "y_px", "width_px", "height_px"),
    *("x_um", "y_um", "width_um", "height_um", "area_um2"),
    *("visual_tokens", "native_picture", "native_windows", "policy", "windows", "unread"),
    *("model", "task", "question", REASONS_KEY, "answer"),
)
VIEWS = (
    *("run", "slide", "result", "prompt", "view", LEVEL_KEY, "confidence", "place"),
    *("x_px", "y_px", "width_px", "height_px"),
    *("x_um", "y_um", "width_um", "height_um"),
    *("picture_width", "picture_height", "visual_tokens", "why", "findings"),
    *("policy", "model", "task", "question", REASONS_KEY, "answer"),
)
ACCOUNT = (
    *("time", "slide", "task", "question", "choices", LEVEL_KEY, REASONS_KEY, "answer"),
    *("model", "budget", "policy", "windows", "unread"),
    *("tokens", "allocator_tokens", "native_picture", "native_windows", "saved_tokens"),
    *("pixels_decoded", "seconds"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(
    path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str = ""
) -> int:
    """Write a CSV, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Packed where it ends in ``.gz``.
    columns : sequence of str
        The head.
    rows : iterable of sequences of str
        Taken one after the other; text of users and models as `plain` gives it.
    empty : str
        Why a table without rows is not to be written; where not given, it is.

    Returns
    -------
    int
        Rows written, the head not counted.

    Raises
    ------
    ExportError
        If the file cannot be written, or would be empty.
    """
    count, rows = 0, iter(rows)
    if empty:
        first = next(rows, None)
        if first is None:
            raise ExportError(f"{Path(path).name} was not saved: {empty}")
        rows = chain([first], rows)
    with atomic_text(path) as file:
        table = csv.writer(file)
        table.writerow(columns)
        for row in rows:
            table.writerow(row)
            count += 1
    return count


def plain(text: str) -> str:
    """One line that no spreadsheet takes for a formula."""
    line = " ".join(text.split())
    return f"'{line}" if line.startswith(_FORMULA) else line


def write_table(path: str | Path, marks: Iterable[Mark], empty: str = "") -> int:
    """Write a row for each finding or drawing; parameters, result and errors as in `write_csv`.

    A region has a row where its answer has no findings: without one, an answer that could not be
    read would look like a place where nothing was found. Boxes are the bounds of the shape from
    the slide's upper left corner; um stay empty where the pixel size is not known.
    """
    return write_csv(path, FINDINGS, _findings(marks), empty)


def write_views(path: str | Path, results: Iterable[Result], run: str, empty: str = "") -> int:
    """Write a row for each view that was read; parameters, result and errors as in `write_csv`.

    Answer, confidence and reliability are those of the view by itself. Views of one prompt have one
    answer, that of the result, so theirs stays empty.
    """
    return write_csv(path, VIEWS, _views(results, run), empty)


def write_account(path: str | Path, answers: Iterable[tuple[datetime, Result]]) -> int:
    """Write what each answer cost, and the time at which it came; see `write_csv`."""
    return write_csv(path, ACCOUNT, (_costs(made, result) for made, result in answers))


def write_transcript(path: str | Path, results: Iterable[Result], run: str) -> int:
    """Write each result's `engine.result_to_dict` on a line, ``run`` and ``result`` before it.

    Returns
    -------
    int
        Lines written.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    count = 0
    with atomic_text(path) as file:
        for count, result in enumerate(results, 1):
            line = {"run": run, "result": count, **result_to_dict(result)}
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
    return count


def _findings(marks: Iterable[Mark]) -> Iterator[list[str]]:
    for mark in marks:
        result, assessed, shape = mark.result, mark.reliability, mark.shape
        if mark.kind == "window" or (
            mark.kind == "region" and (result is None or result.detections)
        ):
            continue
        box = shape if isinstance(shape, Box) else Box.from_corners(*shape.bounds)
        query = ["", "", ""]
        if result is not None:
            query = [result.model.name, result.query.task, result.query.question]
        yield [
            mark.run,
            "" if result is None else plain(result.slide.name),
            str(mark.number or ""),
            mark.kind,
            "" if assessed is None else assessed.level,
            plain(mark.label),
            _number(mark.confidence, 6),
            *_bounds(box, mark.mpp),
            _number(mark.area_um2, 3),
            *_read_columns(result),
            *map(plain, query),
            "" if assessed is None else plain(joined_reasons(assessed)),
            plain(mark.answer),
        ]


def _bounds(box: Box, mpp: tuple[float, float] | None) -> Iterator[str]:
    """Bounds in px and in um, these empty where the pixel size is not known."""
    um = None if mpp is None else box_um(box, mpp)
    yield from (_number(value, 3) for value in (box.x, box.y, box.w, box.h))
    yield from (_number(v, 3) for v in ((None,) * 4 if um is None else (um.x, um.y, um.w, um.h)))


def _read_columns(result: Result | None) -> list[str]:
    """What was spent, both native sizes, and how the region was read; empty for a drawing."""
    if result is None:
        return [""] * 6
    tokens = result.tokens
    spent = [str(n) for n in (tokens.spent, tokens.native_picture, tokens.native_windows)]
    return [*spent, *_how_read(result)]


def _how_read(result: Result) -> list[str]:
    """Policy, windows read and unread; of one picture no windows, of a slide run nothing."""
    if result.views is None:
        return ["", "", ""]
    return [policy_of(result), str(windows_read(result)), str(len(result.unread))]


def _views(results: Iterable[Result], run: str) -> Iterator[list[str]]:
    for number, result in enumerate(results, 1):
        for row in view_rows(result):
            yield _view(row, result, number, run)


def _view(row: ViewRow, result: Result, number: int, run: str) -> list[str]:
    view, reading = row.view, row.reading
    return [
        run,
        plain(result.slide.name),
        str(number),
        str(row.prompt),
        view.name,
        row.reliability.level,
        _number(row.confidence, 6),
        row.place,
        *_bounds(view.region.box, result.slide.mpp),
        *map(str, view.size),
        str(view.tokens),
        plain(view.why),
        "" if row.joint else str(len(reading.detections)),
        policy_of(result),
        plain(result.model.name),
        result.query.task,
        plain(result.query.question),
        plain(joined_reasons(row.reliability)),
        plain(row.answer),
    ]


def _costs(made: datetime, result: Result) -> list[str]:
    query, tokens = result.query, result.tokens
    return [
        made.isoformat(timespec="seconds"),
        plain(result.slide.name),
        query.task,
        plain(query.question),
        plain(", ".join(query.options)),
        result.reliability.level,
        plain(joined_reasons(result.reliability)),
        plain(answer_line(result.answer.text, result.reliability)),
        plain(result.model.name),
        "native" if tokens.requested is None else str(tokens.requested),
        *_how_read(result),
        *(str(n) for n in (tokens.read, tokens.allocator)),
        *(str(n) for n in (tokens.native_picture, tokens.native_windows, tokens.saved)),
        str(result.pixels_decoded),
        repr(round(sum(result.seconds.values()), 3)),
    ]


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else repr(round(float(value), decimals))
