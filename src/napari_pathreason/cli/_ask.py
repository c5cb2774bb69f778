"""``pathreason ask``: one result for each region, the model loaded once."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_pathreason import engine, exports, models, slide_run, slides
from napari_pathreason.errors import PathreasonError, QueryError
from napari_pathreason.files import plain_text, refuse_inside_slide
from napari_pathreason.geometry import Outline, Region
from napari_pathreason.types import (
    GenerationSettings,
    Query,
    Reading,
    Request,
    Result,
    TaskName,
)

from ._files import (
    AnswerLog,
    add_files,
    check_same_model,
    check_same_slide,
    open_others,
    take_over,
    wanted_files,
)
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
from ._project import add_project, run_project
from ._text import (
    StatusLine,
    describe,
    estimate_costs,
    fetch_model,
    printable,
    quiet_libraries,
)
from ._views import (
    NO_OTHERS,
    Planner,
    add_views,
    check_views,
    job_of,
    read_views,
    show_plans,
    windows_in,
)

if TYPE_CHECKING:
    from napari_pathreason.types import ModelInfo

    from ._main import Subparsers

EXAMPLES = """examples:
  pathreason ask slide.svs --question "How many nuclei are there?"
  pathreason ask slide.svs --region 1000 2000 4096 4096 --task subtyping --choices "a,b" --json -
  pathreason ask slide.svs --regions regions.geojson --task detection --choices tumour --budget 256
  pathreason ask slide.svs --task detection --choices tumour --policy again --show-views plan.json
  pathreason ask slide.svs --question "Is there tumour?" --report a.html --manifest a.json
  pathreason ask slide.svs --question "How many nuclei are there?" --budget native --keep read
  pathreason ask slide.svs --region 0 0 900 900 --region 5000 0 900 900 --together \\
      --question "Compare these two." --model Qwen/Qwen3-VL-8B-Instruct
  pathreason ask slide.svs --region 0 0 900 900 --question "Is there tumour?" \\
      --then "Where?" --then "How sure are you?" --model http://127.0.0.1:8000/v1
  pathreason ask --project slides.csv --task detection --choices tumour --answers answers
  pathreason ask --from a.json --json -
