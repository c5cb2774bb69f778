"""A result as text for people, and what they are told before they ask."""

from __future__ import annotations

import shlex
import shutil
import textwrap

from napari_pathreason import Box, Query, Result
from napari_pathreason.engine import confidence_line, foreseen, token_line
from napari_pathreason.exports import UNREADABLE, headline, reliability_line
from napari_pathreason.tasks import examples
from napari_pathreason.types import ModelInfo

from ._main import printable

INDENT = 13


def describe(result: Result) -> str:
    """Lines of reliability, question, answer, rationale, boxes, token account and notes."""
    region, query = result.region, result.query
    text, assessed = result.answer.text, result.reliability
    doubted = assessed.level == "none"
    box = "Guess" if doubted else "Box"
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
        ("Reliability", reliability_line(assessed)),
        ("Slide", result.slide.name),
        ("Region", f"x {region.x:,}  y {region.y:,}  ({size})"),
        ("Question", asked),
        ("Answer", headline(text, assessed)),
        ("Guess", text if doubted else ""),
        ("Reply", "" if text else UNREADABLE),
        ("Confidence", "" if doubted else confidence_line(result).removeprefix("Confidence ")),
        ("Rationale", result.answer.rationale),
        *(
            (box, f"{found.label}: {_numbers(found.box)}{_confident(found.confidence)}")
            for found in result.detections
        ),
        ("Tokens", token_line(result)),
        ("Model", f"{result.model.name} on {result.model.device}"),
        *(("Note", warning) for warning in result.warnings),
    ]
    width = max(60, min(shutil.get_terminal_size().columns, 100))
    return "\n".join(_row(name, text, width) for name, text in rows if text)


def estimate_costs(query: Query, model: ModelInfo) -> str:
    """What is said before a question that can have no reliable answer; empty for any other.

    With questions that the model was trained on, as options of the command line.
    """
    assessed = foreseen(query, model)
    if assessed.level != "none":
        return ""
    told = [f"{assessed.reasons[0]}; whatever it answers is a guess"]
    known = examples(model.metadata) if model.metadata is not None else ()
    if known:
        told.append("it can answer, for example:")
    return "\n".join(map(printable, [*told, *(f"  {_options(one)}" for one in known)]))


def _options(query: Query) -> str:
    words = [] if query.task == "vqa" else ["--task", query.task]
    words += ["--question", query.question] if query.question else []
    words += ["--choices", ",".join(query.options)] if query.options else []
    return shlex.join(words)


def _row(name: str, text: str, width: int) -> str:
    line = " ".join(text.split())
    return textwrap.fill(
        printable(line),
        width,
        initial_indent=name.ljust(INDENT),
        subsequent_indent=" " * INDENT,
    )


def _numbers(box: Box) -> str:
    return " ".join(f"{value:.0f}" for value in (box.x, box.y, box.w, box.h))


def _confident(confidence: float | None) -> str:
    return "" if confidence is None else f"  (confidence {confidence:.2f})"
