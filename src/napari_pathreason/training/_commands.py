"""Command line of this room: ``pathreason data``, ``train`` and ``evaluate``."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from napari_pathreason._errors import QueryError

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_data_parser(subparsers: Subparsers) -> None:
    """``pathreason data convert FOLDER -o OUT``."""
    parser = subparsers.add_parser("data", help="make JSONL samples out of labelled folders")
    steps = parser.add_subparsers(dest="step", required=True)
    convert = steps.add_parser("convert", help="known sets, or a folder with a labels.csv")
    convert.add_argument("source", type=Path, metavar="FOLDER")
    convert.add_argument("-o", "--out", type=Path, required=True)
    convert.add_argument("--seed", type=int, default=0)
    convert.add_argument("--question", default="", help="what to ask of a plain folder")
    convert.set_defaults(run=_convert)


def add_train_parser(subparsers: Subparsers) -> None:
    """``pathreason train sft --recipe FILE``."""
    parser = subparsers.add_parser("train", help="train a performer on labels")
    steps = parser.add_subparsers(dest="step", required=True)
    sft = steps.add_parser("sft", help="supervised fine-tuning; resumes by itself")
    sft.add_argument("--recipe", type=Path, required=True)
    sft.set_defaults(run=_sft)


def add_evaluate_parser(subparsers: Subparsers) -> None:
    """``pathreason evaluate MODEL --data FILE``."""
    parser = subparsers.add_parser("evaluate", help="scores per kind of question and per rung")
    parser.add_argument("model", help="embedded, a folder or a hub id")
    parser.add_argument("--data", type=Path, required=True, help="JSONL of `data convert`")
    parser.add_argument("--budgets", default="4,16,64,256", help="rungs, or native")
    parser.add_argument("--per-topic", type=int, default=60, help="questions of each kind")
    parser.add_argument("--no-blank", action="store_true", help="leave the text-only run out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--markdown", type=Path, help="write the table here too")
    parser.add_argument("--json", type=Path, help="write rows as JSON")
    parser.add_argument("--items", type=Path, help="write every answer as JSONL")
    parser.set_defaults(run=_evaluate)


def _convert(args: argparse.Namespace) -> int:
    from .convert import convert

    counts = convert(args.source, args.out, args.seed, args.question)
    print(", ".join(f"{split}: {n:,} samples" for split, n in counts.items()))  # noqa: T201
    return 0


def _sft(args: argparse.Namespace) -> int:
    from napari_pathreason.models import wait_passively

    from ._recipe import load_recipe

    wait_passively()
    from .sft import train_sft

    print(train_sft(load_recipe(args.recipe)))  # noqa: T201
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from napari_pathreason.models import load_models
    from napari_pathreason.tokens import parse_budget

    from ._evaluate import Item, answer_all, constant_score, pick
    from ._pictures import Pictures
    from ._sample import read_samples
    from ._table import markdown, table

    budgets: list[int | None] = []
    for word in args.budgets.split(","):
        rung = parse_budget(word)
        if rung == "auto":
            raise QueryError("evaluate measures rungs; give numbers of visual tokens or native")
        budgets.append(None if rung == "native" else rung)
    samples = pick(read_samples(args.data), args.per_topic, args.seed)
    pictures = Pictures(args.data.parent)
    models = load_models(args.model, args.device)
    items: list[Item] = []
    runs = [(budget, False) for budget in budgets]
    if not args.no_blank:
        runs.append((budgets[len(budgets) // 2], True))
    with tqdm(total=len(runs) * len(samples), unit="answer", mininterval=5) as bar:
        for budget, blank in runs:
            answers = answer_all(
                samples, pictures, models.performer, models.allocator, budget, blank=blank
            )
            for item in answers:
                items.append(item)
                bar.update()
    cell = models.performer.info.dims.cell
    constants = {
        topic: constant_score([s for s in samples if s.kind == topic], pictures, cell)
        for topic in {item.topic for item in items}
    }
    rows = table(items, constants, args.seed)
    text = markdown(rows)
    print(text)  # noqa: T201
    if args.markdown:
        _write(args.markdown, text + "\n")
    if args.json:
        _write(args.json, json.dumps({"rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    if args.items:
        _write(args.items, "".join(json.dumps(asdict(item)) + "\n" for item in items))
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
