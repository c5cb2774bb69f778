"""A result as text for people."""

from __future__ import annotations

import shutil
import textwrap

from napari_pathreason import Box, Result
from napari_pathreason.engine import confidence_line, token_line

INDENT = 11


def describe(result: Result) -> str:
    """Lines of question, answer, rationale, boxes, token account and warnings."""
    region, query = result.region, result.query
    size = f"{region.width:,} x {region.height:,} px"
    if result.slide.mpp is not None:
        x, y = (
            s * m / 1000
            for s, m in zip((region.width, region.height), result.slide.mpp, strict=True)
        )
        size += f", {x:.2f} x {y:.2f} mm"
    asked = query.question.strip() or query.task
    if query.options:
        asked += f" ({', '.join(query.options)})"
    rows = [
        ("Slide", result.slide.name),
        ("Region", f"x {region.x:,}  y {region.y:,}  ({size})"),
        ("Question", asked),
        ("Answer", result.answer.text or "(none)"),
        ("Confidence", confidence_line(result).removeprefix("Confidence ")),
        ("Rationale", result.answer.rationale),
        *(
            ("Box", f"{found.label}: {_numbers(found.box)}{_sure(found.confidence)}")
            for found in result.detections
        ),
        ("Tokens", token_line(result)),
        ("Model", f"{result.model.name} on {result.model.device}"),
        *(("Warning", warning) for warning in result.warnings),
    ]
    width = max(60, min(shutil.get_terminal_size().columns, 100))
    return "\n".join(_row(name, text, width) for name, text in rows if text)


def _row(name: str, text: str, width: int) -> str:
    line = " ".join(text.split())
    return textwrap.fill(
        # what a model writes must not steer the terminal
        "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line),
        width,
        initial_indent=name.ljust(INDENT),
        subsequent_indent=" " * INDENT,
    )


def _numbers(box: Box) -> str:
    return " ".join(f"{value:.0f}" for value in (box.x, box.y, box.w, box.h))


def _sure(confidence: float | None) -> str:
    return "" if confidence is None else f"  (confidence {confidence:.2f})"
