"""Command line of this room: ``train``, ``evaluate``, ``calibrate``, ``reliability``, ``data``.

An option that fills a field of a plan bears its name and has no default here: what is not named
keeps the plan's own (`_filled`).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from napari_pathreason.errors import QueryError
from napari_pathreason.files import refuse_inside_slide, refuse_overwriting
from napari_pathreason.types import BoxSpace, Encoder

if TYPE_CHECKING:
    from napari_pathreason.training.samples import Split

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

P = TypeVar("P")

STAGES = {
    "sft": "supervised fine-tuning",
    "performer": "GRPO from the model of sft, on labels alone",
    "allocator": "policy gradient over the budget grid, for the last performer",
    "bilateral": "sft, then performer and allocator in turn; one folder out",
}
ENGINES = ("sft", "performer")
"""Stages that TRL can train too."""
OPTIONAL = argparse.SUPPRESS
"""Default of what is left out: no value at all."""
SEVERAL: dict[str, Any] = {"type": Path, "action": "extend", "nargs": "+"}
"""Files named at once or one by one."""
PAGE = "write the tables here too, between the marks of a page"


def add_train_parser(subparsers: Subparsers) -> None:
    """``pathreason train STAGE --recipe FILE``."""
    parser = subparsers.add_parser("train", help="train performer and allocator on labels")
    stages = parser.add_subparsers(dest="stage", required=True)
    for stage, what in STAGES.items():
        one = stages.add_parser(stage, help=f"{what}; resumes by itself")
        one.add_argument("--recipe", type=Path, required=True)
        _add_changes(one)
        one.add_argument(
            "--log-with",
            choices=("tensorboard", "wandb", "trackio"),
            help="tell a tracker what the log holds, beside the JSONL and the curve",
        )
        if stage in ENGINES:
            one.add_argument(
                "--engine",
                choices=("own", "trl"),
                default="own",
                help="trl: hand samples, budgets and rewards to TRL's trainer, for checkpoints of "
                "2B and up and of any family; wants the package",
            )
        one.set_defaults(run=_train, resumes=True)
    lab = stages.add_parser(
        "lab", help="from labelled pictures to a measured model in the docks; resumes by itself"
    )
    lab.add_argument("source", type=Path, metavar="FOLDER", help="labelled pictures, or samples")
    lab.add_argument("-o", "--out", type=Path, required=True, help="where the run and its page go")
    lab.add_argument("--recipe", type=Path, help="in place of the one that ships")
    lab.add_argument("--question", default="", help="what to ask where a set only has labels")
    _add_changes(lab)
    lab.set_defaults(run=_train_lab, resumes=True)


def add_evaluate_parser(subparsers: Subparsers) -> None:
    """``pathreason evaluate MODEL --data FILE``."""
    parser = subparsers.add_parser(
        "evaluate", help="scores per kind of question and per budget", argument_default=OPTIONAL
    )
    add = parser.add_argument
    add("model", help="embedded, a folder, a hub id, or a server: http://host:8000/v1#NAME")
    add("--data", type=Path, required=True, help="JSONL of `data convert`")
    _add_server(parser)
    add(
        "--check-order",
        action="store_true",
        help="ask questions with choices again with these reversed: the share of answers that flip",
    )
    add("--budgets", default="4,16,64,256", help="budgets, or native")
    add(
        "--policies",
        type=lambda words: tuple(words.split(",")),
        help="who chooses the budget: of native, fixed, random, cascade, oracle, allocator; all "
        "but fixed ask every budget of the budget grid",
    )
    add("--figure", type=Path, default=None, help="draw score against cost as a PNG")
    add(
        "--per-topic",
        type=_count,
        help="questions of each kind, drawn by the seed; all of them if left out",
    )
    add(
        "--thresholds",
        type=Path,
        metavar="JSON",
        help="results of --choose-thresholds, to read sensitivity and specificity at",
    )
    add(
        "--choose-thresholds",
        action="store_true",
        help="choose the thresholds of questions with choices; refused on test",
    )
    add(
        "--together",
        type=int,
        help="questions that share the model's passes; seconds are then told by three of each kind",
    )
    add(
        "--no-blank",
        action="store_false",
        dest="blank",
        help="leave the runs out that see a white picture, or give no rationale",
    )
    add(
        "--baseline",
        action="store_true",
        help="fit colour and texture on the train.jsonl beside the data, and score it too",
    )
    add("--stage", help="training that the weights come out of")
    add(
        "--earlier",
        **SEVERAL,
        metavar="JSON",
        help="results of the stages of training before, to stand beside these",
    )
    _add_seed_and_compute(parser)
    add("--markdown", type=Path, default=None, help=PAGE)
    add("--card", type=Path, default=None, help="put the main table and the targets here")
    add("--json", type=Path, default=None, help="write rows, sizes, groups and targets as JSON")
    add("--items", type=Path, help="write every answer as JSONL, as it comes")
    add(
        "--known",
        type=Path,
        metavar="ITEMS",
        help="items of an earlier or a cut evaluation of the same model: scored anew, not asked "
        "again",
    )
    add("--goals", type=Path, metavar="YAML", help="targets, to say which of them are reached")
    add(
        "--groups",
        nargs=2,
        default=None,
        metavar=("CSV", "COLUMN"),
        help="what pictures share, such as a slide, patient or organ (a table with a column "
        "image): figures for each, and intervals over them instead of over questions",
    )
    parser.set_defaults(run=_evaluate)


def add_calibrate_parser(subparsers: Subparsers) -> None:
    """``pathreason calibrate MODEL --data FILE --train FILE``."""
    parser = subparsers.add_parser(
        "calibrate",
        help="fit how confident answers are, and which pictures are unlike the training images; "
        "say what the model was trained on, where it does not yet",
        argument_default=OPTIONAL,
    )
    add = parser.add_argument
    add(
        "model",
        help="embedded or a folder, which the fits are written into; or a server, whose confidence "
        "alone is fitted and remembered",
    )
    _add_server(parser)
    add(
        "--data",
        type=Path,
        dest="val",
        metavar="DATA",
        help="val.jsonl of `data convert`",
    )
    add("--train", type=Path, help="train.jsonl beside it; not for a server")
    add(
        "--recipe",
        type=Path,
        default=None,
        help="what it was trained by: write anew what the model says of its training",
    )
    _add_changes(parser)
    add(
        "--unlike",
        **SEVERAL,
        metavar="SLIDE",
        help="say how many regions of slides it was not trained on are called unlike the "
        "training images",
    )
    add(
        "--regions",
        **SEVERAL,
        metavar="JSONL",
        help="questions about large regions: the confidence of what windows are put together to is "
        "fitted on them, without --data nothing else",
    )
    add("--per-topic", type=int, help="questions of each kind")
    add("--regions-per-topic", type=int, help="questions of each kind about large regions")
    add("--pictures", type=int, help="training pictures of each kind")
    _add_seed_and_compute(parser)
    parser.set_defaults(run=_calibrate)


def add_reliability_parser(subparsers: Subparsers) -> None:
    """``pathreason reliability MODEL --data FILE --questions FILE --unlike SLIDE``."""
    parser = subparsers.add_parser(
        "reliability",
        help="how often what cannot be answered is called reliable, and what can be is not",
        argument_default=OPTIONAL,
    )
    add = parser.add_argument
    add("model", help="embedded, a folder or a hub id")
    add("--data", type=Path, required=True, help="JSONL of `data convert`")
    add(
        "--questions",
        type=Path,
        required=True,
        help="text file of questions it was not trained on, one a line, choices behind |",
    )
    add(
        "--unlike",
        **SEVERAL,
        required=True,
        metavar="FILE",
        help="slides, pictures or folders of tissue that it was not trained on",
    )
    add("--number", type=int, help="questions of each of both sets")
    add("--budget", default="auto", help="auto, or most visual tokens to spend")
    _add_seed_and_compute(parser)
    add("--markdown", type=Path, default=None, help=PAGE)
    add("--figure", type=Path, default=None, help="draw risk against coverage as a PNG")
    add("--items", type=Path, default=None, help="write every question as JSONL")
    parser.set_defaults(run=_reliability)


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-host",
        default=None,
        metavar="NAME",
        help="send pixels and words to this host, which is not this machine; remembered",
    )
    parser.add_argument(
        "--boxes", choices=get_args(BoxSpace), default=None, help="as for `pathreason ask`"
    )


def _add_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe, such as sft.lr=1e-4; may be given again",
    )


def add_data_parser(subparsers: Subparsers) -> None:
    """``pathreason data convert FOLDER -o OUT``; ``pathreason data list``."""
    parser = subparsers.add_parser("data", help="make JSONL samples out of labelled pictures")
    steps = parser.add_subparsers(dest="step", required=True)
    listing = steps.add_parser("list", help="the layouts that convert knows")
    listing.set_defaults(run=_list_layouts)
    convert = steps.add_parser(
        "convert",
        help="published sets, QuPath annotations, tables, folders; see data list",
        argument_default=OPTIONAL,
    )
    add = convert.add_argument
    add(
        "sources",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="a folder, or a JSON or CSV; several become one set of samples",
    )
    add("-o", "--out", type=Path, required=True)
    add("--kind", default="", help="a layout of data list, where two would fit")
    add("--seed", type=int, help="of splits, wordings and draws")
    add("--question", help="what to ask where a set only has labels")
    add("--most", type=_count, metavar="N", help="take N pictures of each split, drawn by the seed")
    add(
        "--groups",
        type=Path,
        metavar="CSV",
        help="columns image and group (or patient, slide): pictures of a group share a split",
    )
    add("--images", type=Path, metavar="FOLDER", help="where pictures lie, if not where named")
    add("--tile", type=_count, metavar="PX", help="side of tiles laid on slides")
    add("--mpp", type=_size, help="µm per pixel of those tiles")
    add("--slide-mpp", type=_size, metavar="UM", help="µm per pixel of slides that do not say it")
    add(
        "--masks",
        choices=("binary", "instance", "class"),
        help="what the values of masks are, where it cannot be seen",
    )
    add("--label", metavar="NAME", help="what objects of binary and instance masks are called")
    add(
        "--splits",
        type=_splits,
        metavar="LIST",
        help="splits that must hold samples, of train,val,test (the default, but for sets that are "
        "published to evaluate on): `test` makes a set to evaluate on alone",
    )
    convert.set_defaults(run=_convert)

    summary = steps.add_parser(
        "summary", help="classes by split, sizes, µm per pixel, and a contact sheet"
    )
    summary.add_argument("folder", type=Path, help="of data convert")
    summary.add_argument("--sheet", type=Path, help="where the contact sheet goes (PNG)")
    summary.set_defaults(run=_summarise)
    export = steps.add_parser(
        "export", help="samples for other trainers, pictures at drawn budgets"
    )
    add = export.add_argument
    add("folder", type=Path, help="of data convert")
    add("-o", "--out", type=Path, required=True)
    add(
        "--to",
        choices=("messages", "huggingface"),
        default="messages",
        help="chats with pictures as the paper's code and ms-swift read them, or parquet files "
        "that TRL and datasets.load_dataset read",
    )
    add(
        "--budgets",
        type=_weighed_budgets,
        default="native",
        metavar="LIST",
        help="visual tokens of a picture to draw from, with weights: 16:1,64:2,256:1",
    )
    add("--token-px", type=_count, default=32, help="side of a visual token; 28 for Qwen2.5-VL")
    add(
        "--box-space",
        choices=("relative", "resized"),
        default="resized",
        help="boxes from 0 to 1000 of the picture, or in pixels of the picture as it is written",
    )
    add("--answers", action="store_true", help="messages: add the answer as an assistant's turn")
    add("--seed", type=int, default=0, help="of the budgets")
    export.set_defaults(run=_export)


def _add_seed_and_compute(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device")
    parser.add_argument(
        "--encoder",
        choices=get_args(Encoder),
        help="of pictures on a processor: fast multiplies in bfloat16 where it has units for that, "
        "openvino wants the package",
    )


def _filled(plan: type[P], args: argparse.Namespace, **values: Any) -> P:
    """A plan of the options that bear its fields' names, ``values`` before them."""
    names = {field.name for field in fields(plan)}  # type: ignore[arg-type]
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(args).items()
        if name in names
    }
    return plan(**options | values)


