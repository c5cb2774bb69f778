"""Numbers that a paper needs: counts, densities and areas, for each slide and for each case.

Answers that are no reliable ones, or were rejected by a reader, do not count, nor does the area
that they are about; how many they are stands beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import shapely
from shapely.geometry.base import BaseGeometry

from napari_pathreason.tasks import form_of, read_count
from napari_pathreason.types import Query, Result

from ._answer_table import RESEARCH_ONLY, AnswerRow
from ._marks import asked_shape
from ._tables import plain, write_csv

Of = Literal["slide", "case"]
NUMBERS = (
    *("of", "case", "slide", "slides", "task", "question", "choices", "label"),
    *("regions", "counted", "not_reliable", "rejected", "area_mm2", "tissue_mm2"),
    *("findings", "findings_per_mm2", "findings_per_mm2_tissue"),
    *("findings_mm2", "findings_share_of_area", "findings_share_of_tissue", "use"),
)
ALL = "all"
"""Label of a row over all labels of a detection."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the answers to one question say of a slide or a case, for one label.

    Parameters
    ----------
    of : {"slide", "case"}
    case, slide : str
        ``slide`` is empty of a case.
    slides : int
        How many there are in it.
    query : Query
    label : str
        Of a detection the label, or ``all``; of a count ``count``; else what was answered.
    regions, counted, not_reliable, rejected : int
        Regions that were asked about, and of them those that count and those that do not.
    area_mm2, tissue_mm2 : float or None
        Of the regions that count, each place once, and of the tissue in them; None where none does.
    findings : float or None
        Boxes, things counted, or regions with this answer; None where no region counts.
    findings_mm2 : float or None
        Area that the boxes cover within the regions, each place once, or of the regions with this
        answer; None of a count.
    """

    of: Of
    case: str
    slide: str
    slides: int
    query: Query
    label: str
    regions: int
    counted: int
    not_reliable: int
    rejected: int
    area_mm2: float | None
    tissue_mm2: float | None
    findings: float | None
    findings_mm2: float | None

    @property
    def is_density(self) -> bool:
        """Whether findings are things that lie in the regions, and not the regions themselves."""
        return form_of(self.query) in ("boxes", "count")

    @property
    def per_mm2(self) -> float | None:
        """Findings in each mm² that counts."""
        return _ratio(self.findings, self.area_mm2) if self.is_density else None

    @property
    def per_mm2_tissue(self) -> float | None:
        """Findings in each mm² of tissue."""
        return _ratio(self.findings, self.tissue_mm2) if self.is_density else None

    @property
    def share(self) -> float | None:
        """Area of the findings as a share of what counts, 0 to 1."""
        return _ratio(self.findings_mm2, self.area_mm2)

    @property
    def share_of_tissue(self) -> float | None:
        """The same of the tissue; at most 1, as boxes hold glass too."""
        share = _ratio(self.findings_mm2, self.tissue_mm2)
        return None if share is None else min(share, 1.0)


@dataclass(frozen=True, slots=True)
class _Part:
    """What counts of one slide, in mm²; None where its pixel size is not known."""

    area: float | None
    tissue: float | None
    findings: dict[str, float]
    covered: dict[str, float | None]


def numbers_of(rows: Iterable[AnswerRow]) -> list[Numbers]:
    """Numbers of every slide, then of every case of which something is said.

    Questions stand apart. What a case holds is the sum of its slides.
    """
    every = list(rows)
    found: list[Numbers] = []
    for query in dict.fromkeys(row.result.query for row in every):
        own_rows = [row for row in every if row.result.query == query]
        slides: dict[tuple[str, str], list[AnswerRow]] = {}
        for row in own_rows:
            slides.setdefault((row.case, row.result.slide.name), []).append(row)
        for (case, slide), own in slides.items():
            found += _numbers("slide", case, slide, query, [own])
        for case in dict.fromkeys(row.case for row in own_rows if row.case):
            parts = [own for (name, _), own in slides.items() if name == case]
            found += _numbers("case", case, "", query, parts)
    return found


def write_numbers(path: str | Path, numbers: Iterable[Numbers]) -> int:
    """Write a row for each slide or case and label; result and errors as of `write_csv`."""
    return write_csv(path, NUMBERS, map(_cells, numbers), "there are no answers")


def _numbers(
    of: Of, case: str, slide: str, query: Query, slides: Sequence[Sequence[AnswerRow]]
) -> Iterable[Numbers]:
    rows = [row for own in slides for row in own]
    doubted = [row for row in rows if not _is_reliable(row.result)]
    rejected = [row for row in rows if _is_reliable(row.result) and row.rejected]
    out = {id(row) for row in (*doubted, *rejected)}
    parts = [_part(query, [row for row in own if id(row) not in out]) for own in slides]
    labels = dict.fromkeys(label for part in parts for label in part.findings)
    # where nothing counts, nobody knows how many there are: no number would say that there are none
    known = len(rows) > len(out)
    for label in labels or dict.fromkeys([""]):
        yield Numbers(
            of=of,
            case=case,
            slide=slide,
            slides=len(slides),
            query=query,
            label=label,
            regions=len(rows),
            counted=len(rows) - len(out),
            not_reliable=len(doubted),
            rejected=len(rejected),
            area_mm2=_sum(part.area for part in parts) if known else None,
            tissue_mm2=_sum(part.tissue for part in parts) if known else None,
            findings=sum(part.findings.get(label, 0.0) for part in parts) if known else None,
            findings_mm2=_sum(part.covered.get(label, 0.0) for part in parts) if known else None,
        )


def _is_reliable(result: Result) -> bool:
    """Whether there is an answer; of a count one that is a number and no limit of it."""
    if not result.answer.readable or result.reliability.level == "none":
        return False
    return form_of(result.query) != "count" or _count(result) is not None


def _count(result: Result) -> float | None:
    try:
        return float(read_count(result.answer.text))
    except ValueError:
        return None


def _part(query: Query, rows: Sequence[AnswerRow]) -> _Part:
    """What counts of the answers about one slide."""
    form = form_of(query)
    shapes = [asked_shape(row.result) for row in rows]
    whole = shapely.union_all(shapes)
    mm2 = _mm2(rows)
    area = _times(whole.area, mm2)
    tissue = _tissue(rows, whole, mm2)
    findings: dict[str, float] = {}
    covered: dict[str, float | None] = {}
    if form == "boxes":
        found = [one for row in rows for one in row.result.detections]
        labels = dict.fromkeys([*query.options, *(one.label for one in found)])
        for label in [*labels, *([ALL] if len(labels) > 1 else [])]:
            boxes = [shapely.box(*one.box.corners) for one in found if label in (one.label, ALL)]
            findings[label] = float(len(boxes))
            within = shapely.intersection(shapely.union_all(boxes), whole)
            covered[label] = _times(within.area, mm2)
    elif form == "count":
        findings["count"] = sum(_count(row.result) or 0.0 for row in rows)
        covered["count"] = None
    else:
        for answer in dict.fromkeys(row.result.answer.text.strip() for row in rows):
            own = [
                shape
                for row, shape in zip(rows, shapes, strict=True)
                if row.result.answer.text.strip() == answer
            ]
            findings[answer] = float(len(own))
            covered[answer] = _times(shapely.union_all(own).area, mm2)
    return _Part(area, tissue, findings, covered)


def _tissue(rows: Sequence[AnswerRow], whole: BaseGeometry, mm2: float | None) -> float | None:
    """Tissue of regions; of those that overlap, the share that they have together."""
    if not rows:
        return 0.0
    area = sum(asked_shape(row.result).area for row in rows)
    if any(row.tissue is None for row in rows) or area <= 0:
        return None
    held = sum(asked_shape(row.result).area * (row.tissue or 0.0) for row in rows)
    return _times(whole.area * held / area, mm2)


def _mm2(rows: Sequence[AnswerRow]) -> float | None:
    """Square millimetres of a level-0 pixel; 1 where there is nothing to measure."""
    mpp = rows[0].result.slide.mpp if rows else (1000.0, 1000.0)
    return None if mpp is None else mpp[0] * mpp[1] / 1e6


def _times(pixels: float, mm2: float | None) -> float | None:
    return None if mm2 is None else float(pixels) * mm2


def _sum(parts: Iterable[float | None]) -> float | None:
    """The sum; None where a part is not known."""
    known: list[float] = []
    for part in parts:
        if part is None:
            return None
        known.append(part)
    return sum(known)


def _ratio(value: float | None, of: float | None) -> float | None:
    return None if value is None or of is None or of <= 0 else value / of


def _cells(numbers: Numbers) -> list[str]:
    query = numbers.query
    return [
        numbers.of,
        plain(numbers.case),
        plain(numbers.slide),
        str(numbers.slides),
        query.task,
        plain(query.question),
        plain(" | ".join(query.options)),
        plain(numbers.label),
        *map(str, (numbers.regions, numbers.counted, numbers.not_reliable, numbers.rejected)),
        _number(numbers.area_mm2),
        _number(numbers.tissue_mm2),
        "" if numbers.findings is None else f"{numbers.findings:g}",
        _number(numbers.per_mm2),
        _number(numbers.per_mm2_tissue),
        _number(numbers.findings_mm2),
        _number(numbers.share),
        _number(numbers.share_of_tissue),
        RESEARCH_ONLY,
    ]


def _number(value: float | None) -> str:
    return "" if value is None else repr(round(value, 6))
