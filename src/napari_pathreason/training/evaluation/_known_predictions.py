"""Answers that an evaluation has already: read back from the record of each question.

Only what was asked, answered and measured is taken from a record. Scores are reckoned anew
(`Scorer.again`), since the rules by which they were given may have changed.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_pathreason.errors import QueryError

from ._prediction import Prediction, from_line
from ._scoring import Scorer


@dataclass(frozen=True, slots=True)
class Known:
    """Items of an earlier evaluation, parsed and scored anew.

    ``lacking`` says in one line what kept items lack and how many were left out for it; empty
    where nothing is missing.
    """

    items: tuple[Prediction, ...] = ()
    lacking: str = ""

    @property
    def baseline(self) -> list[Prediction]:
        """Answers of the baseline; none unless it was asked everything.

        It has no answer to some kinds of questions, so that it is known to be whole only once the
        model has been asked, which comes behind it.
        """
        if not any(item.condition == "model" for item in self.items):
            return []
        return [item for item in self.items if item.condition == "baseline"]


def read_known(file: Path | None, scorer: Scorer) -> Known:
    """Answers to the questions of ``scorer`` out of a file of ``evaluate --items``.

    Parameters
    ----------
    file : Path or None
        JSONL, packed where its name ends in ``.gz``.
    scorer : Scorer
        Of what is asked now; the file must be of the same questions, and of the same model, which
        it does not tell.

    Raises
    ------
    QueryError
        If the file cannot be read, or is of other questions.
    """
    if file is None:
        return Known()
    try:
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8")
        kept = [from_line(line) for line in text.splitlines()]
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        raise QueryError(
            f"{file.name} is no record of `pathreason evaluate --items`; name such a file, or "
            "leave --known out"
        ) from None
    if not all(_asks_the_same(item, scorer) for item in kept):
        raise QueryError(
            f"{file.name} is of other questions; evaluate with the same --data, --per-topic "
            "and --seed, or leave --known out"
        )
    whole = [item for item in kept if not item.lacks]
    scored = {
        place: scorer.again(whole[place])  # all answers to a question at once: its labels are read
        for place in sorted(range(len(whole)), key=lambda place: whole[place].index)
    }
    return Known(tuple(scored[place] for place in range(len(whole))), _lacking(file.name, kept))


def _asks_the_same(item: Prediction, scorer: Scorer) -> bool:
    if item.index >= len(scorer.samples):
        return False
    sample = scorer.samples[item.index]
    if item.question is None:
        return sample.kind == item.topic
    asked = sample.kind, sample.question, sample.choices
    return asked == (item.topic, item.question, item.choices)


def _lacking(name: str, kept: Sequence[Prediction]) -> str:
    parts = list(dict.fromkeys(part for item in kept for part in item.lacks))
    if not parts:
        return ""
    number = sum(bool(item.lacks) for item in kept)
    return (
        f"{name}: {number:,} of {len(kept):,} kept answers lack the {', '.join(parts)} and cannot "
        "be scored anew; they are asked for again"
    )