def _train(args: argparse.Namespace) -> int:
    from napari_pathreason.models import wait_passively
    from napari_pathreason.training.recipe import load_recipe

    changes = [*args.set, *([f"log_with={args.log_with}"] if args.log_with else [])]
    recipe = load_recipe(args.recipe, changes)
    wait_passively()
    if args.stage in ENGINES and args.engine == "trl":
        from .trl_engine import train_performer_by_trl, train_sft_by_trl

        by_trl = {"sft": train_sft_by_trl, "performer": train_performer_by_trl}
        print(by_trl[args.stage](recipe))  # noqa: T201
        return 0
    from .allocator import train_allocator
    from .bilateral import train_bilateral
    from .performer import train_performer
    from .sft import train_sft

    train = {
        "sft": train_sft,
        "performer": train_performer,
        "allocator": train_allocator,
        "bilateral": train_bilateral,
    }
    print(train[args.stage](recipe))  # noqa: T201
    return 0


def _train_lab(args: argparse.Namespace) -> int:
    from .lab import lab_recipe, train_lab

    recipe = lab_recipe(args.out, args.recipe, args.set)
    print(train_lab(args.source, recipe, args.question, _typed()))  # noqa: T201
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from napari_pathreason.models import prepare_model
    from napari_pathreason.training.evaluation import (
        FIGURES,
        EvaluationPlan,
        draw_pareto,
        evaluate,
        write_whole,
    )

    options = vars(args)
    named = (options.get(name) for name in ("known", "thresholds", "goals"))
    _check_results(
        (args.markdown, args.card, args.json, args.figure, options.get("items")),
        (*_data_beside(args.data), args.model, *named, *options.get("earlier", ())),
        args.groups and args.groups[0],
    )
    _check_pages((args.markdown, args.card), FIGURES)
    prepare_model(args.model, args.allow_host, args.boxes)
    table = args.groups and (Path(args.groups[0]), args.groups[1])
    report = evaluate(
        _filled(
            EvaluationPlan,
            args,
            budgets=_budgets(args.budgets),
            groups=table,
            command=_typed(),
        )
    )
    print(report.markdown)  # noqa: T201
    if args.json:
        write_whole(args.json, report.json)
    if args.figure:
        draw_pareto([*report.rows, *report.policies], args.figure)
    _fill_page(args.markdown, report.markdown, FIGURES)
    _fill_page(args.card, report.card, FIGURES)
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from napari_pathreason.models import prepare_model, wait_passively
    from napari_pathreason.training.recipe import load_recipe

    if args.set and args.recipe is None:
        raise QueryError("--set changes a recipe; name it with --recipe")
    prepare_model(args.model, args.allow_host, args.boxes)
    recipe = load_recipe(args.recipe, args.set) if args.recipe is not None else None
    wait_passively()
    from napari_pathreason.training.calibration import CalibrationPlan, calibrate

    print(calibrate(_filled(CalibrationPlan, args, recipe=recipe)))  # noqa: T201
    return 0


