"""Questions that a picture cannot answer: asked of tissue that their subject is not about."""

from __future__ import annotations

from random import Random
from typing import Any

from napari_pathreason.training.samples import Sample, Split

from . import _wording as wording

CANNOT_TELL = "cannot tell"
TOPIC = "cannot tell"
SHARE = 0.35
"""Share of pictures that are asked such a question, and of the answerable questions of the same
kinds that offer the choice as well."""

LUNG_KINDS = ("adenocarcinoma", "squamous cell carcinoma", "normal")
CELLS = ("white cells", "platelets", "red cells")


def cannot_tell(rng: Random, split: Split, subject: str, common: dict[str, Any]) -> list[Sample]:
    """Now and then a question about another subject than the picture's.

    Parameters
    ----------
    subject : {"lymph", "lung", "blood", "nuclei"}
        What the picture shows.
    common : dict
        Fields of `Sample` that name the picture.
    """
    if rng.random() >= SHARE:
        return []
    about = rng.choice([name for name in ("lymph", "lung", "blood") if name != subject])
    choices: tuple[str, ...] = ()
    if about == "lymph":
        asked = wording.draw(rng, wording.TUMOUR_PRESENT, split)
        choices = ("yes", "no", CANNOT_TELL)
    elif about == "lung":
        asked = wording.draw(rng, wording.LUNG_KIND, split)
        choices = tuple(rng.sample((*LUNG_KINDS, CANNOT_TELL), 4))
    else:
        asked = wording.draw(rng, wording.COUNT, split, rng.choice(CELLS))
    return [
        Sample(
            **common,
            task="subtyping" if about == "lung" else "vqa",
            question=asked[0],
            phrasing=asked[1],
            choices=choices,
            answer=CANNOT_TELL,
            topic=TOPIC,
        )
    ]


def offered(rng: Random, choices: tuple[str, ...]) -> tuple[str, ...]:
    """The choices of an answerable question, at times with "cannot tell" among them."""
    if rng.random() >= SHARE:
        return choices
    return (*choices, CANNOT_TELL)
