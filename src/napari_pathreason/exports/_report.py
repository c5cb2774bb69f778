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

from napari_pathreason.engine import said_before, token_line
from napari_pathreason.files import atomic_text
from napari_pathreason.geometry import Box
from napari_pathreason.tasks import cited_views
from napari_pathreason.types import Detection, Level, Result, TokenReport

from ._answer_table import RESEARCH_ONLY
from ._marks import box_um, confidence_of
from ._reliability import guess, headline, reliability_sentence
from ._views import ViewRow, budget_name, has_windows, view_rows, views_line

if TYPE_CHECKING:
    from jinja2 import Template


MOST_LINES = 8
"""Of a rationale, that are shown without a click."""


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    confidence: float | None
    box: Box
    um: Box | None


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a rationale; ``cited`` is the view that it begins with, empty where none."""

    cited: str
    text: str


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
    rationale: list[_Line]
    how: str
    cost: str
    views: list[ViewRow]
    colours: dict[str, str]
    before: list[str]


def write_report(
    path: str | Path,
    results: Sequence[Result],
    picture: Callable[[Result], bytes],
    run: str,
    made: str = "",
) -> None:
    """Write a report: for each result its picture, question, answer, findings, views and account.

    How far an answer may be relied on stands above it. A guess is told small, below the words that
    there is no reliable answer; a reply that could not be read only opens at a click. A rationale
    that cites windows leads to their rows.

    Parameters
    ----------
    path : str or Path
    results : sequence of Result
        At least one; of one slide and one model.
    picture : callable
        Gives a result's region with its findings drawn in, as JPEG bytes; called once for each,
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
            native=native_words(
                sum(result.tokens.native_windows for result in results),
                sum(result.tokens.native_picture for result in results),
            ),
            decoded=sum(result.pixels_decoded for result in results),
            most=MOST_LINES,
            seconds=sum(sum(result.seconds.values()) for result in results),
            sections=sections,
            use=RESEARCH_ONLY,
        ):
            file.write(part)


def native_words(windows: int, picture: int) -> str:
    """Both native sizes in words, or the one that both are."""
    if windows == picture:
        return f"{picture:,} at native size"
    return f"{windows:,} as windows of native size, {picture:,} as one picture"


def _section(number: int, result: Result, jpeg: bytes) -> _Section:
    views = view_rows(result) if has_windows(result) else ()
    levels = sorted({(row.level, row.colour) for row in views})
    return _Section(
        number=number,
        result=result,
        doubt=reliability_sentence(result.reliability),
        answer=headline(result.answer.text, result.reliability),
        guess=guess(result.answer.text, result.reliability),
        line=token_line(result),
        confidence=confidence_of(result),
        rows=[_row(detection, result.slide.mpp) for detection in result.detections],
        picture=b64encode(jpeg).decode("ascii"),
        rationale=_lines(result.answer.rationale, {row.view.name for row in views}),
        how=views_line(result),
        cost=_cost(result.tokens) if views else "",
        views=list(views),
        colours={budget_name(level): colour for level, colour in levels},
        before=[
            f"{question} \N{RIGHTWARDS ARROW} {text}" for question, text in said_before(result)
        ],
    )


def _lines(rationale: str, names: set[str]) -> list[_Line]:
    """Lines of a rationale, with the views that they cite and that have a row."""
    begins = {view.start: view.view for view in cited_views(rationale) if view.view in names}
    lines, start = [], 0
    for line in rationale.split("\n"):
        cited = begins.get(start, "")
        start += len(line) + 1
        if line.strip():
            lines.append(_Line(cited, line.removeprefix(cited)))
    return lines


def _cost(tokens: TokenReport) -> str:
    """What an answer cost beside both native sizes."""
    native = native_words(tokens.native_windows, tokens.native_picture)
    if not tokens.flops:  # of a model on a server
        return f"{tokens.spent:,} visual tokens; {native}. FLOPs are not known"
    flops = (tokens.flops, tokens.flops_native_windows, tokens.flops_native_picture)
    spent, windows, picture = (f"{value / 1e9:,.1f}" for value in flops)
    return (
        f"{tokens.spent:,} visual tokens; {native}. {spent} GFLOPs; {windows} as windows of native "
        f"size, {picture} as one picture"
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
