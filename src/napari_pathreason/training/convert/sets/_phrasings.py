"""Phrasings of questions about published sets: several of a kind, so that words teach little.

Some phrasings of each kind are held out: `test` alone asks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from napari_pathreason.training.samples import Phrasing, Split

HELD_OUT_SHARE = 0.5
"""Share of the questions of `test` that are put in a held-out phrasing."""


@dataclass(frozen=True, slots=True)
class Phrasings:
    """Phrasings of one kind of question; ``{}`` is filled with a name."""

    trained: tuple[str, ...]
    held_out: tuple[str, ...]


TUMOUR_PRESENT = Phrasings(
    (
        "Is there tumour in this field?",
        "Is there any tumour here?",
        "Does this lymph node tissue contain tumour?",
        "Does this region contain tumour?",
        "Do you see metastasis here?",
        "Do you see tumour in this picture?",
        "Is tumour present?",
        "Any tumour cells in this region?",
        "Are there tumour cells in this field?",
    ),
    ("Do you see any tumour in this field?", "Is tumour present in this lymph node?"),
)
TUMOUR_KIND = Phrasings(
    (
        "Which label fits this lymph node tissue?",
        "Classify this lymph node tissue.",
        "What does this lymph node tissue show?",
        "What does this region show?",
        "Which label fits this region?",
    ),
    ("What does this field of lymph node show?", "Classify this region."),
)
LUNG_KIND = Phrasings(
    (
        "Which subtype does this lung tissue show?",
        "What type of lung tissue is this?",
        "Classify this lung tissue.",
        "Which lung subtype is it?",
        "What does this lung tissue show?",
        "Which label fits this lung tissue?",
    ),
    ("Which subtype of lung tissue is this?", "What type does this lung tissue show?"),
)
LUNG_NORMAL = Phrasings(
    (
        "Is this lung tissue normal?",
        "Is this normal lung?",
        "Does this lung tissue look normal?",
        "Is the lung normal here?",
        "Does this region show normal lung?",
    ),
    ("Does this look like normal lung tissue?", "Is this a normal lung?"),
)
COUNT = Phrasings(
    (
        "How many {} are there?",
        "How many {} do you see?",
        "How many {} are in this region?",
        "Count the {}.",
        "Count the {} in this picture.",
        "What is the number of {} in this region?",
        "Number of {}?",
    ),
    ("How many {} does this region contain?", "What is the number of {} here?"),
)
PRESENCE = Phrasings(
    (
        "Are there {} here?",
        "Are there any {}?",
        "Do you see any {}?",
        "Do you see {} in this region?",
        "Are {} present?",
        "Does this region contain {}?",
    ),
    ("Are any {} present here?", "Does this picture contain any {}?"),
)
NUCLEI_DENSE = Phrasings(
    (
        "Are the nuclei dense or sparse?",
        "How closely packed are the nuclei?",
        "Is this region dense or sparse in nuclei?",
        "How dense are the nuclei here?",
    ),
    ("Are nuclei dense or sparse in this region?", "How closely packed are nuclei here?"),
)
NUCLEI_WHERE = Phrasings(
    (
        "Where are the nuclei most crowded?",
        "In which part are the nuclei most crowded?",
        "Which part holds the most nuclei?",
        "Where are most nuclei?",
    ),
    ("Which part is most crowded with nuclei?", "In which part are most of the nuclei?"),
)
FIND = Phrasings(
    (
        "",
        "",
        "Find every {}.",
        "Find each {}.",
        "Where is each {}?",
        "Mark every {}.",
        "Box each {}.",
    ),
    ("Box every {}.", "Mark each {}."),
)

PHRASINGS = (
    TUMOUR_PRESENT,
    TUMOUR_KIND,
    LUNG_KIND,
    LUNG_NORMAL,
    COUNT,
    PRESENCE,
    NUCLEI_DENSE,
    NUCLEI_WHERE,
    FIND,
)
"""All of them."""


def draw_phrasing(
    rng: Random, phrasings: Phrasings, split: Split, name: str = ""
) -> tuple[str, Phrasing]:
    """Choose a phrasing and fill in a name.

    Parameters
    ----------
    rng : random.Random
    phrasings : Phrasings
    split : {"train", "val", "test"}
        Half of the questions of ``test`` are put in a held-out phrasing, the others never.
    name : str
        What stands in place of ``{}``.

    Returns
    -------
    tuple of (str, {"trained", "held_out"})
    """
    if split == "test" and rng.random() < HELD_OUT_SHARE:
        return rng.choice(phrasings.held_out).format(name), "held_out"
    return rng.choice(phrasings.trained).format(name), "trained"