def _reliability(args: argparse.Namespace) -> int:
    from napari_pathreason.budgets import parse_budget
    from napari_pathreason.models import wait_passively

    wait_passively()
    from napari_pathreason.training.evaluation import (
        RELIABILITY,
        ReliabilityPlan,
        as_json,
        draw_curve,
        made_by,
        measure,
        page,
        provenance_of,
        write_whole,
    )

    _check_results(
        (args.markdown, args.figure, args.items),
        (*_data_beside(args.data), args.model, args.questions, *args.unlike),
    )
    _check_pages((args.markdown,), RELIABILITY)
    plan = _filled(ReliabilityPlan, args, budget=parse_budget(args.budget))
    assessed = measure(plan)
    tables = page(assessed, provenance_of(plan, len(assessed), made_by(_typed())))
    print(tables)  # noqa: T201
    if args.items:
        write_whole(args.items, as_json(assessed))
    if args.figure:
        draw_curve(assessed, args.figure)
    _fill_page(args.markdown, tables, RELIABILITY)
    return 0


def _typed() -> str:
    """The command as it was typed."""
    return shlex.join(["pathreason", *sys.argv[1:]])


def _list_layouts(args: argparse.Namespace) -> int:
    from .convert import KINDS

    for name, layout in KINDS.items():
        print(f"{name:<14} {layout}")  # noqa: T201
    return 0


