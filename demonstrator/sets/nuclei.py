"""Nuclei of many organs: labelled pictures, crops of them, and wide fields composed of crops.

Instance maps may come from a teacher (`demonstrator.teacher`); nothing is measured on those.

Pictures with masks show a tenth of a millimetre; a region that a user marks on a slide often shows
half of one, with hundreds of nuclei, and nothing else teaches a model to count beyond a picture. So
crops are put side by side, to train and tune on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.training import convert
from napari_pathreason.training.samples import Facts, Sample, Split, name_crop

TAUGHT = "nuclei_taught"
"""Folder, and source, of pictures whose nuclei a teacher numbered."""
SMALLEST_TAUGHT = 6
"""Pixels of a nucleus: a teacher makes no noise, and sees pictures of coarser pixels."""
WIDEST = 1024
"""Side of a field in level-0 pixels, at the most."""
SIDES = (96, 128, 192, 256, 384, 512)
"""Sides of its crops; those of one field are as large as one another."""
MOST = 1000
"""Nuclei of a field; beyond it there are no words for their number."""
ALIKE = 0.4
"""Share of fields whose crops are all of one picture: tissue of one kind, as in a slide."""


def nuclei(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """Pictures with binary masks (``index.csv`` with organ and split)."""
    rng = Random(f"{seed}-{split}")
    for row in convert.read_table(folder / "index.csv"):
        if row["split"] == split:
            image, mask = str(folder / row["image"]), str(folder / row["mask"])
            yield from convert.nuclei_views(rng, split, image, mask, views, source="nuclei")


def nuclei_instances(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """Pictures with instance maps; they have no split of their own, so all of them train."""
    return _with_instances(folder, split, seed, views, "nuclei_instances", convert.SMALLEST_NUCLEUS)


def nuclei_taught(folder: Path, split: Split, seed: int, views: int) -> Iterator[Sample]:
    """Pictures with a teacher's instance maps, to train on alone."""
    return _with_instances(folder, split, seed, views, TAUGHT, SMALLEST_TAUGHT)


def _with_instances(
    folder: Path, split: Split, seed: int, views: int, source: str, smallest: int
) -> Iterator[Sample]:
    rng = Random(f"{seed}-{split}")
    if split == "train":
        for row in convert.read_table(folder / "index.csv"):
            image, numbers = str(folder / row["image"]), str(folder / row["instances"])
            yield from convert.nuclei_views(
                rng, split, image, numbers, views, True, smallest, source
            )


@dataclass(frozen=True, slots=True)
class _Labelled:
    image: str
    mask: str
    covered: NDArray[np.bool_]
    centres: Sequence[convert.Point]

    @property
    def least(self) -> int:
        return int(min(self.covered.shape))


def nuclei_fields(
    folder: Path,
    split: Split,
    seed: int,
    number: int,
    instances: str | None = None,
    smallest: int = convert.SMALLEST_NUCLEUS,
) -> Iterator[Sample]:
    """Questions on fields of a split, ``number`` less those of more than `MOST`.

    Parameters
    ----------
    folder : Path
        With an ``index.csv``; see `nuclei` and `nuclei_instances`.
    split : {"train", "val", "test"}
    seed, number : int
    instances : str, optional
        Column of instance maps instead of masks. Rows without a split train.
    smallest : int
        Pixels of a nucleus, at the least.
    """
    if not number:  # no need to look at any mask
        return
    rng = Random(f"{seed}-fields")
    rows = [r for r in convert.read_table(folder / "index.csv") if r.get("split", "train") == split]
    labelled = []
    for row in rows:
        mask = folder / row[instances or "mask"]
        covered, centres = convert.read_nuclei(mask, instances is not None, smallest)
        labelled.append(_Labelled(str(folder / row["image"]), str(mask), covered, centres))
    for _ in range(number if labelled else 0):
        yield from _field(rng, labelled, split)


def _field(rng: Random, labelled: Sequence[_Labelled], split: Split) -> Iterator[Sample]:
    first = rng.choice(labelled)
    side = rng.choice([s for s in SIDES if s <= first.least] or [first.least])
    others = [one for one in labelled if one.least >= side]
    columns, rows = (rng.randint(2, max(2, WIDEST // side)) for _ in range(2))
    alike = rng.random() < ALIKE
    images, masks, parts = [], [], []
    centres: list[convert.Point] = []
    for top in range(0, rows * side, side):
        cut = [_cut(rng, first if alike else rng.choice(others), side) for _ in range(columns)]
        images.append(tuple(name_crop(one.image, x, y, side, side) for one, x, y in cut))
        masks.append(tuple(name_crop(one.mask, x, y, side, side) for one, x, y in cut))
        parts.append([one.covered[y : y + side, x : x + side] for one, x, y in cut])
        for column, (one, x, y) in enumerate(cut):
            inside = convert.centres_inside(one.centres, (x, y, side, side))
            centres += [(cx - x + column * side, cy - y + top) for cx, cy in inside]
    if len(centres) > MOST:
        return
    facts = Facts(known=("nucleus",), nuclei=tuple(masks), centres=tuple(centres))
    about = convert.Questions(rng, split, tuple(images), "nuclei_fields", facts)
    yield from convert.nuclei_questions(about, np.block(parts), len(centres))


def _cut(rng: Random, one: _Labelled, side: int) -> tuple[_Labelled, int, int]:
    """A picture, and the left upper corner of a square in it."""
    height, width = one.covered.shape
    return one, rng.randint(0, width - side), rng.randint(0, height - side)
