"""``pathreason detect`` and ``classify``: whole slides, a folder each, the model loaded once.

Both lay tiles over a slide; one looks for lesions in them, the other asks each of them a question.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_pathreason import engine, exports, files, models, slide_run
from napari_pathreason.errors import ModelError, PathreasonError, QueryError
from napari_pathreason.types import GenerationSettings

from ._options import (
    add_model,
    add_setting,
    add_slide,
    check_results,
    check_writable,
    names_in,
    open_with,
    precision_of,
    settings_of,
    write_json,
)
from ._text import StatusLine, estimate_costs, fetch_model, printable, quiet_libraries

if TYPE_CHECKING:
    from ._main import Subparsers

DETECT = """examples:
  pathreason detect slide.svs -o run
  pathreason detect *.svs -o run --lesions tumour --mpp 1 --tile 384 --skip-errors --json -
  pathreason detect slide.svs -o run --tiles again.csv
The same command again goes on where it was stopped. What the files hold: docs/slide_run.md.
"""
CLASSIFY = """examples:
  pathreason classify slide.svs -o run --question "Is there tumour in this field?" --choices yes,no
  pathreason classify *.svs -o run --task subtyping --choices "no tumour,tumour" --tile 512
The same command again goes on where it was stopped. What the files hold: docs/slide_run.md.
"""
BAR = 20


def add_detect_parser(commands: Subparsers) -> None:
    """Add ``detect`` to the command line."""
    defaults = slide_run.RunSettings()
    parser = _parser(commands, "detect", "find lesions on whole slides", DETECT)
    what = parser.add_argument_group("what")
    what.add_argument(
        *("--lesions", "--label"),
        dest="options",
        type=names_in,
        default=defaults.options,
        metavar="A,B",
        help=f"names of what is looked for ({','.join(defaults.options)})",
    )
    add_setting(what, defaults, "question", "in place of the default", metavar="TEXT")
    tiles = _add_tiles(parser, defaults)
    add_setting(tiles, defaults, "overlap", "of a side ({})", metavar="SHARE")
    _add_how(parser, defaults)


def add_classify_parser(commands: Subparsers) -> None:
    """Add ``classify`` to the command line."""
    defaults = slide_run.RunSettings(task="vqa", options=(), overlap=0)
    parser = _parser(commands, "classify", "ask one question over every tile of slides", CLASSIFY)
    what = parser.add_argument_group("what")
    what.add_argument("--task", choices=("vqa", "subtyping"), default=defaults.task)
    add_setting(what, defaults, "question", "that each tile is asked", metavar="TEXT")
    what.add_argument(
        *("--choices", "--classes"),
        dest="options",
        type=names_in,
        default=(),
        metavar="A,B",
        help="the classes: answers that a tile may have",
    )
    _add_tiles(parser, defaults)
    _add_how(parser, defaults)
    parser.set_defaults(overlap=defaults.overlap)


def _parser(commands: Subparsers, name: str, words: str, examples: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=words, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "slides", metavar="SLIDE", nargs="+", help="slide, image or OME-Zarr folder"
    )
    parser.add_argument(
        *("-o", "--output"),
        type=Path,
        required=True,
        metavar="FOLDER",
        help="each slide gets a folder of its name in it",
    )
    parser.set_defaults(run=run, resumes=True)
    return parser


def _add_tiles(
    parser: argparse.ArgumentParser, defaults: slide_run.RunSettings
) -> argparse._ArgumentGroup:
    tiles = parser.add_argument_group("tiles")
    add_setting(tiles, defaults, "mpp", "µm per pixel of a tile at most ({:g})")
    add_setting(tiles, defaults, "tile", "side at that mpp ({})", metavar="PX")
    add_setting(tiles, defaults, "min_tissue", "to be read at all ({})", metavar="SHARE")
    add_setting(tiles, defaults, "batch", "answered at once ({})", metavar="N")
    add_slide(tiles, "--slide-mpp")
    tiles.add_argument(
        "--tiles",
        type=Path,
        metavar="FILE",
        help="budgets of single tiles: a .csv with columns tile and budget, or .json; 0 leaves a "
        "tile out. In a folder that holds a run, only tiles whose budget changes are run again",
    )
    return tiles


def _add_how(parser: argparse.ArgumentParser, defaults: slide_run.RunSettings) -> None:
    how = parser.add_argument_group("how")
    add_model(how, "of a tile: ", defaults.budget, defaults.effort)
    how.add_argument(
        "--scheduler", metavar="ADDRESS", help="answer on the workers of this dask cluster"
    )
    how.add_argument(
        "--skip-errors", action="store_true", help="go on with the next slide after an error"
    )
    parser.add_argument(
        "--unreliable-class",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="in GeoJSON, what has no reliable answer is of the class Unreliable: NAME; "
        "a finished folder is written anew without the model",
    )
    parser.add_argument("--json", metavar="FILE", help="write a summary as JSON; - for stdout")


def run(args: argparse.Namespace) -> int:
    """Run every slide; 2 if one could not be finished."""
    from napari_pathreason.budgets import parse_budget

    settings = settings_of(
        slide_run.RunSettings,
        args,
        budget=parse_budget(args.budget),
        generation=settings_of(GenerationSettings, args),
        overrides=None if args.tiles is None else slide_run.read_overrides(args.tiles),
    )
    settings.check()
    names = [_name(slide) for slide in args.slides]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise QueryError(f"two slides are called {twice[0]}; run them into folders of their own")
    if args.tiles is not None and len(names) > 1:
        raise QueryError("--tiles is about the tiles of one slide; give one slide")
    if args.json not in (None, "-"):
        check_writable(Path(args.json))
        own = [args.output / name for name in names]  # of a run begun before, plan and answers
        check_results([args.json], [*args.slides, args.tiles, args.model, *own])
    for slide in args.slides:
        files.refuse_inside_slide(args.output, Path(slide))
    quiet_libraries()
    models.prepare_model(args.model, args.allow_host, args.boxes)
    how = (args.model, args.device, args.encoder, precision_of(args))
    with StatusLine() as progress:
        fetch_model(args.model, progress)
    now = partial(slide_run.used_model, *how)
    used = now()
    load_any = partial(models.load_models, *how, answers_only=args.as_program)
    load = cache(slide_run.LoadSame(used, now, load_any))
    with StatusLine() as progress, files.locked(args.output):
        return _Runs(args, settings, used, load, progress).all(names)


def _name(slide: str) -> str:
    """What a slide's folder is called."""
    name = files.own_name(slide)
    if not name:
        raise QueryError(f"{slide} is no slide: it has no name; give a file or an OME-Zarr folder")
    return name


