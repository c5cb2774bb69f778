"""How sure a model was of an answer, from the probabilities of the tokens that it wrote.

Given the rationale that stands before it: another rationale might have led elsewhere, and what
that costs is left to the temperatures, which are fitted on questions whose answers are known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from napari_pathreason._types import Answer, Calibration, Query, WrittenToken

from ._chances import Allowed, leading_to, token_chance

OPENING_ENDS, CLOSING = ">", "</answer"
_BOX = re.compile(r"\{[^{}]*\}")
_NUMBER = re.compile(r"\s*-?[\d.]+\s*")


@dataclass(frozen=True, slots=True)
class Confidence:
    """Of the answer, and of each of its boxes in order; None where it is not told."""

    answer: float | None = None
    boxes: tuple[float | None, ...] = ()


def confidence(
    written: Sequence[WrittenToken],
    query: Query,
    answer: Answer,
    calibration: Calibration | None = None,
) -> Confidence:
    """How sure a model was of what it wrote.

    Parameters
    ----------
    written : sequence of WrittenToken
        `Completion.written`.
    query : Query
    answer : Answer
        As parsed from the same text.
    calibration : Calibration, optional
        Without one the model is taken at its word.
    """
    heat = calibration or Calibration()
    text = _Text(written)
    if text.end < 0:
        return Confidence()
    if query.task == "detection":
        return _of_boxes(text, answer, heat.box)
    if not answer.text:
        return Confidence()
    forms = tuple(option.strip().casefold() + CLOSING for option in query.options)
    closed = text.body.strip().casefold() + CLOSING in forms
    return Confidence(
        _of_words(text, forms if closed else (), heat.choice if closed else heat.open)
    )


class _Text:
    """Written tokens with their places; ``start`` and ``end`` (-1: none) bound the answer."""

    def __init__(self, written: Sequence[WrittenToken]) -> None:
        self.whole = "".join(token.text for token in written)
        self.start = self.whole.find(OPENING_ENDS) + 1
        self.end = self.whole.find(CLOSING, self.start) if self.start else -1
        self.placed: list[tuple[int, WrittenToken]] = []
        at = 0
        for token in written:
            self.placed.append((at, token))
            at += len(token.text)

    @property
    def body(self) -> str:
        return self.whole[self.start : self.end]

    def tokens(self, start: int, end: int) -> list[tuple[int, WrittenToken]]:
        """Tokens, with their places, that hold a letter from ``start`` up to ``end``."""
        return [(at, t) for at, t in self.placed if at < end and at + len(t.text) > start]


def _of_words(text: _Text, forms: Sequence[str], temperature: float) -> float:
    """The product over the answer's tokens, the one that ends it included.

    Where one of the given choices was written, only tokens that go on to one of them count: the
    choices are then weighed against each other alone, and one of many tokens is not less sure
    than one of a single token.
    """
    chances = []
    for at, token in text.tokens(text.start, text.end + 1):
        allowed: Allowed | None = None
        if forms:
            frame = token.text[: max(text.start - at, 0)]  # letters that still end <answer>
            allowed = leading_to(forms, text.whole[text.start : max(at, text.start)], frame)
        chances.append(token_chance(token, temperature, allowed))
    return prod(chances)


def _of_boxes(text: _Text, answer: Answer, temperature: float) -> Confidence:
    """Of a box: that one begins here at all, and that it has this label; not where its sides lie.

    A side is written as a number out of many that would do as well, so its probability says
    little. No boxes: the probability of the answer's tokens, as of any words.
    """
    if not answer.boxes:
        return Confidence(_of_words(text, (), temperature) if answer.well_formed else None)
    spans = [(text.start + m.start(), text.start + m.end()) for m in _BOX.finditer(text.body)]
    if len(spans) != len(answer.boxes):  # some were left out, or are written in another form
        return Confidence(None, (None,) * len(answer.boxes))
    boxes = tuple(_of_box(text, start, end, temperature) for start, end in spans)
    return Confidence(sum(boxes) / len(boxes), boxes)


def _of_box(text: _Text, start: int, end: int, temperature: float) -> float:
    """The closing token is left out: it decides whether another box follows."""
    tokens = [token for at, token in text.tokens(start, end) if at + len(token.text) < end]
    return prod(
        token_chance(token, temperature) for token in tokens if not _NUMBER.fullmatch(token.text)
    )
