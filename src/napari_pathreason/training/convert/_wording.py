"""Phrasings of each question; several for every kind, so that the wording itself teaches little."""

from __future__ import annotations

from random import Random

TUMOUR_PRESENT = (
    "Is there tumour in this field?",
    "Does this lymph node tissue contain tumour?",
    "Do you see metastasis here?",
    "Is tumour present?",
    "Any tumour cells in this region?",
)
TUMOUR_KIND = (
    "Which label fits this lymph node tissue?",
    "Classify this lymph node tissue.",
    "What does this lymph node tissue show?",
)
TUMOUR_WHERE = (
    "Where is the tumour?",
    "In which part of the field does the tumour lie?",
    "Which part shows tumour?",
)
LUNG_KIND = (
    "Which subtype does this lung tissue show?",
    "What type of lung tissue is this?",
    "Classify this lung tissue.",
    "Which lung subtype is it?",
)
LUNG_NORMAL = (
    "Is this lung tissue normal?",
    "Is this normal lung?",
    "Does this lung tissue look normal?",
)
COUNT = (
    "How many {} are there?",
    "How many {} do you see?",
    "Count the {}.",
    "What is the number of {} in this region?",
)
PRESENCE = (
    "Are there {} here?",
    "Do you see any {}?",
    "Are {} present?",
    "Does this region contain {}?",
)
NUCLEI_DENSE = (
    "Are the nuclei dense or sparse?",
    "How closely packed are the nuclei?",
    "Is this region dense or sparse in nuclei?",
)
NUCLEI_WHERE = (
    "Where are the nuclei most crowded?",
    "In which part are the nuclei most crowded?",
    "Which part holds the most nuclei?",
)
FIND = ("", "", "Find every {}.", "Where is each {}?", "Mark every {}.", "Box each {}.")


def draw(rng: Random, phrasings: tuple[str, ...], name: str = "") -> str:
    """One phrasing, with ``name`` filled in."""
    return rng.choice(phrasings).format(name)
