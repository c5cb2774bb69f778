"""``pathreason detect``: lesions of whole slides, one folder each, the model loaded once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_pathreason import ModelError, PathreasonError, QueryError
from napari_pathreason.types import Effort, GenerationSettings

from ._ask import _add_zoom, _choices, _write_json
from ._files import check_writable
from ._main import printable
from ._progress import Progress, quiet_libraries

if TYPE_CHECKING:
    from napari_pathreason.engine import Models
    from napari_pathreason.exports import UsedModel
    from napari_pathreason.slide_run import DetectSettings, RunFinished, RunPlan

    from ._main import Subparsers

EXAMPLES = """examples:
  pathreason detect slide.svs -o run
  pathreason detect *.svs -o run --lesions tumour --mpp 1 --tile 384 --skip-errors --json -
  pathreason detect slide.svs -o run --tiles again.csv
The same command again goes on where it was stopped. What the files hold: docs/slide_run.md.
"""
BAR = 20


def add_parser(commands: Subparsers) -> None:
    """Add ``detect`` to the command line."""
    parser = commands.add_parser(
        "detect",
        help="find lesions on whole slides",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    what = parser.add_argument_group("what")
    what.add_argument(
        *("--lesions", "--label"),
        type=_choices,
        default=("tumour",),
        metavar="A,B",
        help="names of what is looked for (tumour)",
    )
    what.add_argument("--question", default="", metavar="TEXT", help="in place of the default")
    tiles = parser.add_argument_group("tiles")
    tiles.add_argument("--mpp", type=float, default=1.0, help="um per pixel of a tile at most (1)")
    tiles.add_argument("--tile", type=int, default=384, metavar="PX", help="side at that mpp (384)")
    tiles.add_argument("--overlap", type=float, default=0.25, metavar="SHARE", help="of it (0.25)")
    tiles.add_argument(
        "--min-tissue", type=float, default=0.02, metavar="SHARE", help="to be read at all (0.02)"
    )
    tiles.add_argument("--batch", type=int, default=8, metavar="N", help="answered at once (8)")
    tiles.add_argument(
        "--slide-mpp", type=float, metavar="UM", help="of level 0, if the file does not say"
    )
    tiles.add_argument(
        "--tiles",
        type=Path,
        metavar="FILE",
        help="budgets of single tiles: a .csv with columns tile and budget, or .json; 0 leaves a "
        "tile out. In a folder that holds a run, only tiles whose budget changes are run again",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--budget", default="auto", help="of a tile: auto, native or visual tokens")
    how.add_argument(
        "--effort",
        choices=get_args(Effort),
        default="balanced",
        help="how readily a learned allocator spends tokens",
    )
    _add_zoom(how)
    how.add_argument("--model", default="embedded", help="embedded, a folder or a hub id")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
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
        help="in GeoJSON, lesions without a reliable answer are of the class Unreliable: NAME; "
        "a finished folder is written anew without the model",
    )
    parser.add_argument("--json", metavar="FILE", help="write a summary as JSON; - for stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run every slide; 2 if one could not be finished."""
    from napari_pathreason.budgets import parse_budget
    from napari_pathreason.models import load_models
    from napari_pathreason.slide_run import DetectSettings, locked, read_overrides, used_model

    settings = DetectSettings(
        lesions=args.lesions,
        question=args.question,
        mpp=args.mpp,
        tile=args.tile,
        overlap=args.overlap,
        budget=parse_budget(args.budget),
        effort=args.effort,
        min_tissue=args.min_tissue,
        batch=args.batch,
        generation=GenerationSettings(zoom=args.zoom),
        overrides=None if args.tiles is None else read_overrides(args.tiles),
    )
    settings.check()
    names = [Path(slide).absolute().name for slide in args.slides]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise QueryError(f"two slides are called {twice[0]}; run them into folders of their own")
    if args.tiles is not None and len(names) > 1:
        raise QueryError("--tiles is about the tiles of one slide; give one slide")
    if args.json not in (None, "-"):
        check_writable(Path(args.json))
    quiet_libraries()
    used = used_model(args.model, args.device)
    load = cache(lambda: load_models(args.model, args.device))
    with Progress() as progress, locked(args.output):
        return _run_all(args, names, settings, used, load, progress)


