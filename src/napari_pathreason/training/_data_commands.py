"""Command line of converters: ``pathreason data convert`` and ``pathreason data list``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_pathreason.training.samples import Split

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_data_parser(subparsers: Subparsers) -> None:
    """``pathreason data convert FOLDER -o OUT``; ``pathreason data list``."""
    parser = subparsers.add_parser("data", help="make JSONL samples out of labelled pictures")
    steps = parser.add_subparsers(dest="step", required=True)
    listing = steps.add_parser("list", help="the layouts that convert knows")
    listing.set_defaults(run=_list)
    convert = steps.add_parser(
        "convert", help="published sets, QuPath annotations, tables, folders; see data list"
    )
    convert.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="a folder, or a JSON or CSV; several become one set of samples",
    )
    convert.add_argument("-o", "--out", type=Path, required=True)
    convert.add_argument("--kind", default="", help="a layout of data list, where two would fit")
    convert.add_argument("--seed", type=int, default=0, help="of splits, wordings and draws")
    convert.add_argument("--question", default="", help="what to ask where a set only has labels")
    convert.add_argument(
        "--most", type=_count, metavar="N", help="take N pictures of each split, drawn by the seed"
    )
    convert.add_argument(
        "--groups",
        type=Path,
        metavar="CSV",
        help="columns image and group (or patient, slide): pictures of a group share a split",
    )
    convert.add_argument(
        "--images", type=Path, metavar="FOLDER", help="where pictures lie, if not where named"
    )
    convert.add_argument(
        "--tile", type=_count, default=512, metavar="PX", help="side of tiles laid on slides"
    )
    convert.add_argument("--mpp", type=_size, default=0.5, help="um per pixel of those tiles")
    convert.add_argument(
        "--slide-mpp", type=_size, metavar="UM", help="um per pixel of slides that do not say it"
    )
    convert.add_argument(
        "--splits",
        type=_splits,
        metavar="LIST",
        help="splits that must hold samples, of train,val,test (the default, but for sets that are "
        "published to evaluate on): `test` makes a set to evaluate on alone",
    )
    convert.set_defaults(run=_convert)


def _list(args: argparse.Namespace) -> int:
    from .convert import KINDS

    for name, layout in KINDS.items():
        print(f"{name:<14} {layout}")  # noqa: T201
    return 0


def _convert(args: argparse.Namespace) -> int:
    from .convert import Options, convert

    options = Options(
        seed=args.seed,
        question=args.question,
        most=args.most,
        groups=args.groups,
        images=args.images,
        tile=args.tile,
        mpp=args.mpp,
        slide_mpp=args.slide_mpp,
        splits=args.splits,
    )
    done = convert(args.sources, args.out, options, args.kind)
    told = ", ".join(f"{split}: {n:,} samples" for split, n in done.counts.items())
    print(f"{' + '.join(done.kinds)}: {told}")  # noqa: T201
    for note in done.notes:
        print(f"note: {note}")  # noqa: T201
    return 0


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
        raise argparse.ArgumentTypeError(f"{word} is not a size in um above 0")
    return number
