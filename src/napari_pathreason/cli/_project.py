"""``pathreason ask --project``: one question over the annotations of many slides."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from functools import cache, partial
from pathlib import Path

from napari_pathreason import engine, exports, models, project, slide_run
from napari_pathreason.errors import QueryError
from napari_pathreason.files import refuse_inside_slide
from napari_pathreason.geometry import Region
from napari_pathreason.types import GenerationSettings, Query, Request

from ._options import Options, check_results, check_writable, open_with, precision_of, settings_of
from ._text import StatusLine, fetch_model, printable, quiet_libraries

_OF_ONE_SLIDE = (
    *("slide", "from_", "region", "regions", "together", "then", "views", "show_views", "keep"),
    *("json", "figure", "geojson", "csv", "views_csv", "manifest", "transcript", "report"),
)
"""Options that are about one slide, or write files that a project has in its own folder."""


def add_project(options: Options) -> None:
    """Add the options of a project."""
    options.add_argument(
        "--project",
        type=Path,
        metavar="PATH",
        help="in place of SLIDE: a folder of slides with their GeoJSON beside them, or a list "
        "(CSV with the columns slide, annotations, case); every annotation is asked about, and "
        "what was answered is not asked again",
    )
    options.add_argument(
        "--answers",
        type=Path,
        metavar="FOLDER",
        help="where the answers of a project are kept, with tables of them; beside it if not given",
    )


def run_project(args: argparse.Namespace) -> int:
    """Ask about every annotation of a project; 2 if one could not be answered.

    Raises
    ------
    QueryError
        If other options say what is asked about, or the project cannot be read.
    """
    others = [
        f"--{name.rstrip('_').replace('_', '-')}" for name in _OF_ONE_SLIDE if _is_set(args, name)
    ]
    if others:
        words = ", ".join("SLIDE" if name == "--slide" else name for name in others)
        raise QueryError(f"--project asks about all its annotations; leave out {words}")
    if args.h5ad is not None:
        check_writable(args.h5ad)
    quiet_libraries()
    found = project.read_project(args.project)
    folder = args.answers or found.answers
    check_results([args.h5ad], [*found.files, folder, args.model])
    for slide in found.slides:
        refuse_inside_slide(folder, slide.path)
    if found.without:
        print(f"pathreason: without annotations: {', '.join(found.without)}", file=sys.stderr)
    query = Query(args.task, args.question, args.choices)
    settings = settings_of(GenerationSettings, args)
    nowhere = Region(0, 0, 1, 1)
    request = Request(nowhere, query, args.budget, settings, args.effort, args.policy)
    engine.check_query(query, args.budget)
    models.prepare_model(args.model, args.allow_host, args.boxes)
    precision = precision_of(args)
    with StatusLine() as progress:
        fetch_model(args.model, progress)
    how = (args.model, args.device, args.encoder, precision)
    now = partial(slide_run.used_model, *how)
    used = now()
    load_any = partial(models.load_models, *how, answers_only=args.as_program)
    load_same = slide_run.LoadSame(used, now, load_any)
    answers: list[project.ProjectAnswer] = []
    with StatusLine() as progress:

        @cache
        def load() -> engine.Models:
            progress.show("loading the model")
            loaded = load_same()
            progress.clear()
            engine.check_query(query, args.budget, loaded.performer.info.metadata)
            return loaded

        events = project.run_project(
            found,
            project.ProjectQuestion(
                request, slide_run.model_identity(used), args.encoder, _reading(args)
            ),
            load,
            folder,
            lambda path: open_with(path, args.mpp, args),
        )
        with closing(events) as steps:
            for event in steps:
                if isinstance(event, project.ProjectStarted):
                    answers += event.before
                elif isinstance(event, project.AnnotationAnswered):
                    answers.append(event.answer)
                elif isinstance(event, project.ProjectEnded):
                    if args.h5ad is not None and answers:
                        reviews = project.ProjectFolder(folder).reviews()
                        exports.write_anndata(args.h5ad, project.rows_of(answers, reviews))
                    return _end(event, folder, progress)
                _show(event, progress)
    raise KeyboardInterrupt


def _is_set(args: argparse.Namespace, name: str) -> bool:
    return getattr(args, name) not in (None, False, [])


def _reading(args: argparse.Namespace) -> str:
    """How slides are read, where that is not as their files say."""
    mpp = "" if args.mpp is None else f"mpp {args.mpp:g}"
    return ", ".join(filter(None, (mpp, args.channels, "icc" if args.icc else "")))


def _show(event: project.ProjectEvent, progress: StatusLine) -> None:
    if isinstance(event, project.ProjectStarted):
        before = f", {len(event.before):,} answered before" if event.before else ""
        print(f"{event.total:,} annotations{before}", flush=True)
    elif isinstance(event, project.AnnotationStarted):
        place = f"{event.item.slide.name}, {event.item.annotation.name}"
        progress.show(f"{event.number:,} of {event.total:,}: {printable(place)}")
    elif isinstance(event, project.AnnotationAnswered):
        progress.clear()
        result, answer = event.answer.result, event.answer
        words = exports.answer_line(result.answer.text, result.reliability)
        line = f"{answer.slide}, {answer.name}: {words} [{result.reliability.level}]"
        print(printable(" ".join(line.split())), flush=True)
    elif isinstance(event, project.AnnotationFailed):
        progress.clear()
        where = ", ".join(filter(None, (event.slide, event.name)))
        print(f"pathreason: {printable(f'{where}: {event.reason}')}", file=sys.stderr)


def _end(event: project.ProjectEnded, folder: Path, progress: StatusLine) -> int:
    progress.clear()
    if event.files:
        print(f"{event.done:,} of {event.total:,} answered, tables in {printable(folder.name)}")
    if event.error is not None:
        raise event.error
    return 2 if event.failed else 0