"""


def add_parser(commands: Subparsers) -> None:
    """Add ``ask`` to the command line."""
    parser = commands.add_parser(
        "ask",
        help="answer a question about regions of a slide",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("slide", metavar="SLIDE", nargs="?", help="slide, image or OME-Zarr folder")
    parser.add_argument(
        "--from",
        dest="from_",
        type=Path,
        metavar="FILE",
        help="repeat the run of this manifest; SLIDE may be left out where it lies beside it",
    )
    parser.add_argument(
        "--other-slide",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="with --from, another slide that its question is about, where that lies not beside "
        "the manifest; may be given several times",
    )
    where = parser.add_argument_group("where (default: the whole slide)")
    where.add_argument(
        "--region",
        nargs=4,
        type=int,
        action="append",
        default=[],
        metavar=("X", "Y", "W", "H"),
        help="level-0 pixels; may be given several times",
    )
    where.add_argument(
        "--together",
        action="store_true",
        help="one question about all these regions, in one prompt, such as: compare them",
    )
    where.add_argument("--regions", metavar="FILE", help="GeoJSON; one result for each polygon")
    add_project(where)
    what = parser.add_argument_group("what")
    what.add_argument("--task", choices=get_args(TaskName), default="vqa")
    what.add_argument("--question", type=plain_text, default="", metavar="TEXT")
    what.add_argument(
        "--choices",
        type=names_in,
        default=(),
        metavar="A,B,C",
        help="choices of vqa and subtyping, lesion names of detection",
    )
    what.add_argument(
        "--then",
        type=plain_text,
        action="append",
        default=[],
        metavar="TEXT",
        help="a question that follows on the answer: the same pictures, knowing what was said; "
        "may be given several times",
    )
    how = parser.add_argument_group("how")
    add_model(how)
    add_views(how)
    defaults = GenerationSettings()
    add_setting(how, defaults, "temperature", "{:g}: always the likeliest word")
    add_setting(how, defaults, "seed", "of the draw at a temperature above 0")
    add_setting(
        how,
        defaults,
        "check_order",
        "ask a question with choices again with these reversed, and say whether the answer holds",
    )
    add_slide(how, "--mpp")
    how.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="keep what is read there, window by window: the same command goes on from it",
    )
    out = parser.add_argument_group("results")
    out.add_argument("--json", metavar="FILE", help="write the result as JSON; - for stdout")
    out.add_argument("--figure", type=Path, metavar="FILE", help="draw the answer as a PNG")
    add_files(parser)
    parser.set_defaults(run=lambda args: run(args, parser))


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Answer for every region; 2 if one of several could not be answered."""
    from napari_pathreason.budgets import parse_budget

    args.budget, args.resumes = parse_budget(args.budget), args.keep is not None
    if args.temperature < 0:
        raise QueryError(f"the temperature is {args.temperature:g}; give 0 or more")
    for file in (args.figure, args.json):
        if file not in (None, "-"):
            check_writable(Path(file))
    check_views(args)
    if args.check_order and args.from_ is None and (args.task == "detection" or not args.choices):
        raise QueryError("--check-order is about questions with choices; give --choices")
    if args.project is not None:
        return run_project(args)
    if args.answers is not None:
        raise QueryError("--answers is where those of a --project are kept; give one, or --keep")
    files = wanted_files(args)
    manifest = take_over(args, parser) if args.from_ is not None else None
    if args.slide is None:
        raise QueryError("there is no SLIDE; give one, or --from with a manifest")
    if args.other_slide and manifest is None:
        raise QueryError(
            "--other-slide is for a run that --from repeats; several slides are asked about in one "
            "question in the docks"
        )
    models.prepare_model(args.model, args.allow_host, args.boxes)
    written = (*files.values(), args.figure, args.json, args.show_views)
    read = (args.slide, *args.other_slide, args.from_, args.regions, args.views, args.model)
    check_results(written, (*read, args.keep))
    for file in (*written, args.keep):
        if file not in (None, "-"):
            refuse_inside_slide(Path(file), Path(args.slide))
    quiet_libraries()
    with (
        StatusLine() as progress,
        open_with(args.slide, args.mpp, args) as slide,
        ExitStack() as opened,
    ):
        others: dict[str, slides.Slide] = {}
        if manifest is not None:
            check_same_slide(manifest, slide)
            check_same_model(manifest, args.model)
            others = open_others(manifest, args.from_, args.other_slide, opened)
        if others and args.keep is not None:
            raise QueryError("--keep keeps what is read of one slide; leave it out")
        entries = list(manifest.entries) if manifest is not None else _entries(args, slide)
        requests = [entry.request for entry in entries]
        if args.show_views is None:  # before its content is asked for
            fetch_model(args.model, progress)
        keep = _keep(args, entries, slide)

        precision = precision_of(args)
        now = partial(
            slide_run.used_model,
            *(args.model, args.device, args.encoder, precision, args.name_server),
        )
        used = cache(now)

        def load() -> engine.Models:
            progress.show("loading the model")
            if "manifest" in files or keep is not None:  # what is kept is known by its content
                loaded = slide_run.LoadSame(used(), now, load_any)()
            else:
                loaded = load_any()
            progress.clear()
            return loaded

        def load_any() -> engine.Models:
            return models.load_models(
                args.model,
                args.device,
                args.encoder,
                precision,
                answers_only=args.as_program,
            )

        if args.show_views is not None:
            planner = Planner(args.model, load, keep is not None)
            _estimate(requests, planner.info)
            return show_plans(entries, slide, planner, args.show_views, others)
        loaded = load()
        _estimate(requests, loaded.performer.info)
        log = AnswerLog(
            slide,
            used,
            files,
            args.unreliable_class,
            args.geojson_windows,
            args.answer_class,
            others,
        )
        return _answer_all(args, log, entries, loaded, progress, keep)


