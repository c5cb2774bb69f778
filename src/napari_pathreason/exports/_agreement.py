"""How far readers agree with each other and with the model, on answers that they have assessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from napari_pathreason.tasks import form_of, same_choice
from napari_pathreason.types import Query

from ._answer_table import RESEARCH_ONLY, AnswerRow
from ._tables import plain, write_csv

MODEL = "model"
"""What stands in the place of a reader where one is held against the model."""
AGREEMENT = ("first", "second", "answers", "agreed", "percent", "kappa", "use")
ONE = "one reader"
"""A reader who has given no name."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two readers, or a reader and the model.

    Parameters
    ----------
    first, second : str
        Names; ``second`` is `MODEL` where the model is one of them.
    answers : int
        That both have assessed.
    agreed : int
        Of them those on which they say the same; with the model those that the reader accepts.
    kappa : float or None
        Cohen's, -1 to 1: agreement beyond what would be expected at random. None where it has no
        value: nothing varies, or of the model where an answer that is rejected leaves open what
        would be right.

    References
    ----------
    Cohen 1960, A coefficient of agreement for nominal scales.
    """

    first: str
    second: str
    answers: int
    agreed: int
    kappa: float | None

    @property
    def share(self) -> float:
        """Of the answers that both have assessed, those on which they agree, 0 to 1."""
        return self.agreed / self.answers


def agreement_of(rows: Iterable[AnswerRow]) -> list[Agreement]:
    """Every pair of readers who have assessed the same answers, then each reader with the model.

    Readers are held against each other by what they say: accepted or rejected. With the model
    accepting is agreeing; a kappa needs to know what else the reader would have said, which is the
    other choice where there are two, such as yes and no.
    """
    every = list(rows)
    readers = sorted({reader for row in every for reader in row.reviews})
    found = []
    for first, second in combinations(readers, 2):
        both = [
            (row.reviews[first], row.reviews[second])
            for row in every
            if first in row.reviews and second in row.reviews
        ]
        if both:
            agreed = sum(a == b for a, b in both)
            found.append(Agreement(first, second, len(both), agreed, cohens_kappa(both)))
    for reader in readers:
        assessed = [row for row in every if reader in row.reviews]
        accepted = sum(row.reviews[reader] == "accepted" for row in assessed)
        pairs = [_of_model(row, row.reviews[reader] == "accepted") for row in assessed]
        known = [pair for pair in pairs if pair is not None]
        kappa = cohens_kappa(known) if len(known) == len(pairs) else None
        found.append(Agreement(reader, MODEL, len(assessed), accepted, kappa))
    return found


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Agreement of two raters beyond what would be expected at random.

    Parameters
    ----------
    pairs : sequence of (str, str)
        What the one and the other say of each thing.

    Returns
    -------
    float or None
        1 is full agreement, 0 that of guesses; None where both say one thing alone, or nothing.
    """
    count = len(pairs)
    if not count:
        return None
    observed = sum(a == b for a, b in pairs) / count
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    at_random = sum(first[name] * second[name] for name in first) / count**2
    return None if at_random >= 1 else (observed - at_random) / (1 - at_random)


def write_agreement(path: str | Path, agreement: Iterable[Agreement]) -> int:
    """Write a row for each pair; result and errors as of `write_csv`."""
    return write_csv(path, AGREEMENT, map(_cells, agreement), "no answer was assessed by a reader")


def agreement_line(agreement: Sequence[Agreement]) -> str:
    """Agreement in a line, such as ``anna and bert 8 of 9 (89 %, kappa 0.73)``.

    Of one reader alone that with the model, where it says more than how many were accepted; empty
    where there is nothing to say.
    """
    pairs = [one for one in agreement if one.second != MODEL]
    words = [f"{_name(one.first)} and {_name(one.second)} {_share(one)}" for one in pairs]
    words += [
        f"{_name(one.first)} and the model {_share(one)}"
        for one in agreement
        if one.second == MODEL and (pairs or one.kappa is not None)
    ]
    return "; ".join(words)


def _of_model(row: AnswerRow, accepted: bool) -> tuple[str, str] | None:
    """What the reader and the model say; None where the reader's own answer is not known."""
    options, answer = _two_options(row.result.query), row.result.answer.text
    places = [place for place, option in enumerate(options) if same_choice(option, answer)]
    if len(places) != 1:
        return None
    own = places[0] if accepted else 1 - places[0]
    return options[own], options[places[0]]


def _two_options(query: Query) -> tuple[str, ...]:
    """The choices of a question that has two; none of any other."""
    if len(query.options) == 2 and query.task != "detection":
        return query.options
    return ("yes", "no") if not query.options and form_of(query) == "yes/no" else ()


def _name(reader: str) -> str:
    return reader or ONE


def _share(one: Agreement) -> str:
    kappa = "" if one.kappa is None else f", \N{GREEK SMALL LETTER KAPPA} {one.kappa:.2f}"
    return f"{one.agreed:,} of {one.answers:,} ({one.share:.0%}{kappa})".replace("%", " %")


def _cells(one: Agreement) -> list[str]:
    return [
        plain(_name(one.first)),
        plain(_name(one.second)),
        str(one.answers),
        str(one.agreed),
        f"{100 * one.share:.1f}",
        "" if one.kappa is None else f"{one.kappa:.4f}",
        RESEARCH_ONLY,
    ]