@dataclass(frozen=True, slots=True)
class _Runs:
    """Slides one after the other, each into its own folder, with one model."""

    args: argparse.Namespace
    settings: slide_run.RunSettings
    used: exports.UsedModel
    load: Callable[[], engine.Models]
    progress: StatusLine

    def all(self, names: list[str]) -> int:
        """Run every slide; 2 if one could not be finished."""
        args, progress = self.args, self.progress
        summaries: list[dict[str, Any]] = []
        failed: list[str] = []
        try:
            for name, slide in zip(names, args.slides, strict=True):
                try:
                    end = self.one(name, slide)
                except PathreasonError as error:
                    shown = files.plain_text(name)
                    summaries.append({"name": shown, "error": str(error), "state": "failed"})
                    # no other slide fares better with a model that does not answer
                    if not args.skip_errors or isinstance(error, ModelError):
                        raise
                    failed.append(shown)
                    progress.clear()
                    print(printable(f"pathreason: {shown}: {error}"), file=sys.stderr)
                    continue
                summaries.append(_summary(name, end))
                progress.clear()
                if args.json != "-":
                    print(_line(files.plain_text(name), end), flush=True)
        finally:
            progress.clear()
            if args.json and summaries:
                write_json(args.json, summaries)
        if failed:
            which = ", ".join(failed)
            print(
                f"pathreason: {len(failed)} of {len(names)} slides failed: {which}",
                file=sys.stderr,
            )
        return 2 if failed else 0

    def one(self, name: str, path: str) -> slide_run.RunFinished:
        """Run one slide to its end."""
        from napari_pathreason import slide_run

        args, progress = self.args, self.progress
        shown = files.plain_text(name)
        boxes = doubted = 0

        def watch(event: slide_run.RunEvent) -> None:
            nonlocal boxes, doubted
            if isinstance(event, slide_run.RunStarted):
                progress.clear()
                costs = estimate_costs(event.plan.settings.query, event.plan.model)
                for lines in (*slide.notes, *event.plan.model.notes, *event.plan.notes, costs):
                    if lines:
                        print(f"pathreason: {shown}: {lines}", file=sys.stderr, flush=True)
            elif isinstance(event, slide_run.TileDone):
                boxes += len(event.record.detections)
                doubted += event.record.reliability.level == "none"
            elif isinstance(event, slide_run.Progress):
                found = f"{boxes:,} boxes" if self.settings.is_detection else ""
                progress.show(f"{shown}: {_bar(event, found, doubted)}")

        with open_with(path, args.slide_mpp, args) as slide:
            progress.show(f"{shown}: looking for tissue")
            answers: slide_run.Answers = slide_run.AnswersHere(slide, self.load)
            if args.scheduler:
                load = slide_run.LoadModels(
                    args.model, args.device, args.encoder, precision_of(args)
                )
                answers = slide_run.AnswersOnCluster(
                    args.scheduler, Path(path), args.slide_mpp, load, args.channels, args.icc
                )
            events = slide_run.run_slide(
                slide,
                args.output / name,
                self.settings,
                self.used,
                answers,
                unreliable_class=args.unreliable_class,
            )
            try:
                return slide_run.follow(events, watch)
            except CancelledError:  # nothing but the end of this process cancels a run here
                raise KeyboardInterrupt from None


