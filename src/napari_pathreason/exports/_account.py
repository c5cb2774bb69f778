"""What each answer of a session cost, as a table."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from napari_pathreason.files import atomic_text
from napari_pathreason.types import Result

from ._reliability import LEVEL_KEY, REASONS_KEY, answer_line, joined_reasons
from ._table import plain

COLUMNS = (
    *("time", "slide", "task", "question", "choices", LEVEL_KEY, REASONS_KEY, "answer"),
    *("model", "budget"),
    *("tokens", "allocator_tokens", "native_tokens", "saved_tokens", "pixels_decoded", "seconds"),
)


def write_account(path: str | Path, answers: Iterable[tuple[datetime, Result]]) -> int:
    """Write a CSV with a row for each answer, and the time at which it came.

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
        for made, result in answers:
            table.writerow(_row(made, result))
            count += 1
    return count


def _row(made: datetime, result: Result) -> list[str]:
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
        *(str(n) for n in (tokens.read, tokens.allocator, tokens.native, tokens.saved)),
        str(result.pixels_decoded),
        repr(round(sum(result.seconds.values()), 3)),
    ]
