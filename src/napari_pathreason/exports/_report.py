"""Results as one HTML file that needs nothing else to be read."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from napari_pathreason.engine import token_line
from napari_pathreason.files import atomic_text
from napari_pathreason.geometry import Box
from napari_pathreason.types import Detection, Level, Result

from ._marks import box_um, confidence_of
from ._reliability import guess, headline, reliability_sentence

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    confidence: float | None
    box: Box
    um: Box | None


@dataclass(frozen=True, slots=True)
class _Section:
    number: int
    result: Result
    doubt: str
    answer: str
    guess: str
    line: str
    confidence: float | None
    rows: list[_Row]
    picture: str


def write_report(
    path: str | Path,
    results: Sequence[Result],
    picture: Callable[[Result], bytes],
    run: str,
    made: str = "",
) -> None:
    """Write a report: for each result its picture, question, answer, findings and account.

    How far an answer may be relied on stands above it. A guess is told small, below the words that
    there is no reliable answer; a reply that could not be read only opens at a click.

    Parameters
    ----------
    path : str or Path
    results : sequence of Result
        At least one; of one slide and one model.
    picture : callable
        Gives a result's region with its findings drawn in, as PNG bytes; called once for each,
        and only one picture is in memory at a time.
    run : str
        UUID.
    made : str
        Time of the run.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    first, last = results[0], results[-1]
    sections = (_section(n, result, picture(result)) for n, result in enumerate(results, 1))
    spent = sum(r.tokens.spent for r in results)
    with atomic_text(path) as file:
        for part in _template().generate(
            slide=first.slide,
            model=last.model,
            run=run,
            made=made,
            count=len(results),
            found=sum(len(result.detections) for result in results),
            levels=_levels(results),
            spent=spent,
            native=sum(result.tokens.native_windows for result in results),
            decoded=sum(result.pixels_decoded for result in results),
            seconds=sum(sum(result.seconds.values()) for result in results),
            sections=sections,
        ):
            file.write(part)


def _section(number: int, result: Result, png: bytes) -> _Section:
    return _Section(
        number=number,
        result=result,
        doubt=reliability_sentence(result.reliability),
        answer=headline(result.answer.text, result.reliability),
        guess=guess(result.answer.text, result.reliability),
        line=token_line(result),
        confidence=confidence_of(result),
        rows=[_row(detection, result.slide.mpp) for detection in result.detections],
        picture=b64encode(png).decode("ascii"),
    )


def _levels(results: Sequence[Result]) -> str:
    """How many answers may be relied on, such as ``1 reliable, 2 no reliable answer``."""
    counts = Counter(result.reliability.level for result in results)
    words: dict[Level, str] = {
        "reliable": "reliable",
        "uncertain": "uncertain",
        "none": "no reliable answer",
    }
    return ", ".join(f"{counts[level]} {word}" for level, word in words.items() if counts[level])


def _row(detection: Detection, mpp: tuple[float, float] | None) -> _Row:
    um = None if mpp is None else box_um(detection.box, mpp)
    return _Row(detection.label, confidence_of(detection), detection.box, um)


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    source = (files("napari_pathreason.exports") / "report.html.jinja").read_text(encoding="utf-8")
    rules = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return rules.from_string(source)
