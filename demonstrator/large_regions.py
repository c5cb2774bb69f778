"""Folders of the embedded model's data -> large regions: questions, pictures that open as slides.

``python -m demonstrator.large_regions DATA -o data/large [--splits val test] [--times N]``

Two forms, each a folder of samples: ``as_is``, and ``blended``, the same regions and questions with
the stain of their pieces made alike (`demonstrator.sets.mosaic`). Beside ``val.jsonl`` lies
``val-regions.json``, which names the sources that the answers about each region rest on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args

from PIL import Image
from tqdm import tqdm

from demonstrator.sets.large_regions import (
    NUMBERS,
    SIDES,
    LargeRegion,
    large_regions,
    mask_of,
    picture_of,
)
from demonstrator.sets.mosaic import compose, compose_blended, compose_mask, write_slide
from napari_pathreason.errors import PathreasonError, QueryError
from napari_pathreason.files import atomic_bytes, write_json
from napari_pathreason.training.samples import SPLITS, Pictures, Split, write_samples

Form = Literal["as_is", "blended"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True, slots=True)
class Reuse:
    """How often sources come again in the regions of a set and split.

    ``sources`` are those of lesions, of cells, or of nuclei; tiles without a lesion come again in
    nearly every region. ``uses`` is the mean number of regions that show one of them.
    """

    dataset: str
    split: Split
    regions: int
    questions: int
    sources: int
    uses: float

    def __str__(self) -> str:
        return (
            f"{self.split} {self.dataset}: {self.regions} regions, {self.questions} questions on "
            f"{self.sources} sources, each in {self.uses:.1f} regions"
        )


def write_large_regions(
    data: Path,
    out: Path,
    splits: Iterable[Split] = ("val", "test"),
    forms: Iterable[Form] = FORMS,
    seed: int = 0,
    times: int = 1,
    sides: tuple[int, int] = SIDES,
) -> list[Reuse]:
    """Compose the regions of some splits and write them below ``out``, one form after another.

    A JSONL is written behind its pictures, so that what it names is there.

    Parameters
    ----------
    data : Path
        With ``lymph_node``, ``lung``, ``nuclei``, ``blood``, or some of them.
    out : Path
    splits, forms : iterable of str
    seed, times, sides
        See `large_regions`.

    Returns
    -------
    list of Reuse
        Of each set and split.

    Raises
    ------
    PathreasonError
        If a folder holds no data that is known, or a file cannot be read or written.
    """
    pictures = Pictures(data.resolve(), most=3000)
    forms = tuple(forms)
    reuses = []
    for split in splits:
        regions = list(large_regions(data.resolve(), split, seed, times, sides))
        if not regions:
            raise QueryError(f"{data.name} holds none of {', '.join(NUMBERS)}, each with its table")
        for region in tqdm(regions, split, unit="region", disable=len(regions) < 20):
            for form in forms:
                _write_pictures(out / form, form, region, pictures, seed)
        for form in forms:
            samples = (sample for region in regions for sample in region.samples)
            write_samples(out / form / f"{split}.jsonl", samples)
            write_json(out / form / f"{split}-regions.json", list(map(_about, regions)), indent=0)
        reuses += _reuses(regions, split)
    return reuses


def _write_pictures(
    folder: Path, form: Form, region: LargeRegion, pictures: Pictures, seed: int
) -> None:
    if form == "blended":
        rng = Random(f"{seed}-{region.name}-stain")
        pixels = compose_blended(region.rows, pictures, rng, region.glass)
    else:
        pixels = compose(region.rows, pictures)
    picture = folder / picture_of(region.name)
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_slide(picture, pixels, region.mpp)
    if region.has_mask:
        mask = folder / mask_of(region.name)
        mask.parent.mkdir(exist_ok=True)
        with atomic_bytes(mask) as file:
            Image.fromarray(compose_mask(region.rows, pictures)).save(file, "PNG")


def _about(region: LargeRegion) -> dict[str, Any]:
    """A region as it stands beside its questions."""
    return {
        "image": picture_of(region.name),
        "set": region.dataset,
        "pieces": [len(region.rows[0]), len(region.rows)],
        "lesion": region.lesion,
        "sources": dict(sorted(Counter(region.sources).items())),
    }


def read_about(data: Path) -> dict[str, dict[str, Any]]:
    """What stands beside the questions of large regions, by their picture.

    Parameters
    ----------
    data : Path
        The questions, as `write_large_regions` wrote them.

    Raises
    ------
    QueryError
        If it is missing or is none.
    """
    about = data.with_name(f"{data.stem}-regions.json")
    try:
        return {region["image"]: region for region in json.loads(about.read_text("utf-8"))}
    except (OSError, ValueError, KeyError, TypeError):
        raise QueryError(
            f"{about.name} is missing beside {data.name} or is none; "
            "run python -m demonstrator.large_regions"
        ) from None


def _reuses(regions: Sequence[LargeRegion], split: Split) -> list[Reuse]:
    reuses = []
    for dataset in dict.fromkeys(region.dataset for region in regions):
        own = [region for region in regions if region.dataset == dataset]
        showing = [region for region in own if region.lesion] or own
        uses = Counter(source for region in showing for source in set(region.sources))
        questions = sum(len(region.samples) for region in own)
        mean = uses.total() / len(uses)
        reuses.append(Reuse(dataset, split, len(own), questions, len(uses), mean))
    return reuses


def main(words: Sequence[str] | None = None) -> int:
    """Compose, and say what came of it; 2 where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m demonstrator.large_regions")
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=("val", "test"))
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--seed", type=int, default=0, help="of pieces, lesions and wordings")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="N times as many")
    parser.add_argument(
        "--sides", type=int, nargs=2, default=SIDES, metavar="PX", help="least and most of a region"
    )
    args = parser.parse_args(words)
    since = time.perf_counter()
    try:
        reuses = write_large_regions(
            args.data, args.out, args.splits, args.forms, args.seed, args.times, tuple(args.sides)
        )
    except PathreasonError as error:
        print(f"pathreason: {error}", file=sys.stderr)  # noqa: T201
        return 2
    for reuse in reuses:
        print(reuse)  # noqa: T201
    print(f"{time.perf_counter() - since:.0f} s")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