def _run_all(
    args: argparse.Namespace,
    names: list[str],
    settings: DetectSettings,
    used: UsedModel,
    load: Callable[[], Models],
    progress: Progress,
) -> int:
    told: list[dict[str, Any]] = []
    failed: list[str] = []
    try:
        for name, slide in zip(names, args.slides, strict=True):
            try:
                done = _run_one(args, name, slide, settings, used, load, progress)
            except PathreasonError as error:
                told.append({"name": name, "state": "failed", "error": str(error)})
                # no other slide fares better with a model that does not answer
                if not args.skip_errors or isinstance(error, ModelError):
                    raise
                failed.append(name)
                progress.clear()
                print(f"pathreason: {name}: {printable(str(error))}", file=sys.stderr)
                continue
            told.append(_summary(name, done))
            progress.clear()
            if args.json != "-":
                print(_line(name, done), flush=True)
    except KeyboardInterrupt:
        progress.clear()
        print("pathreason: stopped; the same command goes on from here", file=sys.stderr)
        raise
    finally:
        progress.clear()
        if args.json and told:
            _write_json(args.json, told)
    if failed:
        which = ", ".join(failed)
        print(f"pathreason: {len(failed)} of {len(names)} slides failed: {which}", file=sys.stderr)
    return 2 if failed else 0


def _run_one(
    args: argparse.Namespace,
    name: str,
    path: str,
    settings: DetectSettings,
    used: UsedModel,
    load: Callable[[], Models],
    progress: Progress,
) -> RunFinished:
    from napari_pathreason import slide_run
    from napari_pathreason.slides import open_slide

    boxes = doubted = 0
    with open_slide(path, args.slide_mpp) as slide:
        progress.show(f"{name}: looking for tissue")
        answers: slide_run.Answers = slide_run.AnswersHere(slide, load)
        if args.scheduler:
            answers = slide_run.AnswersOnCluster(
                args.scheduler,
                Path(path),
                args.slide_mpp,
                slide_run.LoadModels(args.model, args.device),
            )
        events = slide_run.run_slide(
            slide,
            args.output / name,
            settings,
            used,
            answers,
            unreliable_class=args.unreliable_class,
        )
        with closing(events):
            for event in events:
                if isinstance(event, slide_run.RunStarted):
                    _estimate(name, event.plan, progress)
                elif isinstance(event, slide_run.TileDone):
                    boxes += len(event.record.detections)
                    doubted += event.record.reliability.level == "none"
                elif isinstance(event, slide_run.Progress):
                    progress.show(f"{name}: {_bar(event, boxes, doubted)}")
                elif isinstance(event, slide_run.RunFinished):
                    return event
                elif isinstance(event, slide_run.RunFailed):
                    raise event.error
    raise KeyboardInterrupt  # a run without an ending was cancelled


def _estimate(name: str, plan: RunPlan, progress: Progress) -> None:
    """Say before the tiles are asked that the model can give no reliable answer."""
    from ._text import estimate_costs

    if told := estimate_costs(plan.settings.query, plan.model):
        progress.clear()
        print(f"pathreason: {name}: {told}", file=sys.stderr, flush=True)


def _bar(event: Any, boxes: int, doubted: int) -> str:
    filled = BAR * event.done // max(event.total, 1)
    bar = "#" * filled + "-" * (BAR - filled)
    counts = f"{event.done:,} of {event.total:,} tiles, {boxes:,} boxes"
    if doubted:
        counts += f", {doubted:,} tiles without a reliable answer"
    return f"[{bar}] {counts}, {event.time_left} left"


def _summary(name: str, done: RunFinished) -> dict[str, Any]:
    from napari_pathreason.engine import result_to_dict

    outcome = done.outcome
    return {
        "name": name,
        "state": "finished before" if done.already else "finished",
        "run": outcome.plan.run,
        "tiles": outcome.counts,
        **result_to_dict(outcome.result),
    }


def _which(plan: RunPlan) -> str:
    """Which tiles are read, and for how many of all a user has decided."""
    decided = len(plan.settings.overrides or ())
    return f"read, {decided:,} as set by hand" if decided else "with tissue"


def _line(name: str, done: RunFinished) -> str:
    """How many tiles may be relied on, then what was found, then what it cost."""
    from napari_pathreason.engine import token_line
    from napari_pathreason.exports import answer_line

    outcome, result = done.outcome, done.outcome.result
    found = f"{outcome.tally.line}; {answer_line(result.answer.text, result.reliability)}"
    if done.already:
        return f"{name}: finished before, nothing to do; {found}"
    lines = [
        f"{name}: {found}; {len(outcome.records):,} of {len(outcome.plan.tiles):,} tiles "
        f"{_which(outcome.plan)}; {token_line(result)}",
        *(f"Doubt: {reason}" for reason in result.reliability.reasons),
        *(f"Note: {warning}" for warning in result.warnings),
    ]
    return "\n  ".join(lines)
