"""Nuclei of many organs: how many, dense or sparse, where crowded, present or not.

Counts are of connected components. In the binary masks touching nuclei are merged, so those
counts are low where nuclei are crowded; instance maps count every nucleus. Instance maps may come
from a teacher (`_nucleus_teacher`); nothing is measured on those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.training.samples import QUADRANTS, Facts, Sample, Split

from . import _wording as wording
from ._alien import cannot_tell, offered
from ._tables import read_table

Point = tuple[int, int]
"""(x, y) in level-0 pixels."""

TAUGHT = "nuclei_taught"
SMALLEST = 20  # pixels; smaller components are mask noise
SMALLEST_TAUGHT = 6  # a teacher makes no such noise, and sees pictures of coarser pixels
DENSE, SPARSE = 0.22, 0.12  # share of area covered; between the two the question is not asked


def nuclei(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """Pictures with binary masks (``index.csv`` with organ and split)."""
    rng = Random(f"{seed}-{split}")
    for row in read_table(folder / "index.csv"):
        if row["split"] == split:
            yield from nuclei_questions_of(
                rng, split, str(folder / row["image"]), str(folder / row["mask"]), "nuclei", views
            )


def nuclei_instances(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """Pictures with instance maps; they have no split of their own, so all of them train."""
    return _with_instances(folder, split, seed, views, "nuclei_instances", SMALLEST)


def nuclei_taught(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """Pictures with a teacher's instance maps, to train on alone."""
    return _with_instances(folder, split, seed, views, TAUGHT, SMALLEST_TAUGHT)


def _with_instances(
    folder: Path, split: Split, seed: int, views: int, source: str, smallest: int
) -> Iterator[Sample]:
    rng = Random(f"{seed}-{split}")
    if split == "train":
        for row in read_table(folder / "index.csv"):
            image, numbers = str(folder / row["image"]), str(folder / row["instances"])
            yield from nuclei_questions_of(
                rng, split, image, numbers, source, views, instances=True, smallest=smallest
            )


def nuclei_questions_of(
    rng: Random,
    split: Split,
    image: str,
    mask: str,
    source: str,
    views: int,
    instances: bool = False,
    smallest: int = SMALLEST,
) -> Iterator[Sample]:
    """Of one picture, and of ``views - 1`` crops of it; ``instances`` where nuclei have numbers."""
    covered, centres = read_nuclei(Path(mask), instances, smallest)
    for view in range(views):
        region = _crop(rng, covered.shape, whole=view == 0)
        x, y, w, h = region
        part, inside = covered[y : y + h, x : x + w], centres_inside(centres, region)
        common: dict[str, Any] = {
            "image": image,
            "region": region,
            "facts": Facts(known=("nucleus",), nuclei=mask, centres=tuple(inside)),
            "source": source,
        }
        yield from nuclei_questions(rng, split, common, part, len(inside))


def read_nuclei(
    mask: Path, instances: bool, smallest: int
) -> tuple[NDArray[np.bool_], list[Point]]:
    """What nuclei of a mask or an instance map cover, bool (height, width), and their centres."""
    with Image.open(mask) as file:
        labels = np.asarray(file)
    if labels.dtype.kind == "f":  # some programs write numbers of nuclei as floats
        labels = labels.astype(np.int32)
    return labels > 0, nuclei_centres(labels, instances, smallest)


def centres_inside(centres: Iterable[Point], region: tuple[int, int, int, int]) -> list[Point]:
    """Those that lie in a region (x, y, width, height)."""
    x, y, width, height = region
    return [c for c in centres if x <= c[0] < x + width and y <= c[1] < y + height]


def nuclei_questions(
    rng: Random, split: Split, common: dict[str, Any], part: NDArray[np.bool_], number: int
) -> Iterator[Sample]:
    """Of one picture, whose nuclei cover ``part`` and are ``number``.

    ``common`` are the fields of `Sample` that name it.
    """
    question, phrasing = wording.draw(rng, wording.COUNT, split, "nuclei")
    yield Sample(
        **common,
        task="vqa",
        question=question,
        phrasing=phrasing,
        answer=str(number),
        topic="number of nuclei",
    )
    covered = float(part.mean())
    if covered >= DENSE or 0 < covered <= SPARSE:
        question, phrasing = wording.draw(rng, wording.NUCLEI_DENSE, split)
        yield Sample(
            **common,
            task="vqa",
            question=question,
            phrasing=phrasing,
            choices=tuple(rng.sample(("dense", "sparse"), 2)),
            answer="dense" if covered >= DENSE else "sparse",
            topic="dense or sparse nuclei",
        )
    if (place := crowded_quadrant(part)) is not None:
        question, phrasing = wording.draw(rng, wording.NUCLEI_WHERE, split)
        yield Sample(
            **common,
            task="vqa",
            question=question,
            phrasing=phrasing,
            choices=QUADRANTS,
            answer=place,
            topic="where nuclei are crowded",
        )
    if number == 0 or rng.random() < 0.15:
        question, phrasing = wording.draw(rng, wording.PRESENCE, split, "nuclei")
        yield Sample(
            **common,
            task="vqa",
            question=question,
            phrasing=phrasing,
            choices=offered(rng, ("yes", "no")),
            answer="yes" if number else "no",
            topic="presence of nuclei",
        )
    yield from cannot_tell(rng, split, "nuclei", common)


def nuclei_centres(
    labels: NDArray[np.integer[Any]], instances: bool, smallest: int = SMALLEST
) -> list[Point]:
    """Centres (x, y) of nuclei of at least ``smallest`` pixels."""
    from scipy import ndimage

    parts = np.asarray(labels if instances else ndimage.label(labels > 0)[0])
    sizes = np.bincount(parts.ravel())
    kept = [index for index in np.flatnonzero(sizes) if index > 0 and sizes[index] >= smallest]
    middles = ndimage.center_of_mass(parts > 0, parts, kept)
    return [(round(x), round(y)) for y, x in middles]


def crowded_quadrant(mask: NDArray[np.bool_]) -> str | None:
    """Quadrant that holds the most nuclear area; None unless it leads by a quarter."""
    cy, cx = mask.shape[0] // 2, mask.shape[1] // 2
    parts = [mask[:cy, :cx], mask[:cy, cx:], mask[cy:, :cx], mask[cy:, cx:]]
    shares = np.array([part.mean() for part in parts])
    first, second = np.sort(shares)[::-1][:2]
    return QUADRANTS[int(shares.argmax())] if first > 1.25 * second and first > 0.03 else None


def _crop(rng: Random, shape: tuple[int, ...], whole: bool) -> tuple[int, int, int, int]:
    height, width = shape[:2]
    if whole:
        return 0, 0, width, height
    side = min(rng.choice((64, 96, 128, 192, 256, 384)), width, height)
    return rng.randint(0, width - side), rng.randint(0, height - side), side, side
