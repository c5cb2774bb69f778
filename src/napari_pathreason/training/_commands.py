"""Command line of this room: ``pathreason train``, ``evaluate``, ``calibrate``, ``reliability``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_pathreason.errors import QueryError

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


STAGES = {
    "sft": "supervised fine-tuning",
    "performer": "GRPO from the model of sft, on labels alone",
    "allocator": "policy gradient over the budget grid, for the last performer",
    "bilateral": "sft, then performer and allocator in turn; one folder out",
}


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
        one.set_defaults(run=_train)


def add_evaluate_parser(subparsers: Subparsers) -> None:
    """``pathreason evaluate MODEL --data FILE``."""
    parser = subparsers.add_parser("evaluate", help="scores per kind of question and per budget")
    parser.add_argument("model", help="embedded, a folder or a hub id")
    parser.add_argument("--data", type=Path, required=True, help="JSONL of `data convert`")
    parser.add_argument("--budgets", default="4,16,64,256", help="budgets, or native")
    parser.add_argument(
        "--policies",
        default="fixed",
        help="who chooses the budget: of native, fixed, random, cascade, oracle, allocator; all "
        "but fixed ask every budget of the budget grid",
    )
    parser.add_argument("--figure", type=Path, help="draw score against cost as a PNG")
    parser.add_argument("--per-topic", type=int, default=60, help="questions of each kind")
    parser.add_argument(
        "--together",
        type=int,
        default=1,
        help="questions that share the model's passes; seconds are then told by three of each kind",
    )
    parser.add_argument(
        "--no-blank",
        action="store_true",
        help="leave the runs out that see a white picture, or give no rationale",
    )
    parser.add_argument(
        "--baseline",
        action="store_true",
        help="fit colour and texture on the train.jsonl beside the data, and score it too",
    )
    parser.add_argument("--stage", default="sft", help="training that the weights come out of")
    parser.add_argument(
        "--earlier",
        type=Path,
        action="extend",
        nargs="+",
        default=[],
        metavar="JSON",
        help="results of the stages of training before, to stand beside these",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--markdown", type=Path, help="write the tables here too, between the marks of a page"
    )
    parser.add_argument("--card", type=Path, help="put the main table and the targets here")
    parser.add_argument("--json", type=Path, help="write rows, sizes, groups and targets as JSON")
    parser.add_argument("--items", type=Path, help="write every answer as JSONL, as it comes")
    parser.add_argument(
        "--known",
        type=Path,
        metavar="ITEMS",
        help="items of an earlier or a cut evaluation of the same model: scored anew, not asked "
        "again",
    )
    parser.add_argument(
        "--goals", type=Path, metavar="YAML", help="targets, to say which of them are reached"
    )
    parser.add_argument(
        "--groups",
        nargs=2,
        metavar=("CSV", "COLUMN"),
        help="what pictures share, such as a slide, patient or organ (a table with a column "
        "image): figures for each, and intervals over them instead of over questions",
    )
    parser.set_defaults(run=_evaluate)


def add_calibrate_parser(subparsers: Subparsers) -> None:
    """``pathreason calibrate MODEL --data FILE --train FILE``."""
    parser = subparsers.add_parser(
        "calibrate",
        help="fit how sure answers are, and which pictures are strange; say what the "
        "model was trained on, where it does not yet",
    )
    parser.add_argument("model", help="embedded or a folder; the fits are written into it")
    parser.add_argument("--data", type=Path, required=True, help="val.jsonl of `data convert`")
    parser.add_argument("--train", type=Path, required=True, help="train.jsonl beside it")
    parser.add_argument(
        "--recipe",
        type=Path,
        help="what it was trained by: write anew what the model says of its training",
    )
    _add_changes(parser)
    parser.add_argument(
        "--unlike",
        type=Path,
        action="extend",
        nargs="+",
        default=[],
        metavar="SLIDE",
        help="say how many regions of slides it was not trained on are called strange",
    )
    parser.add_argument("--per-topic", type=int, default=50, help="questions of each kind")
    parser.add_argument("--pictures", type=int, default=1200, help="training pictures of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.set_defaults(run=_calibrate)


def add_reliability_parser(subparsers: Subparsers) -> None:
    """``pathreason reliability MODEL --data FILE --questions FILE --unlike SLIDE``."""
    parser = subparsers.add_parser(
        "reliability",
        help="how often what cannot be answered is called reliable, and what can be is not",
    )
    parser.add_argument("model", help="embedded, a folder or a hub id")
    parser.add_argument("--data", type=Path, required=True, help="JSONL of `data convert`")
    parser.add_argument(
        "--questions",
        type=Path,
        required=True,
        help="text file of questions it was not trained on, one a line, choices behind |",
    )
    parser.add_argument(
        "--unlike",
        type=Path,
        action="extend",
        nargs="+",
        required=True,
        metavar="FILE",
        help="slides, pictures or folders of tissue that it was not trained on",
    )
    parser.add_argument("--number", type=int, default=200, help="questions of each of both sets")
    parser.add_argument("--budget", default="auto", help="auto, or most visual tokens to spend")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--markdown", type=Path, help="write the tables here too, between the marks of a page"
    )
    parser.add_argument("--figure", type=Path, help="draw risk against coverage as a PNG")
    parser.add_argument("--items", type=Path, help="write every question as JSONL")
    parser.set_defaults(run=_reliability)


def _add_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe, such as sft.lr=1e-4; may be given again",
    )


def _train(args: argparse.Namespace) -> int:
    from napari_pathreason.models import wait_passively
    from napari_pathreason.training.recipe import load_recipe

    changes = [*args.set, *([f"log_with={args.log_with}"] if args.log_with else [])]
    recipe = load_recipe(args.recipe, changes)
    wait_passively()
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


def _evaluate(args: argparse.Namespace) -> int:
    from napari_pathreason.training.evaluation import (
        EvaluationPlan,
        around,
        evaluate,
        fill,
        write_whole,
    )

    for page in (args.markdown, args.card):
        if page and page.exists():
            around(page)  # better refused now than after an hour
    report = evaluate(
        EvaluationPlan(
            model=args.model,
            data=args.data,
            budgets=_budgets(args.budgets),
            per_topic=args.per_topic,
            blank=not args.no_blank,
            baseline=args.baseline,
            stage=args.stage,
            seed=args.seed,
            device=args.device,
            items=args.items,
            policies=tuple(args.policies.split(",")),
            together=args.together,
            earlier=tuple(args.earlier),
            known=args.known,
            goals=args.goals,
            groups=(Path(args.groups[0]), args.groups[1]) if args.groups else None,
        )
    )
    print(report.markdown)  # noqa: T201
    if args.json:
        write_whole(args.json, report.json)
    if args.figure:
        from napari_pathreason.training.evaluation import draw_pareto

        draw_pareto([*report.rows, *report.policies], args.figure)
    for page, text in ((args.markdown, report.markdown), (args.card, report.card)):
        if page:
            fill(page, text)
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from napari_pathreason.models import wait_passively
    from napari_pathreason.training.recipe import load_recipe

    if args.set and args.recipe is None:
        raise QueryError("--set changes a recipe; name it with --recipe")
    recipe = load_recipe(args.recipe, args.set) if args.recipe is not None else None
    wait_passively()
    from napari_pathreason.training.calibration import CalibrationPlan, calibrate

    plan = CalibrationPlan(
        model=args.model,
        val=args.data,
        train=args.train,
        unlike=tuple(args.unlike),
        per_topic=args.per_topic,
        pictures=args.pictures,
        seed=args.seed,
        device=args.device,
        recipe=recipe,
    )
    print(calibrate(plan))  # noqa: T201
    return 0


def _reliability(args: argparse.Namespace) -> int:
    from napari_pathreason.budgets import parse_budget
    from napari_pathreason.models import wait_passively

    wait_passively()
    from napari_pathreason.training.evaluation import (
        RELIABILITY,
        ReliabilityPlan,
        around,
        as_json,
        draw_curve,
        fill,
        measure,
        page,
        write_whole,
    )

    if args.markdown and args.markdown.exists():
        around(args.markdown, RELIABILITY)
    plan = ReliabilityPlan(
        model=args.model,
        data=args.data,
        questions=args.questions,
        unlike=tuple(args.unlike),
        number=args.number,
        budget=parse_budget(args.budget),
        seed=args.seed,
        device=args.device,
    )
    assessed = measure(plan)
    print(page(assessed))  # noqa: T201
    if args.items:
        write_whole(args.items, as_json(assessed))
    if args.figure:
        draw_curve(assessed, args.figure)
    if args.markdown:
        fill(args.markdown, page(assessed), RELIABILITY)
    return 0


def _budgets(words: str) -> tuple[int | None, ...]:
    from napari_pathreason.budgets import parse_budget

    budgets: list[int | None] = []
    for word in words.split(","):
        budget = parse_budget(word)
        if budget == "auto":
            raise QueryError("evaluate measures budgets; give numbers of visual tokens or native")
        budgets.append(None if budget == "native" else budget)
    return tuple(budgets)