def _entries(args: argparse.Namespace, slide: slides.Slide) -> list[exports.ManifestEntry]:
    """What the options ask, once for each region."""
    regions: list[tuple[Region, Outline]] = [(Region(*n), ()) for n in args.region]
    if args.regions:
        placeless: list[str] = []
        regions += engine.read_outlines(args.regions, placeless)
        if placeless:
            print(
                f"pathreason: {len(placeless)} objects without a place were left out of "
                f"{Path(args.regions).name}",
                file=sys.stderr,
            )
    if args.together:
        return [exports.ManifestEntry(_together(args, regions))]
    regions = regions or [(Region(0, 0, slide.width, slide.height), ())]
    windows = () if args.views is None else read_views(args.views)
    chosen = windows_in([region for region, _ in regions], windows, args.views)
    if args.policy == "listed":
        for number, some in enumerate(chosen, 1):
            if all(one.tokens == 0 for one in some):
                which = f"region {number}" if len(chosen) > 1 else "the region"
                raise QueryError(
                    f"{args.views.name} lists no window to read of {which}; add one, or choose "
                    "another --policy"
                )
    query = Query(args.task, args.question, args.choices)
    settings = settings_of(GenerationSettings, args)
    return [
        exports.ManifestEntry(
            Request(region, query, args.budget, settings, args.effort, args.policy, some, outline)
        )
        for (region, outline), some in zip(regions, chosen, strict=True)
    ]


def _together(args: argparse.Namespace, regions: list[tuple[Region, Outline]]) -> Request:
    """One question about several regions.

    Raises
    ------
    QueryError
        If other options say what is read of them, or they are too few.
    """
    if args.views is not None or args.policy != "auto":
        raise QueryError(
            "--together reads each region as one picture; leave out --views and --policy"
        )
    query = Query(args.task, args.question, args.choices)
    settings = settings_of(GenerationSettings, args)
    whole = Request(Region(0, 0, 1, 1), query, args.budget, settings, args.effort)
    places, outlines = [region for region, _ in regions], [outline for _, outline in regions]
    return engine.regions_together(whole, places, outlines)


