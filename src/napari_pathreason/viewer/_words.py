"""Answers in words, as docks and layers say them: how reliable they are, and what they cost.

A guess is never shown as an answer, and a reply that could not be read never as no detection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from napari_pathreason.exports import NO_ANSWER, UNREADABLE, answer_line
from napari_pathreason.types import Detection, Level, Reliability, Result

LEVELS: tuple[Level, ...] = get_args(Level)
LEVEL_WORDS: dict[Level, str] = {
    "reliable": "Reliable",
    "uncertain": "Uncertain",
    "none": NO_ANSWER,
}
"""What stands before an answer."""
CONFIDENCE_WORDS = ((0.8, "high"), (0.5, "medium"), (0.0, "low"))
"""Least confidence, and its word."""
TAGS: dict[Level, str] = {"reliable": "", "uncertain": "?", "none": "unreliable"}
"""What stands behind the name of a box, or the number of an answer, on the canvas."""


def reliability_words(reliability: Reliability) -> str:
    """Level and reasons, such as ``No reliable answer: not trained on: necrosis``."""
    words = LEVEL_WORDS[reliability.level]
    return f"{words}: {'; '.join(reliability.reasons)}" if reliability.reasons else words


def answer_words(result: Result) -> str:
    """What the answer says, whatever it is worth; never the raw text of a reply."""
    if result.answer.readable:
        return result.answer.text
    if result.query.task == "detection":
        return "Unknown: the reply could not be read"
    return UNREADABLE


def short_answer(result: Result) -> str:
    """An answer with its reliability, as lists show it: ``No reliable answer (guess: yes)``."""
    if not result.answer.readable:
        return answer_words(result)
    line = answer_line(result.answer.text, result.reliability)
    return f"{line} (uncertain)" if result.reliability.level == "uncertain" else line


def shown_detections(result: Result) -> tuple[Detection, ...]:
    """Boxes of an answer; none where it could not be read."""
    return result.detections if result.answer.readable else ()


def cost_words(result: Result) -> str:
    """What an answer cost, in short: ``34 of 6,141 tokens (1 %), 2.2 s``; all counted."""
    tokens = result.tokens
    of = ""
    if tokens.native_windows:
        share = tokens.spent / tokens.native_windows
        rounded = "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"
        of = f" of {tokens.native_windows:,} tokens ({rounded} %)"
    return f"{tokens.spent:,}{of or ' tokens'}, {sum(result.seconds.values()):.1f} s"


def confidence_words(result: Result) -> str:
    """The confidence in a word and a number: ``Confidence: low (15 %)``; empty where there is none.

    ``not calibrated`` stands behind it where nobody has measured it on known answers.
    """
    confidence = result.confidence
    if confidence is None:
        return ""
    word = next(word for least, word in CONFIDENCE_WORDS if confidence >= least)
    known = "" if result.model.calibration is not None else ", not calibrated"
    return f"Confidence: {word} ({confidence:.0%}{known})".replace("%", "\N{NO-BREAK SPACE}%")


def totals_line(results: Iterable[Result], before: Iterable[Result] = ()) -> str:
    """Questions, visual tokens (the allocator's counted), saved tokens and seconds in a line.

    Parameters
    ----------
    results : iterable of Result
    before : iterable of Result
        Those that others went on from, once for each: what they read is counted in these as well.
    """
    every = list(results)
    if not every:
        return "Session: no question yet."
    twice = list(before)
    spent = sum(r.tokens.spent for r in every) - sum(r.tokens.spent for r in twice)
    saved = sum(r.tokens.saved for r in every) - sum(r.tokens.saved for r in twice)
    seconds = sum(sum(result.seconds.values()) for result in every)
    questions = "1 question" if len(every) == 1 else f"{len(every):,} questions"
    return f"Session: {questions}, {spent:,} visual tokens, {saved:,} saved, {seconds:.1f} s."


def planned_line(result: Result) -> str:
    """Planned against realised tokens of one answer."""
    tokens = result.tokens
    planned = "native" if tokens.requested is None else f"{tokens.requested:,}"
    of = f"{tokens.realised:,} of {tokens.native_windows:,}"
    return f"Last answer: {planned} planned, {of} realised."
