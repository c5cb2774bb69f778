"""Wide fields of nuclei: crops of labelled pictures side by side, to train and tune on.

Pictures with masks show a tenth of a millimetre; a region that a user marks on a slide often shows
half of one, with hundreds of nuclei, and nothing else teaches a model to count beyond a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.training.samples import Facts, Sample, Split, name_crop

from ._nuclei import SMALLEST, Point, centres_inside, nuclei_questions, read_nuclei
from ._tables import read_table

WIDEST = 1024
"""Side of a field in level-0 pixels, at the most."""
SIDES = (96, 128, 192, 256, 384, 512)
"""Sides of its crops; those of one field are as large as one another."""
MOST = 1000
"""Nuclei of a field; beyond it there are no words for their number."""
ALIKE = 0.4
"""Share of fields whose crops are all of one picture: tissue of one kind, as in a slide."""


@dataclass(frozen=True, slots=True)
class _Labelled:
    image: str
    mask: str
    covered: NDArray[np.bool_]
    centres: Sequence[Point]

    @property
    def least(self) -> int:
        return min(self.covered.shape)


def nuclei_fields(
    folder: Path,
    split: Split,
    seed: int,
    number: int,
    instances: str | None = None,
    smallest: int = SMALLEST,
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
    rows = [r for r in read_table(folder / "index.csv") if r.get("split", "train") == split]
    labelled = []
    for row in rows:
        mask = folder / row[instances or "mask"]
        covered, centres = read_nuclei(mask, instances is not None, smallest)
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
    centres: list[Point] = []
    for top in range(0, rows * side, side):
        cut = [_cut(rng, first if alike else rng.choice(others), side) for _ in range(columns)]
        images.append(tuple(name_crop(one.image, x, y, side, side) for one, x, y in cut))
        masks.append(tuple(name_crop(one.mask, x, y, side, side) for one, x, y in cut))
        parts.append([one.covered[y : y + side, x : x + side] for one, x, y in cut])
        for column, (one, x, y) in enumerate(cut):
            inside = centres_inside(one.centres, (x, y, side, side))
            centres += [(cx - x + column * side, cy - y + top) for cx, cy in inside]
    if len(centres) > MOST:
        return
    common: dict[str, Any] = {
        "image": tuple(images),
        "facts": Facts(known=("nucleus",), nuclei=tuple(masks), centres=tuple(centres)),
        "source": "nuclei_fields",
    }
    yield from nuclei_questions(rng, split, common, np.block(parts), len(centres))


def _cut(rng: Random, one: _Labelled, side: int) -> tuple[_Labelled, int, int]:
    """A picture, and the left upper corner of a square in it."""
    height, width = one.covered.shape
    return one, rng.randint(0, width - side), rng.randint(0, height - side)