def _convert(args: argparse.Namespace) -> int:
    from .convert import Options, convert, draw_sheet, summarise

    done = convert(args.sources, args.out, _filled(Options, args), args.kind)
    counts = ", ".join(f"{split}: {n:,} samples" for split, n in done.counts.items())
    print(f"{' + '.join(done.kinds)}: {counts}")  # noqa: T201
    for note in done.notes:
        print(f"note: {note}")  # noqa: T201
    print(f"\n{summarise(args.out).markdown}")  # noqa: T201
    draw_sheet(args.out, args.out / "contact_sheet.png")
    return 0


def _summarise(args: argparse.Namespace) -> int:
    from .convert import draw_sheet, summarise

    _check_results((args.sheet,), (args.folder,))
    print(summarise(args.folder).markdown)  # noqa: T201
    if args.sheet:
        if broken := draw_sheet(args.folder, args.sheet):
            print(f"\nwarning: {broken:,} of its pictures cannot be read")  # noqa: T201
        print(f"\n{args.sheet}")  # noqa: T201
    return 0


def _export(args: argparse.Namespace) -> int:
    from .convert import ExportPlan, export_samples

    done = export_samples(args.folder, args.out, _filled(ExportPlan, args))
    counts = ", ".join(f"{split}: {n:,} samples" for split, n in done.counts.items())
    print(f"{args.to}: {counts}")  # noqa: T201
    for note in done.notes:
        print(f"note: {note}")  # noqa: T201
    return 0


