"""``pathreason merge``: an adapter and its base as one model."""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_pathreason.models import write_merged

from ._main import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """``pathreason merge MODEL -o FOLDER``."""
    parser = subparsers.add_parser("merge", help="write an adapter and its base as one model")
    parser.add_argument("model", help="folder or hub id of an adapter")
    parser.add_argument("-o", "--out", type=Path, required=True, help="a new folder")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    print(write_merged(args.model, args.out))
    return 0
