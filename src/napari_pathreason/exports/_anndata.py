"""Answers as AnnData: one observation a region, for scanpy, squidpy and SpatialData.

SpatialData keeps its tables as AnnData, so this is what it takes too. The package ``anndata`` is
an extra, and loaded when it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_pathreason.errors import ExportError
from napari_pathreason.types import Result

from ._answer_table import RESEARCH_ONLY, AnswerRow
from ._manifest import versions_here
from ._marks import confidence_of
from ._reliability import LEVEL_KEY, REASONS_KEY, answer_line, joined_reasons

if TYPE_CHECKING:
    from anndata import AnnData

MISSING = "anndata is not installed; run: pip install 'napari-pathreason[anndata]'"
KEY = "pathreason"
"""Of what is said of the whole table, in ``uns``."""


def to_anndata(answers: Iterable[AnswerRow | Result]) -> AnnData:
    """Turn answers into a table of regions by what was answered or found there.

    Parameters
    ----------
    answers : iterable of AnswerRow or Result
        A row says of which case and annotation a result is, and what readers say of it.

    Returns
    -------
    AnnData
        ``X`` (regions, names), float32: of a detection the boxes of each label; of an answer 1 at
        the choice that was answered and 0 at the others of its question. NaN where a region was not
        asked for that, and in all of a row without a reliable answer: a guess is no value. ``obs``
        has the columns of the table of answers, ``obsm["spatial"]`` the middle of each region in
        level-0 pixels, (x, y).

    Raises
    ------
    ExportError
        If there are no answers, or the package is not installed.
    """
    rows = [_row(number, one) for number, one in enumerate(answers, 1)]
    if not rows:
        raise ExportError("there are no answers")
    try:
        from anndata import AnnData
        from pandas import DataFrame, Index
    except ImportError as error:
        raise ExportError(MISSING) from error
    names = list(dict.fromkeys(name for row in rows for name in _names(row.result)))
    values = np.full((len(rows), len(names)), np.nan, np.float32)
    for place, row in enumerate(rows):
        for name, value in _values(row.result).items():
            values[place, names.index(name)] = value
    columns: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in _observation(row).items():
            columns.setdefault(key, []).append(value)
    boxes = [row.result.region.box for row in rows]
    return AnnData(
        X=values,
        obs=DataFrame(columns, index=Index([str(i) for i in range(1, len(rows) + 1)])),
        var=DataFrame(index=Index(names, dtype=str)),
        obsm={"spatial": np.array([(box.x + box.w / 2, box.y + box.h / 2) for box in boxes])},
        uns={KEY: {"use": RESEARCH_ONLY, "versions": versions_here()}},
    )


def write_anndata(path: str | Path, answers: Iterable[AnswerRow | Result]) -> int:
    """Write `to_anndata` as a file ``.h5ad``, whole or not at all.

    Returns
    -------
    int
        Answers that were written.

    Raises
    ------
    ExportError
        As of `to_anndata`, or if the file cannot be written.
    """
    table = to_anndata(answers)
    path = Path(path)
    draft = path.with_name(f".{path.name}.draft")
    try:
        table.write_h5ad(draft, compression="gzip")
        draft.replace(path)
    except OSError as error:
        raise ExportError(
            f"{path.name} cannot be written ({error.strerror or 'the disk may be full'})"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return int(table.n_obs)


def _row(number: int, answer: AnswerRow | Result) -> AnswerRow:
    if isinstance(answer, AnswerRow):
        return answer
    return AnswerRow(number, datetime.now(UTC), "", answer)


def _names(result: Result) -> Sequence[str]:
    """What a value can be of: labels, those that were found besides, or choices."""
    if result.query.task == "detection":
        return [*result.query.options, *(one.label for one in result.detections)]
    return result.query.options


def _values(result: Result) -> dict[str, float]:
    if result.reliability.level == "none" or not result.answer.readable:
        return {}
    names = dict.fromkeys(_names(result), 0.0)
    if result.query.task == "detection":
        for one in result.detections:
            names[one.label] += 1
        return names
    return {name: float(name == result.answer.text) for name in names}


def _observation(row: AnswerRow) -> dict[str, Any]:
    result = row.result
    region, query, tokens = result.region, result.query, result.tokens
    return {
        "answer_number": row.number,
        "time": row.made.isoformat(timespec="seconds"),
        "case": row.case,
        "slide": result.slide.name,
        "region": row.region,
        "x_px": region.x,
        "y_px": region.y,
        "width_px": region.width,
        "height_px": region.height,
        "region_mm2": _number(row.area_mm2),
        "tissue_mm2": _number(row.tissue_mm2),
        "task": query.task,
        "question": query.question,
        "choices": " | ".join(query.options),
        "answer": answer_line(result.answer.text, result.reliability),
        "confidence": _number(confidence_of(result)),
        LEVEL_KEY: result.reliability.level,
        REASONS_KEY: joined_reasons(result.reliability),
        "findings": _number(row.findings),
        "findings_per_mm2": _number(row.per_mm2),
        "findings_mm2": _number(row.findings_mm2),
        "findings_share_of_region": _number(row.share),
        "findings_share_of_tissue": _number(row.share_of_tissue),
        "visual_tokens": tokens.spent,
        "native_windows": tokens.native_windows,
        "model": result.model.name,
        "review": row.review,
        "reviews": " | ".join(f"{who}: {one}" for who, one in sorted(row.reviews.items())),
        "use": RESEARCH_ONLY,
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
