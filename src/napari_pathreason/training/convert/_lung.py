"""Lung tiles of three kinds; the split is by source tile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from napari_pathreason.training.samples import Area, Facts, Sample, Split

from . import _wording as wording
from ._alien import LUNG_KINDS as KINDS, cannot_tell, offered
from ._tables import read_table

SIDE = 224
CLASSES = ("adenocarcinoma", "squamous cell carcinoma", "normal lung")


def lung(folder: Path, split: Split, seed: int) -> Iterator[Sample]:
    """Of each tile its subtype, and whether it is normal."""
    rng = Random(f"{seed}-{split}")
    for row in read_table(folder / "labels.csv"):
        if row["split"] != split:
            continue
        kind = row["label"].replace("_", " ")
        yield from lung_questions(rng, split, str(folder / row["image"]), kind, SIDE)


def lung_questions(rng: Random, split: Split, file: str, kind: str, side: int) -> Iterator[Sample]:
    """Of one tile of ``side`` level-0 pixels its subtype, and whether it is normal."""
    fact = Area(label=CLASSES[KINDS.index(kind)], corners=(0, 0, side, side))
    common: dict[str, Any] = {
        "image": file,
        "facts": Facts(known=CLASSES, areas=(fact,)),
        "source": "lung",
    }
    question, phrasing = wording.draw(rng, wording.LUNG_KIND, split)
    yield Sample(
        **common,
        task="subtyping",
        question=question,
        phrasing=phrasing,
        choices=offered(rng, tuple(rng.sample(KINDS, 3))),
        answer=kind,
        topic="lung subtype",
    )
    question, phrasing = wording.draw(rng, wording.LUNG_NORMAL, split)
    yield Sample(
        **common,
        task="vqa",
        question=question,
        phrasing=phrasing,
        choices=offered(rng, ("yes", "no")),
        answer="yes" if kind == "normal" else "no",
        topic="lung normal or not",
    )
    yield from cannot_tell(rng, split, "lung", common)
