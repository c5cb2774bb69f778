"""Folders of the embedded model's data -> ``train.jsonl``, ``val.jsonl`` and ``test.jsonl``.

``python -m demonstrator.convert DATA... -o data/mini [--times N]``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from demonstrator.sets.composition import plan_of
from napari_pathreason.errors import PathreasonError
from napari_pathreason.training.convert import Conversion, write_conversion


def convert(sources: Sequence[Path], out: Path, seed: int = 0, times: int = 1) -> Conversion:
    """Write all three files into ``out``, or none; see `plan_of`.

    Parameters
    ----------
    sources : sequence of Path
        Folders that each hold some of the known ones; several become one set of samples.
    out : Path
    seed, times : int

    Raises
    ------
    PathreasonError
        If a folder holds no data that is known, or it is damaged; names the remedy.
    """
    return write_conversion([plan_of(source, out, seed, times) for source in sources], out)


def main(words: Sequence[str] | None = None) -> int:
    """Convert, and say what came of it; 2 where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m demonstrator.convert", description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+", metavar="DATA")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of wordings, crops and fields")
    parser.add_argument(
        "--times", type=int, default=1, metavar="N", help="draw what is trained on N times over"
    )
    args = parser.parse_args(words)
    try:
        done = convert(args.sources, args.out, args.seed, args.times)
    except PathreasonError as error:
        print(f"pathreason: {error}", file=sys.stderr)  # noqa: T201
        return 2
    counts = ", ".join(f"{split}: {count:,} samples" for split, count in done.counts.items())
    print(f"{' + '.join(done.kinds)}: {counts}")  # noqa: T201
    for note in done.notes:
        print(f"note: {note}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