def _bar(event: Any, found: str, doubted: int) -> str:
    filled = BAR * event.done // max(event.total, 1)
    bar = "#" * filled + "-" * (BAR - filled)
    counts = [f"{event.done:,} of {event.total:,} tiles", found]
    if doubted:
        counts.append(f"{doubted:,} tiles without a reliable answer")
    return f"[{bar}] {', '.join(filter(None, [*counts, f'{event.time_left} left']))}"


def _summary(name: str, end: slide_run.RunFinished) -> dict[str, Any]:
    outcome = end.outcome
    return {
        "name": files.plain_text(name),
        "state": "finished before" if end.already else "finished",
        "run": outcome.plan.run,
        "tiles": outcome.counts,
        **({"classes": [asdict(one) for one in outcome.classes]} if outcome.classes else {}),
        **engine.result_to_dict(outcome.result),
    }


def _which(plan: slide_run.RunPlan) -> str:
    """Which tiles are read, and for how many of all a user has decided."""
    decided = len(plan.settings.overrides or ())
    return f"read, {decided:,} as set by hand" if decided else "with tissue"


def _line(name: str, end: slide_run.RunFinished) -> str:
    """How many tiles may be relied on, then lesions or classes, then what it cost."""
    outcome, result = end.outcome, end.outcome.result
    answer = result.answer.text
    if not answer or not outcome.classes:  # classes are of the tiles that have a reliable answer
        answer = exports.answer_line(answer, result.reliability)
    words = f"{outcome.tally.line}; {answer}"
    if end.already:
        return f"{name}: finished before, nothing to do; {words}"
    lines = [
        f"{name}: {words}; {len(outcome.records):,} of {len(outcome.plan.tiles):,} tiles "
        f"{_which(outcome.plan)}; {engine.token_line(result)}",
        *(f"Doubt: {reason}" for reason in result.reliability.reasons),
        *(f"Note: {warning}" for warning in result.warnings),
    ]
    return "\n  ".join(lines)
