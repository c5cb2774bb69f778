"""``pathreason ask``: one result for each region, the model loaded once."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_pathreason import PathreasonError, QueryError, Region, Result
from napari_pathreason._types import GenerationSettings, Query, TaskName

from ._progress import Progress, quiet_libraries

if TYPE_CHECKING:
    from napari_pathreason.models import Models
    from napari_pathreason.slides import Slide

    from ._main import Subparsers

EXAMPLES = """examples:
  pathreason ask slide.svs --question "How many nuclei are there?"
  pathreason ask slide.svs --region 1000 2000 4096 4096 --task subtyping --choices "a,b" --json -
  pathreason ask slide.svs --regions regions.geojson --task detection --choices tumour --budget 256
"""


def add_parser(commands: Subparsers) -> None:
    """Add ``ask`` to the command line."""
    parser = commands.add_parser(
        "ask",
        help="answer a question about regions of a slide",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("slide", metavar="SLIDE", help="slide, image or OME-Zarr folder")
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
    how.add_argument("--model", default="embedded", help="embedded, a folder or a hub id")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    how.add_argument("--temperature", type=float, default=0.0, help="0: always the likeliest word")
    how.add_argument("--seed", type=int, default=0, help="of the draw at a temperature above 0")
    how.add_argument("--mpp", type=float, help="um per level-0 pixel, if the file does not say")
    out = parser.add_argument_group("results")
    out.add_argument("--json", metavar="FILE", help="write the result as JSON; - for stdout")
    out.add_argument("--figure", type=Path, metavar="FILE", help="draw the answer as a PNG")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer for every region; 2 if one of several could not be answered."""
    from napari_pathreason.engine import read_regions
    from napari_pathreason.models import load_models
    from napari_pathreason.slides import open_slide
    from napari_pathreason.tokens import parse_budget

    args.budget = parse_budget(args.budget)
    if args.temperature < 0:
        raise QueryError(f"the temperature is {args.temperature:g}; give 0 or more")
    for file in (args.figure, None if args.json == "-" else args.json):
        if file is not None:
            _check_writable(Path(file))
    quiet_libraries()
    with Progress() as progress, open_slide(args.slide, args.mpp) as slide:
        regions = [Region(*numbers) for numbers in args.region]
        if args.regions:
            regions += read_regions(args.regions)
        regions = regions or [Region(0, 0, slide.width, slide.height)]
        progress.show("loading the model")
        models = load_models(args.model, args.device)
        return _answer_all(args, slide, regions, models, progress)


def _answer_all(
    args: argparse.Namespace,
    slide: Slide,
    regions: list[Region],
    models: Models,
    progress: Progress,
) -> int:
    from napari_pathreason.engine import result_to_dict

    from ._text import describe

    told: list[dict[str, Any]] = []
    failed = False
    try:
        for number, region in enumerate(regions, 1):
            which = f"region {number} of {len(regions)}: " if len(regions) > 1 else ""
            try:
                result = _answer(args, slide, region, models, progress, which)
                if args.figure is not None:
                    from ._figure import write_figure

                    progress.show(f"{which}drawing")
                    write_figure(slide, result, _numbered(args.figure, number, len(regions)))
            except PathreasonError as error:
                if len(regions) == 1:
                    raise
                failed = True
                told.append({"region": _numbers(region), "error": str(error)})
                progress.clear()
                print(f"pathreason: {which}{error}", file=sys.stderr)
                continue
            told.append(result_to_dict(result))
            progress.clear()
            if args.json != "-":
                print(describe(result), end="\n\n" if number < len(regions) else "\n", flush=True)
    finally:  # what is answered is kept, also when Ctrl-C ends the rest
        progress.clear()
        if args.json and told:
            _write_json(args.json, told[0] if len(regions) == 1 else told)
    return 2 if failed else 0


def _answer(
    args: argparse.Namespace,
    slide: Slide,
    region: Region,
    models: Models,
    progress: Progress,
    which: str,
) -> Result:
    from napari_pathreason.engine import Failed, Finished, Job, StageStarted, run_job

    query = Query(args.task, args.question, args.choices)
    settings = GenerationSettings(temperature=args.temperature, seed=args.seed)
    job = Job(slide, region, query, args.budget, settings)
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


def _check_writable(file: Path) -> None:
    """Refuse before the work what could not be kept after it."""
    if file.is_dir():
        raise QueryError(f"{file} is a folder; give a file to write to")
    if not file.absolute().parent.is_dir():
        raise QueryError(f"there is no folder {file.parent} to write to; make it first")


def _write_json(file: str, value: object) -> None:
    if file == "-":  # a terminal or pipe may know no more than ASCII
        print(json.dumps(value, indent=2, allow_nan=False))
        return
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        Path(file).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise QueryError(f"{file} cannot be written ({error.strerror}); choose another") from error
