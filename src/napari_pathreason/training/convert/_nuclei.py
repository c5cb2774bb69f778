"""Nuclei of many organs: how many, dense or sparse, where crowded, present or not.

Counts are of connected components. In the binary masks touching nuclei are merged, so those
counts are low where nuclei are crowded; instance maps count every nucleus.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.training._places import QUADRANTS
from napari_pathreason.training._sample import Facts, Sample, Split

from . import _wording as wording
from ._tables import read_table

SMALLEST = 20  # pixels; smaller components are mask noise
DENSE, SPARSE = 0.22, 0.12  # share of area covered; between the two the question is not asked


def nuclei(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """Pictures with binary masks (``index.csv`` with organ and split)."""
    rng = Random(f"{seed}-{split}")
    for row in read_table(folder / "index.csv"):
        if row["split"] == split:
            yield from _picture(rng, folder, row["image"], row["mask"], "nuclei", views)


def nuclei_instances(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """Pictures with instance maps; they have no split of their own, so all of them train."""
    rng = Random(f"{seed}-{split}")
    if split == "train":
        for row in read_table(folder / "index.csv"):
            yield from _picture(
                rng, folder, row["image"], row["instances"], "nuclei_instances", views
            )


def _picture(
    rng: Random, folder: Path, image: str, mask: str, source: str, views: int
) -> Iterator[Sample]:
    with Image.open(folder / mask) as file:
        labels = np.asarray(file)
    instances = source == "nuclei_instances"
    for view in range(views):
        region = _crop(rng, labels.shape, whole=view == 0)
        x, y, w, h = region
        part = labels[y : y + h, x : x + w]
        number = count_nuclei(part, instances)
        common: dict[str, Any] = {
            "image": str(folder / image),
            "region": region,
            "facts": Facts(known=("nucleus",), nuclei=str(folder / mask)),
            "source": source,
            "task": "vqa",
        }
        yield Sample(
            **common,
            question=wording.draw(rng, wording.COUNT, "nuclei"),
            answer=str(number),
            topic="number of nuclei",
        )
        covered = float((part > 0).mean())
        if covered >= DENSE or 0 < covered <= SPARSE:
            yield Sample(
                **common,
                question=wording.draw(rng, wording.NUCLEI_DENSE),
                choices=tuple(rng.sample(("dense", "sparse"), 2)),
                answer="dense" if covered >= DENSE else "sparse",
                topic="dense or sparse nuclei",
            )
        if (place := crowded_quadrant(part > 0)) is not None:
            yield Sample(
                **common,
                question=wording.draw(rng, wording.NUCLEI_WHERE),
                choices=QUADRANTS,
                answer=place,
                topic="where nuclei are crowded",
            )
        if number == 0 or rng.random() < 0.15:
            yield Sample(
                **common,
                question=wording.draw(rng, wording.PRESENCE, "nuclei"),
                choices=("yes", "no"),
                answer="yes" if number else "no",
                topic="presence of nuclei",
            )


def count_nuclei(labels: NDArray[np.integer], instances: bool) -> int:
    """Nuclei of at least `SMALLEST` pixels, exact to 20 and to two digits above."""
    from scipy import ndimage

    parts = labels if instances else ndimage.label(labels > 0)[0]
    sizes = np.bincount(np.asarray(parts).ravel())[1:]
    number = int((sizes >= SMALLEST).sum())
    step = 1 if number <= 20 else 5 if number <= 100 else 10
    return round(number / step) * step


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