def _check_results(
    written: Sequence[Path | str | None],
    read: Sequence[Path | str | None],
    *more: Path | str | None,
) -> None:
    """Refuse results that cannot be written, or would be in the place of something else.

    Raises
    ------
    QueryError, ExportError
        Names the file; see `files.refuse_overwriting`.
    """
    results = [Path(file) for file in written if file is not None]
    for file in results:
        if file.is_dir():
            raise QueryError(f"{file.name} is a folder; give a file to write to")
        refuse_inside_slide(file)
    refuse_overwriting(results, [Path(file) for file in (*read, *more) if file is not None])


def _data_beside(data: Path) -> list[Path]:
    """A file of samples, and those of its other splits."""
    return [data, *(data.with_name(f"{split}.jsonl") for split in ("train", "val", "test"))]


def _check_pages(pages: Sequence[Path | None], what: str) -> None:
    """Refuse a page without marks now rather than after an hour."""
    from napari_pathreason.training.evaluation import around

    for page in pages:
        if page and page.exists():
            around(page, what)


def _fill_page(page: Path | None, text: str, what: str) -> None:
    from napari_pathreason.training.evaluation import fill

    if page:
        fill(page, text, what)


def _budgets(words: str) -> tuple[int | None, ...]:
    from napari_pathreason.budgets import parse_budget

    budgets: list[int | None] = []
    for word in words.split(","):
        budget = parse_budget(word)
        if budget == "auto":
            raise QueryError("evaluate measures budgets; give numbers of visual tokens or native")
        budgets.append(None if budget == "native" else budget)
    return tuple(budgets)


def _weighed_budgets(words: str) -> dict[int | None, float]:
    from napari_pathreason.budgets import parse_budget

    weights: dict[int | None, float] = {}
    for word in words.split(","):
        name, _, weight = word.partition(":")
        try:
            budget = parse_budget(name)
            weights[None if budget == "native" else int(budget)] = float(weight or 1)
        except (QueryError, ValueError):
            raise argparse.ArgumentTypeError(
                f"{word} is no budget; give visual tokens or native, such as 16:1,64:2"
            ) from None
    if not all(0 < weight < float("inf") for weight in weights.values()):
        raise argparse.ArgumentTypeError(f"{words}: weights are above 0")
    return weights


def _count(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word} is not a number above 0")
    return number


def _splits(words: str) -> tuple[Split, ...]:
    from .convert import split_of

    named = [split_of(word) for word in words.split(",")]
    if None in named:
        raise argparse.ArgumentTypeError(f"{words} is no list of train, val and test")
    return tuple(dict.fromkeys(split for split in named if split))


def _size(word: str) -> float:
    number = float(word)
    if not 0 < number < 1000:
        raise argparse.ArgumentTypeError(f"{word} is not a size in µm above 0")
    return number
