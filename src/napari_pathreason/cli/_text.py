"""What people read on the terminal: results as text, one line of progress, nothing of libraries.

Light to import, since every command begins here; what a text needs of other rooms comes with it.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from napari_pathreason import engine, exports, models, tasks

if TYPE_CHECKING:
    from napari_pathreason import Box, Query, Result
    from napari_pathreason.types import ModelInfo

INDENT = 13
MOST_VIEWS = 8
"""Windows of one answer that are named, and lines of its rationale."""


def printable(line: str) -> str:
    """A line that stays one: models and files bring words of their own.

    What could steer the terminal is replaced once more where all of it leaves (`_streams`).
    """
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)


def quiet_libraries() -> None:
    """Keep libraries from writing between our lines; what matters is raised as an error."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # `fetch_model` shows its own
    for name in ("tifffile", "distributed"):  # they log what they then raise
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


class StatusLine:
    """One line on stderr if that is a terminal."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._width = 0

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._on:
            print(f"\r{text}...".ljust(self._width), end="", file=sys.stderr, flush=True)
            self._width = len(text) + 4

    def clear(self) -> None:
        """Wipe the line before other text is written."""
        if self._on and self._width:
            print("\r" + " " * self._width, end="\r", file=sys.stderr, flush=True)
            self._width = 0

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.clear()


def fetch_model(model_id: str, progress: StatusLine) -> None:
    """Download what is missing of a model of the hub, its size told before it begins.

    Raises
    ------
    ModelError
        If it cannot be had.
    """

    def tell(fetched: models.Fetched) -> None:
        if not fetched.done:
            print(
                f"pathreason: {fetched.words}; Ctrl-C stops it, the same command goes on",
                file=sys.stderr,
                flush=True,
            )
        progress.show(fetched.words)

    models.fetch(model_id, tell)
    progress.clear()


def describe(result: Result) -> str:
    """Lines of reliability, question, answer, rationale, boxes, views, token account and notes."""
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
    question = query.question.strip() or query.task
    if query.options:
        question += f" ({', '.join(query.options)})"
    rows = [
        ("Reliability", exports.reliability_line(assessed)),
        ("Slide", result.slide.name),
        ("Region", f"x {region.x:,}  y {region.y:,}  ({size})"),
        *_lines("Before", [f"{words} -> {answer}" for words, answer in engine.said_before(result)]),
        ("Question", question),
        ("Answer", exports.headline(text, assessed)),
        ("Guess", text if doubted else ""),
        ("Reply", "" if text else exports.UNREADABLE),
        (
            "Confidence",
            "" if doubted else engine.confidence_line(result).removeprefix("Confidence "),
        ),
        ("Order", engine.order_line(result)),
        *_lines("Rationale", result.answer.rationale.splitlines()),
        *(
            (box, f"{one.label}: {_numbers(one.box)}{_confident(one.confidence)}")
            for one in result.detections
        ),
        *_views(result),
        ("Tokens", engine.token_line(result)),
        ("Model", _model(result.model)),
        *(("Note", warning) for warning in result.warnings),
    ]
    width = max(60, min(shutil.get_terminal_size().columns, 100))
    return "\n".join(_row(name, text, width) for name, text in rows if text)


def _model(model: ModelInfo) -> str:
    words = f"{model.name} on {model.device}"
    words += "" if model.encoder == "exact" else f", {model.encoder} encoder"
    return words if model.precision == "float32" else f"{words}, {model.precision}"


def _views(result: Result) -> Iterator[tuple[str, str]]:
    """How many windows were read and how, and what the most telling said."""
    if not exports.has_windows(result):
        return
    rows = exports.telling_rows(result, len(exports.view_rows(result)))
    together = result.views is not None and result.views.policy == engine.TOGETHER
    name = "Regions" if together else "Windows"
    yield from _lines(name, [exports.views_line(result), *map(_view, rows)], MOST_VIEWS + 1)


def _lines(name: str, lines: list[str], most: int = MOST_VIEWS) -> Iterator[tuple[str, str]]:
    """Lines below a name; of many the first, and how many more there are."""
    lines = [line for line in lines if line.strip()]
    for number, line in enumerate(lines[:most]):
        yield "" if number else name, line
    if len(lines) > most:
        yield "", f"and {len(lines) - most:,} more; --report, --views-csv or --json has them"


def _view(row: exports.ViewRow) -> str:
    view = row.view
    words = f"{view.name} ({row.place}, {view.tokens:,} tokens)"
    if row.answer:
        doubted = row.reliability.level == "none"
        words += f": {row.answer}{'' if doubted else _confident(row.confidence)}"
    return f"{words}; {view.why}" if view.why else words


def estimate_costs(query: Query, model: ModelInfo) -> str:
    """What is said before a question that can have no reliable answer; empty for any other.

    With questions that the model was trained on, as options of the command line.
    """
    assessed = engine.foreseen(query, model)
    if assessed.level != "none":
        return ""
    lines = [f"{assessed.reasons[0]}; whatever it answers is a guess"]
    trained = tasks.examples(model.metadata) if model.metadata is not None else ()
    if trained:
        lines.append("it can answer, for example:")
    return "\n".join(map(printable, [*lines, *(f"  {_options(one)}" for one in trained)]))


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
