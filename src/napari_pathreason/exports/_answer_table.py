"""Answers about many regions as one table, and accepted ones as labels to train with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import shapely

from napari_pathreason.types import Result

from ._marks import asked_shape, confidence_of
from ._reliability import LEVEL_KEY, REASONS_KEY, answer_line, joined_reasons
from ._tables import plain, write_csv

RESEARCH_ONLY = "For research use only"
"""Stands in the docks, in reports and in tables of answers."""
Review = Literal["", "accepted", "rejected"]
"""What a reader says of an answer; empty where nobody has looked."""
ANSWERS = (
    *("answer_number", "time", "case", "slide", "region", "x_px", "y_px", "width_px", "height_px"),
    *(
        "region_mm2",
        "tissue_mm2",
        "task",
        "question",
        "choices",
        "answer",
        "confidence",
        LEVEL_KEY,
        REASONS_KEY,
    ),
    *("findings", "findings_per_mm2", "findings_mm2", "findings_share_of_region"),
    "findings_share_of_tissue",
    *("visual_tokens", "native_windows", "model", "review", "reviews", "use"),
)
LABELS = ("image", "region", "task", "question", "choices", "answer", "boxes", "group")
"""Columns that `pathreason data convert` reads."""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer with what a table says of it besides.

    Parameters
    ----------
    number : int
        Of the answer in its session.
    made : datetime
    region : str
        Name of the annotation; empty where it was none.
    result : Result
    review : {"", "accepted", "rejected"}
        Of the reader who looks at the table.
    case : str
        The patient, or whatever several slides are of; empty where nothing is said.
    tissue : float or None
        Share (0 to 1) of what was asked about that is tissue; None where nobody has looked.
    reviews : mapping of str to Review
        What each reader says of it, by name; who says nothing is not in it.
    """

    number: int
    made: datetime
    region: str
    result: Result
    review: Review = ""
    case: str = ""
    tissue: float | None = None
    reviews: Mapping[str, Review] = field(default_factory=dict)

    @property
    def rejected(self) -> bool:
        """Whether the reader rejects it, or more of several readers than accept it."""
        if self.review or not self.reviews:
            return self.review == "rejected"
        every = list(self.reviews.values())
        return every.count("rejected") > every.count("accepted")

    @property
    def area_mm2(self) -> float | None:
        """Of what was asked about, within outlines; None where the pixel size is not known."""
        mpp = self.result.slide.mpp
        if mpp is None:
            return None
        return float(asked_shape(self.result).area) * mpp[0] * mpp[1] / 1e6

    @property
    def findings(self) -> int | None:
        """Boxes of a detection that could be read; None for any other answer."""
        result = self.result
        detected = result.query.task == "detection" and result.answer.readable
        return len(result.detections) if detected else None

    @property
    def findings_mm2(self) -> float | None:
        """Area that the boxes cover, each place once; None where it is not known."""
        mpp = self.result.slide.mpp
        if mpp is None or self.findings is None:
            return None
        boxes = [shapely.box(*one.box.corners) for one in self.result.detections]
        return float(shapely.union_all(boxes).area) * mpp[0] * mpp[1] / 1e6

    @property
    def per_mm2(self) -> float | None:
        """Findings in each mm² of what was asked about."""
        area, count = self.area_mm2, self.findings
        return None if area is None or count is None or area <= 0 else count / area

    @property
    def share(self) -> float | None:
        """Share of the region that the boxes cover, 0 to 1."""
        area, covered = self.area_mm2, self.findings_mm2
        return None if area is None or covered is None or area <= 0 else min(covered / area, 1.0)

    @property
    def tissue_mm2(self) -> float | None:
        """Area of tissue in what was asked about; None where it is not known."""
        area = self.area_mm2
        return None if area is None or self.tissue is None else area * self.tissue

    @property
    def share_of_tissue(self) -> float | None:
        """Area that the boxes cover as a share of the tissue, 0 to 1; boxes hold glass too."""
        tissue, covered = self.tissue_mm2, self.findings_mm2
        known = tissue is not None and covered is not None and tissue > 0
        return min(covered / tissue, 1.0) if known else None  # type: ignore[operator]


def write_answer_table(path: str | Path, rows: Iterable[AnswerRow]) -> int:
    """Write a row for each answer, in their order; result and errors as of `write_csv`.

    Areas and densities stay empty where the pixel size is not known, and where an answer has no
    boxes. Boxes are larger than what they surround: the area is that of the boxes.
    """
    return write_csv(path, ANSWERS, map(_cells, rows), "there are no answers")


def write_labels(path: str | Path, answers: Iterable[tuple[str, Result]]) -> int:
    """Write answers as labels for `pathreason data convert`; result and errors as of `write_csv`.

    Parameters
    ----------
    path : str or Path
    answers : iterable of (str, Result)
        The slide's file, relative to that of the table, and what is right about it.
    """
    return write_csv(path, LABELS, _labels(answers), "no answer was accepted")


def _cells(row: AnswerRow) -> list[str]:
    result = row.result
    region, query, tokens = result.region, result.query, result.tokens
    return [
        str(row.number),
        row.made.isoformat(timespec="seconds"),
        plain(row.case),
        plain(result.slide.name),
        plain(row.region),
        *map(str, (region.x, region.y, region.width, region.height)),
        _number(row.area_mm2),
        _number(row.tissue_mm2),
        query.task,
        plain(query.question),
        plain(" | ".join(query.options)),
        plain(answer_line(result.answer.text, result.reliability)),
        _number(confidence_of(result)),
        result.reliability.level,
        plain(joined_reasons(result.reliability)),
        "" if row.findings is None else str(row.findings),
        _number(row.per_mm2),
        _number(row.findings_mm2),
        _number(row.share),
        _number(row.share_of_tissue),
        str(tokens.spent),
        str(tokens.native_windows),
        plain(result.model.name),
        row.review,
        plain(" | ".join(f"{who}: {review}" for who, review in sorted(row.reviews.items()))),
        RESEARCH_ONLY,
    ]


def _labels(answers: Iterable[tuple[str, Result]]) -> Iterator[list[str]]:
    for image, result in answers:
        region, query = result.region, result.query
        boxes = [
            {"bbox_2d": [round(v, 2) for v in one.box.corners], "label": one.label}
            for one in result.detections
        ]
        detection = query.task == "detection"
        yield [
            image,
            f"{region.x} {region.y} {region.width} {region.height}",
            query.task,
            plain(query.question),
            plain(" | ".join(query.options)),
            "" if detection else plain(result.answer.text),
            json.dumps(boxes) if detection else "",
            plain(result.slide.name),
        ]


def _number(value: float | None) -> str:
    return "" if value is None else repr(round(value, 6))