@dataclass(frozen=True, slots=True)
class Keep:
    """Where what is read for one request is kept, and the model that reads it."""

    folder: Path
    used: exports.UsedModel


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request whose turn comes, where it keeps what is read, and what follows on its answer."""

    entry: exports.ManifestEntry
    keep: Keep | None
    then: tuple[str, ...]


def _keep(
    args: argparse.Namespace, entries: list[exports.ManifestEntry], slide: slides.Slide
) -> list[Keep] | None:
    """Where each request keeps what is read: a folder of its own where there are several.

    Raises
    ------
    QueryError
        If a folder keeps what was read for something else.
    """
    if args.keep is None:
        return None
    used = slide_run.used_model(args.model, args.device, args.encoder, precision_of(args))
    several = len(entries) > 1
    keep = []
    for number, entry in enumerate(entries, 1):
        folder = args.keep / f"region-{number}" if several else args.keep
        slide_run.check_kept(folder, job_of(entry, slide), used)
        keep.append(Keep(folder, used))
    return keep


def _estimate(requests: list[Request], model: ModelInfo) -> None:
    """Say of which questions the model can give no reliable answer, before anything is read.

    Raises
    ------
    QueryError
        If none of them can be asked at all; where some can, each other fails when its turn comes.
    """
    refused: list[QueryError] = []
    questions = dict.fromkeys((request.query, request.budget) for request in requests)
    for query, budget in questions:
        try:
            engine.check_query(query, budget, model.metadata)
        except QueryError as error:
            refused.append(error)
            continue
        if lines := estimate_costs(query, model):
            print(f"pathreason: {lines}", file=sys.stderr, flush=True)
    if len(refused) == len(questions):
        raise refused[0]


def _answer_all(
    args: argparse.Namespace,
    log: AnswerLog,
    entries: list[exports.ManifestEntry],
    loaded: engine.Models,
    progress: StatusLine,
    keep: list[Keep] | None,
) -> int:
    results: list[dict[str, Any]] = []
    failed = False
    waiting = deque(
        _Pending(entry, None if keep is None else keep[place], tuple(args.then))
        for place, entry in enumerate(entries)
    )
    number, total = 0, len(entries) * (1 + len(args.then))
    what = "question" if args.then else "region"
    try:
        while waiting:
            current, number = waiting.popleft(), number + 1
            entry = current.entry
            which = f"{what} {number} of {total}: " if total > 1 else ""
            try:
                result = answer_region(
                    entry, log.slide, loaded, progress, which, current.keep, log.others
                )
                if args.figure is not None:
                    from ._figure import write_figure

                    progress.show(f"{which}drawing")
                    write_figure(log.slide, result, _numbered(args.figure, number, total))
            except PathreasonError as error:
                number += len(current.then)  # nothing follows on it
                if total == 1:
                    raise
                failed = True
                results.append({"region": _numbers(entry.request.region), "error": str(error)})
                progress.clear()
                print(f"pathreason: {which}{printable(str(error))}", file=sys.stderr)
                continue
            results.append(engine.result_to_dict(result))
            done = replace(exports.entry_of(result), request=entry.request)
            log.add(done, result)
            if current.then:
                first, *rest = current.then
                following = engine.follow_up(result, Query("vqa", first))
                waiting.appendleft(_Pending(exports.ManifestEntry(following), None, tuple(rest)))
            progress.clear()
            if args.json != "-":
                last = number == total
                print(describe(result), end="\n" if last else "\n\n", flush=True)
            for line in _changes(entry, done):
                print(f"pathreason: {which}{line}", file=sys.stderr)
    finally:  # what is answered is kept, also when Ctrl-C ends the rest
        progress.clear()
        if args.json and results:
            write_json(args.json, results[0] if total == 1 else results)
        log.write(progress.show)
        progress.clear()
    return 2 if failed else 0


def _changes(then: exports.ManifestEntry, now: exports.ManifestEntry) -> Iterator[str]:
    """How a repeated answer differs from that of the run; nothing where it was not asked before."""
    if then.views is not None and now.views is not None:
        lost = {(v.region, v.size) for v in then.views.views} ^ {
            (v.region, v.size) for v in now.views.views
        }
        if lost:
            yield "what was read differs from what the run read"
    if then.digest and then.digest != now.digest:
        yield "the answer differs from the run's"
    if then.reliability is not None and now.reliability not in (None, then.reliability):
        yield (
            "the run judged the answer otherwise, then "
            f"{exports.reliability_line(then.reliability)}; "
            f"now {exports.reliability_line(now.reliability)}"
        )


def answer_region(
    entry: exports.ManifestEntry,
    slide: slides.Slide,
    loaded: engine.Models,
    progress: StatusLine,
    which: str,
    keep: Keep | None = None,
    others: Mapping[str, slides.Slide] = NO_OTHERS,
) -> Result:
    """Answer a request; where it was answered before, from the windows that were read then."""
    job = job_of(entry, slide, others)
    windows = read = 0
    if keep is None:
        events = engine.run_job(job, loaded.performer, loaded.allocator)
    else:
        events = slide_run.run_kept(job, keep.folder, keep.used, loaded.performer, loaded.allocator)
    for event in events:
        if isinstance(event, engine.StageStarted):
            progress.show(f"{which}{event.stage.value}")
        elif isinstance(event, engine.Planned):
            windows = sum(view.role == "window" for view in event.views.views)
        elif isinstance(event, engine.ViewRead) and event.reading.view.role == "zoom":
            progress.show(f"{which}{event.reading.view.name}")
        elif isinstance(event, engine.ViewRead):
            read += _windows(event.reading)
            progress.show(f"{which}window {read} of {windows}")
        elif isinstance(event, engine.Finished):
            return event.result
        elif isinstance(event, engine.Failed):
            raise event.error
    raise KeyboardInterrupt  # a job without an ending was cancelled


def _windows(reading: Reading) -> int:
    return sum(view.role == "window" for view in reading.views)


def _numbers(region: Region) -> list[int]:
    return [region.x, region.y, region.width, region.height]


def _numbered(file: Path, number: int, count: int) -> Path:
    return file if count == 1 else file.with_name(f"{file.stem}-{number}{file.suffix}")
