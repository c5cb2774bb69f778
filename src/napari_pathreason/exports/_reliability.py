"""How far an answer may be relied on, in the same words and numbers in every file that leaves.

Where an answer stands as text, `answer_line` is what is written: a guess never stands there alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from napari_pathreason.types import Level, Reliability

NO_ANSWER = "No reliable answer"
UNREADABLE = "The model's reply could not be read"
UNRELIABLE_CLASS = "Unreliable"
"""Class above a finding's own that QuPath shows for one without a reliable answer."""
RANK: dict[Level, int] = {"none": 0, "uncertain": 1, "reliable": 2}
"""Levels as the numbers that a measurement can hold, the worst first."""
MEASUREMENT = "Reliability"
LEVEL_KEY, REASONS_KEY = "reliability", "reasons"
"""Metadata keys of an object, and columns of tables and layers."""
_BETWEEN = " | "
_LEVELS: dict[str, Level] = {name: name for name in get_args(Level)}
_SENTENCE: dict[Level, str] = {
    "reliable": "Reliable",
    "uncertain": "Uncertain",
    "none": "Not reliable",
}


def reliability_line(reliability: Reliability) -> str:
    """The level and what speaks against the answer, such as ``uncertain: low confidence``."""
    return ": ".join(filter(None, (reliability.level, "; ".join(reliability.reasons))))


def reliability_sentence(reliability: Reliability) -> str:
    """The same for people, such as ``Not reliable: almost no tissue in this region``."""
    level = _SENTENCE[reliability.level]
    return ": ".join(filter(None, (level, "; ".join(reliability.reasons))))


def is_answer(text: str, reliability: Reliability) -> bool:
    """Whether a text is an answer; else it is a guess, or nothing that could be read."""
    return bool(text) and reliability.level != "none"


def headline(text: str, reliability: Reliability) -> str:
    """What stands large: the answer, or that there is none."""
    return text if is_answer(text, reliability) else NO_ANSWER


def guess(text: str, reliability: Reliability) -> str:
    """What stands small below a headline that is no answer; empty below one that is."""
    if is_answer(text, reliability):
        return ""
    return f"Guess: {text}" if text else UNREADABLE


def answer_line(text: str, reliability: Reliability) -> str:
    """Headline and guess in one, such as ``No reliable answer (guess: 2 tumour)``."""
    small = guess(text, reliability)
    return f"{NO_ANSWER} ({small[0].lower()}{small[1:]})" if small else text


def joined_reasons(reliability: Reliability) -> str:
    """Reasons as one text that `to_reliability` takes apart again; a ``|`` in one becomes ``/``."""
    return _BETWEEN.join(reason.replace("|", "/") for reason in reliability.reasons)


def to_reliability(level: object, reasons: object) -> Reliability | None:
    """The value behind a level and `joined_reasons`; None where the level is none that we know."""
    if not isinstance(level, str) or level not in _LEVELS:
        return None
    parts = reasons.split(_BETWEEN) if isinstance(reasons, str) and reasons else ()
    return Reliability(_LEVELS[level], tuple(parts))


def metadata_of(reliability: Reliability) -> dict[str, str]:
    """What an object of a file says of it in words."""
    metadata = {LEVEL_KEY: reliability.level, REASONS_KEY: joined_reasons(reliability)}
    return {name: text for name, text in metadata.items() if text}


def reliability_in(metadata: Mapping[str, str]) -> Reliability | None:
    """What `metadata_of` wrote; None where a file says nothing of it."""
    return to_reliability(metadata.get(LEVEL_KEY), metadata.get(REASONS_KEY))
