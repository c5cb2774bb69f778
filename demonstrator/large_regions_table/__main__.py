"""Ask questions about large regions in several ways, and write the table."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby, zip_longest
from pathlib import Path

from tqdm import tqdm

from napari_pathreason.errors import PathreasonError, QueryError
from napari_pathreason.files import atomic_text, write_text
from napari_pathreason.models import checkpoint_sha256, find_checkpoint, load_models
from napari_pathreason.training.evaluation import fill, made_by
from napari_pathreason.training.samples import Pictures

from .answers import (
    Answers,
    LargeAnswer,
    LargeQuestion,
    ask_in_every_way,
    read_questions,
    to_record,
)
from .choosing import Way, read_way
from .figure import draw_table
from .figures import make_table
from .memory import RememberingPerformer, answers_hash, windows_hash
from .page import as_json, markdown

WAYS = (
    "one_view@64",
    "one_view@256",
    "uniform@x8",
    "uniform@x16",
    "uniform@x64",
    "random@x8",
    "surprise@x8",
    "again@balanced",
    "table@balanced",
    "oracle@x8",
)
PAIRS = (
    "surprise@x8:random@x8",
    "surprise@x8:uniform@x8",
    "again@balanced:uniform@x16",
    "table@balanced:uniform@x16",
    "table@balanced:one_view@256",
)


def main(words: Sequence[str] | None = None) -> int:
    """Ask, and write what came of it; 2 where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m demonstrator.large_regions_table")
    parser.add_argument("model", help="embedded, a folder, or a hub id")
    parser.add_argument(
        "--allocator", help="a copy of the model that learnt windows, for the policy learned"
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="JSONL")
    parser.add_argument("--ways", nargs="+", default=WAYS, metavar="POLICY@BUDGET")
    parser.add_argument("--pairs", nargs="*", default=PAIRS, metavar="WAY:WAY")
    parser.add_argument("--per-topic", type=int, help="questions of each set and kind")
    parser.add_argument("--topics", nargs="+", default=(), help="kinds of questions; else all")
    parser.add_argument(
        "--items", type=Path, required=True, help="answers; it goes on where it was"
    )
    parser.add_argument("--memory", type=Path, required=True, help="replies to windows, by picture")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0, help="of intervals")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, help="a PNG of the table")
    parser.add_argument("--record", type=Path, help="the answers of this table; .jsonl.gz")
    args = parser.parse_args(words)
    try:
        _run(args, words)
    except PathreasonError as error:
        print(f"pathreason: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _run(args: argparse.Namespace, words: Sequence[str] | None) -> None:
    ways = list(dict.fromkeys(map(read_way, args.ways)))
    pairs = list(_pairs(args.pairs, ways))
    files = [read_questions(data, args.per_topic, args.topics) for data in args.data]
    # a question of both forms comes together
    questions = [q for together in zip_longest(*files) for q in together if q is not None]
    pictures = {data.parent.name: Pictures(data.parent) for data in args.data}
    if len(pictures) < len({data.parent for data in args.data}):
        raise QueryError("folders of --data have one name; give each a name of its own")
    answered = _ask(args, questions, ways, pictures)
    table = make_table(answered, ways, pictures, pairs, args.seed)
    typed = shlex.join(words if words is not None else sys.argv[1:])
    made = made_by(f"python -m demonstrator.large_regions_table {typed}")
    text = markdown(table, args.seed, made)
    print(text)  # noqa: T201
    if args.markdown:
        fill(args.markdown, text)
    if args.figure:
        draw_table(table.rows, args.figure)
    if args.json:
        about = {
            "model": Path(args.model).name,  # no path of a machine
            "answers_sha256": answers_hash(args.model),
            "learned_sha256": windows_hash(args.allocator or args.model),
            "questions": len(questions),
            "per_topic": args.per_topic,
            "topics": list(args.topics),
            "seed": args.seed,
            "made": made,
        }
        write_text(args.json, as_json(table, about))
    if args.record:
        with atomic_text(args.record) as file:
            for question, answers in answered:
                for answer in answers.values():
                    file.write(f"{to_record(question, answer, pictures[question.form])}\n")


def _pairs(named: Sequence[str], ways: Sequence[Way]) -> Iterator[tuple[Way, Way]]:
    """Pairs whose ways are both asked; others only where they are the defaults."""
    for words in named:
        one, _, other = words.partition(":")
        pair = read_way(one), read_way(other)
        if all(way in ways for way in pair):
            yield pair
        elif words not in PAIRS:
            raise QueryError(f"--pairs {words}: give both ways with --ways as well")


def _ask(
    args: argparse.Namespace,
    questions: Sequence[LargeQuestion],
    ways: Sequence[Way],
    pictures: dict[str, Pictures],
) -> list[tuple[LargeQuestion, dict[str, LargeAnswer]]]:
    folder, name = find_checkpoint(args.model)
    model = checkpoint_sha256(folder, name, allocators=False)
    answers = Answers(args.items, model, windows_hash(args.allocator or args.model))
    models = load_models(args.model, args.device)
    allocator = models.allocator
    if args.allocator:
        if answers_hash(args.allocator) != answers_hash(args.model):
            raise QueryError(
                f"--allocator {Path(args.allocator).name} answers with other weights; train an "
                "allocator that starts from the model"
            )
        allocator = load_models(args.allocator, args.device).allocator
    answered: list[tuple[LargeQuestion, dict[str, LargeAnswer]]] = []
    with (
        closing(
            RememberingPerformer(models.performer, args.memory, answers_hash(args.model))
        ) as own,
        tqdm(total=len(questions) * len(ways), unit="answer", mininterval=5) as bar,
    ):
        for form, group in groupby(questions, key=lambda question: question.form):
            by_way: dict[str, LargeAnswer] = {}
            asking = ask_in_every_way(list(group), ways, pictures[form], own, allocator, answers)
            for question, way, answer in asking:
                by_way[str(way)] = answer
                bar.update()
                if len(by_way) == len(ways):
                    answered.append((question, by_way))
                    by_way = {}
        bar.write(f"{own.asked_anew:,} prompts answered anew", file=sys.stderr)
    return answered


if __name__ == "__main__":
    sys.exit(main())
