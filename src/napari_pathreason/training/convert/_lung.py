"""Lung tiles of three kinds; the split is by source tile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from napari_pathreason.training._sample import Area, Facts, Sample, Split

from . import _wording as wording
from ._tables import read_table

SIDE = 224
KINDS = ("adenocarcinoma", "squamous cell carcinoma", "normal")
CLASSES = ("adenocarcinoma", "squamous cell carcinoma", "normal lung")


def lung(folder: Path, split: Split, seed: int) -> Iterator[Sample]:
    """Subtyping for most tiles, "is it normal" for the rest."""
    rng = Random(f"{seed}-{split}")
    for row in read_table(folder / "labels.csv"):
        if row["split"] != split:
            continue
        kind = row["label"].replace("_", " ")
        fact = Area(label=CLASSES[KINDS.index(kind)], corners=(0, 0, SIDE, SIDE))
        common: dict[str, Any] = {
            "image": str(folder / row["image"]),
            "facts": Facts(known=CLASSES, areas=(fact,)),
            "source": "lung",
        }
        if rng.random() < 0.8:
            yield Sample(
                **common,
                task="subtyping",
                question=wording.draw(rng, wording.LUNG_KIND),
                choices=tuple(rng.sample(KINDS, 3)),
                answer=kind,
                topic="lung subtype",
            )
        else:
            yield Sample(
                **common,
                task="vqa",
                question=wording.draw(rng, wording.LUNG_NORMAL),
                choices=("yes", "no"),
                answer="yes" if kind == "normal" else "no",
                topic="lung normal or not",
            )
