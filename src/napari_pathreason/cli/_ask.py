"""``pathreason ask``: one result for each region, the model loaded once."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_pathreason import PathreasonError, QueryError, Region, Reliability, Result
from napari_pathreason.types import Effort, GenerationSettings, Query, Request, TaskName

from ._files import Kept, add_files, check_writable, wanted_files
from ._main import printable
from ._progress import Progress, quiet_libraries

if TYPE_CHECKING:
    from napari_pathreason.engine import Models
    from napari_pathreason.exports import ManifestEntry
    from napari_pathreason.slides import Slide
    from napari_pathreason.types import ModelInfo

    from ._main import Subparsers

EXAMPLES = """examples:
  pathreason ask slide.svs --question "How many nuclei are there?"
  pathreason ask slide.svs --region 1000 2000 4096 4096 --task subtyping --choices "a,b" --json -
  pathreason ask slide.svs --regions regions.geojson --task detection --choices tumour --budget 256
  pathreason ask slide.svs --question "Is there tumour?" --report a.html --manifest a.json
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
    where.add_argument("--regions", metavar="FILE", help="GeoJSON; one result for each polygon")
    what = parser.add_argument_group("what")
    what.add_argument("--task", choices=get_args(TaskName), default="vqa")
    what.add_argument("--question", default="", metavar="TEXT")
    what.add_argument(
        "--choices",
        type=_choices,
        default=(),
        metavar="A,B,C",
        help="choices of vqa and subtyping, lesion names of detection",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--budget", default="auto", help="auto, native or most visual tokens to spend")
    how.add_argument(
        "--effort",
        choices=get_args(Effort),
        default="balanced",
        help="how readily a learned allocator spends tokens where the budget is auto",
    )
    how.add_argument("--model", default="embedded", help="embedded, a folder or a hub id")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    how.add_argument("--temperature", type=float, default=0.0, help="0: always the likeliest word")
    how.add_argument("--seed", type=int, default=0, help="of the draw at a temperature above 0")
    _add_zoom(how)
    how.add_argument("--mpp", type=float, help="um per level-0 pixel, if the file does not say")
    out = parser.add_argument_group("results")
    out.add_argument("--json", metavar="FILE", help="write the result as JSON; - for stdout")
    out.add_argument("--figure", type=Path, metavar="FILE", help="draw the answer as a PNG")
    add_files(parser)
    parser.set_defaults(run=lambda args: run(args, parser))


def _add_zoom(how: argparse._ArgumentGroup) -> None:
    how.add_argument(
        "--zoom",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="look again at small finds, on top of the budget, where the model knows how",
    )


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Answer for every region; 2 if one of several could not be answered."""
    from napari_pathreason.budgets import parse_budget
    from napari_pathreason.models import load_models
    from napari_pathreason.slides import open_slide

    from ._repeat import check_same_model, check_same_slide, take_over

    args.budget = parse_budget(args.budget)
    if args.temperature < 0:
        raise QueryError(f"the temperature is {args.temperature:g}; give 0 or more")
    for file in (args.figure, None if args.json == "-" else args.json):
        if file is not None:
            check_writable(Path(file))
    files = wanted_files(args)
    manifest = take_over(args, parser) if args.from_ is not None else None
    if args.slide is None:
        raise QueryError("there is no SLIDE; give one, or --from with a manifest")
    quiet_libraries()
    with Progress() as progress, open_slide(args.slide, args.mpp) as slide:
        if manifest is not None:
            check_same_slide(manifest, slide)
            check_same_model(manifest, args.model)
        entries = list(manifest.entries) if manifest is not None else _entries(args, slide)
        progress.show("loading the model")
        models = load_models(args.model, args.device)
        progress.clear()
        _estimate([entry.request for entry in entries], models.performer.info)
        kept = Kept(slide, args.model, files, unreliable_class=args.unreliable_class)
        return _answer_all(args, kept, entries, models, progress)


def _entries(args: argparse.Namespace, slide: Slide) -> list[ManifestEntry]:
    """What the options ask, once for each region."""
    from napari_pathreason.engine import read_regions
    from napari_pathreason.exports import ManifestEntry

    regions = [Region(*numbers) for numbers in args.region]
    if args.regions:
        regions += read_regions(args.regions)
    regions = regions or [Region(0, 0, slide.width, slide.height)]
    query = Query(args.task, args.question, args.choices)
    settings = GenerationSettings(temperature=args.temperature, seed=args.seed, zoom=args.zoom)
    return [
        ManifestEntry(Request(region, query, args.budget, settings, args.effort))
        for region in regions
    ]


def _estimate(requests: list[Request], model: ModelInfo) -> None:
    """Say of which questions the model can give no reliable answer, before anything is read.

    Raises
    ------
    QueryError
        If none of them can be asked at all; where some can, each other fails when its turn comes.
    """
    from napari_pathreason.engine import check_query

    from ._text import estimate_costs

    refused: list[QueryError] = []
    questions = dict.fromkeys((request.query, request.budget) for request in requests)
    for query, budget in questions:
        try:
            check_query(query, budget, model.metadata)
        except QueryError as error:
            refused.append(error)
            continue
        if estimate := estimate_costs(query, model):
            print(f"pathreason: {estimate}", file=sys.stderr, flush=True)
    if len(refused) == len(questions):
        raise refused[0]


def _answer_all(
    args: argparse.Namespace,
    kept: Kept,
    entries: list[ManifestEntry],
    models: Models,
    progress: Progress,
) -> int:
    from napari_pathreason.engine import result_to_dict
    from napari_pathreason.exports import digest_of

    from ._text import describe

    told: list[dict[str, Any]] = []
    failed = False
    try:
        for number, entry in enumerate(entries, 1):
            which = f"region {number} of {len(entries)}: " if len(entries) > 1 else ""
            try:
                result = answer_region(entry.request, kept.slide, models, progress, which)
                if args.figure is not None:
                    from ._figure import write_figure

                    progress.show(f"{which}drawing")
                    write_figure(kept.slide, result, _numbered(args.figure, number, len(entries)))
            except PathreasonError as error:
                if len(entries) == 1:
                    raise
                failed = True
                told.append({"region": _numbers(entry.request.region), "error": str(error)})
                progress.clear()
                print(f"pathreason: {which}{printable(str(error))}", file=sys.stderr)
                continue
            told.append(result_to_dict(result))
            digest, assessed = digest_of(result), result.reliability
            kept.add(replace(entry, digest=digest, reliability=assessed), result)
            progress.clear()
            if args.json != "-":
                last = number == len(entries)
                print(describe(result), end="\n" if last else "\n\n", flush=True)
            if entry.digest and entry.digest != digest:
                print(f"pathreason: {which}the answer differs from the run's", file=sys.stderr)
            if entry.reliability not in (None, assessed):
                print(
                    f"pathreason: {which}{_reassessed(entry.reliability, assessed)}",
                    file=sys.stderr,
                )
    finally:  # what is answered is kept, also when Ctrl-C ends the rest
        progress.clear()
        if args.json and told:
            _write_json(args.json, told[0] if len(entries) == 1 else told)
        kept.write(progress.show)
        progress.clear()
    return 2 if failed else 0


def _reassessed(then: Reliability, now: Reliability) -> str:
    from napari_pathreason.exports import reliability_line

    return (
        f"the run judged the answer otherwise, then {reliability_line(then)}; "
        f"now {reliability_line(now)}"
    )


def answer_region(
    request: Request, slide: Slide, models: Models, progress: Progress, which: str
) -> Result:
    from napari_pathreason.engine import Failed, Finished, Job, StageStarted, run_job

    job = Job(slide, request)
    for event in run_job(job, models.performer, models.allocator):
        if isinstance(event, StageStarted):
            progress.show(f"{which}{event.stage.value}")
        elif isinstance(event, Finished):
            return event.result
        elif isinstance(event, Failed):
            raise event.error
    raise KeyboardInterrupt  # a job without an ending was cancelled


def _choices(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(region: Region) -> list[int]:
    return [region.x, region.y, region.width, region.height]


def _numbered(file: Path, number: int, count: int) -> Path:
    return file if count == 1 else file.with_name(f"{file.stem}-{number}{file.suffix}")


def _write_json(file: str, value: object) -> None:
    if file == "-":  # a terminal or pipe may know no more than ASCII
        print(json.dumps(value, indent=2, allow_nan=False))
        return
    from napari_pathreason.files import write_json

    write_json(file, value)
