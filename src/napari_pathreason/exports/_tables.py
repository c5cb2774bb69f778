"""Results as tables: findings, what each answer cost, and every answer in full.

The first two are CSV for spreadsheets and statistics, the last is JSON Lines.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from napari_pathreason.engine import result_to_dict
from napari_pathreason.files import atomic_text
from napari_pathreason.geometry import Box
from napari_pathreason.types import Result

from ._marks import Mark, box_um
from ._reliability import LEVEL_KEY, REASONS_KEY, answer_line, joined_reasons

FINDINGS = (
    *("run", "slide", "result", "kind", LEVEL_KEY, "label", "confidence"),
    *("x_px", "y_px", "width_px", "height_px"),
    *("x_um", "y_um", "width_um", "height_um", "area_um2"),
    *("visual_tokens", "model", "task", "question", REASONS_KEY, "answer"),
)
ACCOUNT = (
    *("time", "slide", "task", "question", "choices", LEVEL_KEY, REASONS_KEY, "answer"),
    *("model", "budget"),
    *("tokens", "allocator_tokens", "native_tokens", "saved_tokens", "pixels_decoded", "seconds"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Write a CSV, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Packed where it ends in ``.gz``.
    columns : sequence of str
        The head.
    rows : iterable of sequences of str
        Taken one after the other; text of users and models as `plain` gives it.

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
        table.writerow(columns)
        for row in rows:
            table.writerow(row)
            count += 1
    return count


def plain(text: str) -> str:
    """One line that no spreadsheet takes for a formula."""
    line = " ".join(text.split())
    return f"'{line}" if line.startswith(_FORMULA) else line


def write_table(path: str | Path, marks: Iterable[Mark]) -> int:
    """Write a row for each finding or drawing; parameters, result and errors as in `write_csv`.

    A region has a row where its answer has no findings: without one, an answer that could not be
    read would look like a place where nothing was found. Boxes are the bounds of the shape from
    the slide's upper left corner; um stay empty where the pixel size is not known.
    """
    return write_csv(path, FINDINGS, _findings(marks))


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
        if mark.kind == "region" and (result is None or result.detections):
            continue
        box = shape if isinstance(shape, Box) else Box.from_corners(*shape.bounds)
        um = None if mark.mpp is None else box_um(box, mark.mpp)
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
            *(_number(value, 3) for value in (box.x, box.y, box.w, box.h)),
            *(_number(v, 3) for v in ((None,) * 4 if um is None else (um.x, um.y, um.w, um.h))),
            _number(mark.area_um2, 3),
            "" if result is None else str(result.tokens.spent),
            *map(plain, query),
            "" if assessed is None else plain(joined_reasons(assessed)),
            plain(mark.answer),
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
        *(str(n) for n in (tokens.read, tokens.allocator, tokens.native_windows, tokens.saved)),
        str(result.pixels_decoded),
        repr(round(sum(result.seconds.values()), 3)),
    ]


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else repr(round(float(value), decimals))
