"""Stages of training side by side: rows of earlier evaluations of the same questions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError

from ._table import ALL, Row

RowDict = Mapping[str, Any]


def read_stages(files: Sequence[Path], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows over all topics, of fixed budgets, out of files of ``evaluate --json``.

    Parameters
    ----------
    files : sequence of Path
    about : mapping
        What the evaluation at hand asks; an earlier one must have asked the same.

    Raises
    ------
    QueryError
        If a file is missing, is none of ours, or asked other questions.
    """
    rows = []
    for file in files:
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            asked, found = told["about"], told["rows"]
        except (OSError, ValueError, KeyError, TypeError):
            raise QueryError(
                f"{file.name} is no result of `pathreason evaluate --json`; make it anew"
            ) from None
        if asked != about:
            raise QueryError(
                f"{file.name} asked other questions; evaluate both with the same --data, "
                "--per-topic and --seed"
            )
        rows += [r for r in found if r["topic"] == r["side"] == ALL and r["policy"] == "fixed"]
    return rows


def stage_lines(
    earlier: Sequence[RowDict], rows: Sequence[Row]
) -> tuple[list[str], list[list[str]]]:
    """Head and lines of a table: score and confirmed evidence of each stage, by task and budget."""
    now = [row.as_dict() for row in rows if row.topic == ALL]
    both = [*earlier, *(row for row in now if row["policy"] == "fixed")]
    stages = list(dict.fromkeys(row["stage"] for row in both))
    if len(stages) < 2:
        return [], []
    found = {(row["task"], row["budget"], row["stage"]): row for row in both}
    places = dict.fromkeys((row["task"], row["budget"]) for row in now if row["policy"] == "fixed")
    lines = []
    for task, budget in places:
        each = [found.get((task, budget, stage)) for stage in stages]
        if all(each):
            lines.append([task, budget, *map(_score, each), *map(_confirmed, each)])
    head = ["task", "budget", *(f"{stage} (95 %)" for stage in stages)]
    return [*head, *(f"evidence, {stage}" for stage in stages)], lines


def _score(row: RowDict | None) -> str:
    if not row:
        return "-"
    if "low" not in row:
        return f"{row['score']:.3f}"
    return f"{row['score']:.3f} ({row['low']:.3f}-{row['high']:.3f})"


def _confirmed(row: RowDict | None) -> str:
    return f"{row['confirmed']:.2f}" if row and "confirmed" in row else "-"
