"""How sure a model was of an answer, from the probabilities of the tokens that it wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from napari_pathreason.types import Answer, Calibration, Detection, Query, Scale, WrittenToken

from ._chances import Allowed, leading_to, scaled, token_chance

OPENING, CLOSING = "<answer>", "</answer"
_BOX = re.compile(r"\{[^{}]*\}")
_NUMBER = re.compile(r"\s*-?[\d.]+\s*")


@dataclass(frozen=True, slots=True)
class Chances:
    """Probabilities as the model gave them.

    ``answer`` is None where it is not told, or where there are ``boxes`` instead, one for each
    (empty where they are not told). ``rationale`` is that of the least sure token before the
    answer: the answer's is given the rationale, and follows from it where that states it.
    """

    form: Literal["choice", "open", "box"]
    answer: float | None = None
    boxes: tuple[float, ...] = ()
    rationale: float = 1.0


@dataclass(frozen=True, slots=True)
class Confidence:
    """Of the answer, and of each of its boxes in order; None and empty where it is not told."""

    answer: float | None = None
    boxes: tuple[float, ...] = ()


def confidence(chances: Chances, calibration: Calibration | None = None) -> Confidence:
    """Probabilities as they are told; without a calibration the model is taken at its word.

    Of an answer with boxes it is their mean: the share of them that is expected to be right.
    """
    scale = Scale() if calibration is None else getattr(calibration, chances.form)
    doubt = chances.rationale if scale.rationale else 1.0
    if chances.boxes:
        boxes = tuple(scaled(chance * doubt, scale) for chance in chances.boxes)
        return Confidence(sum(boxes) / len(boxes), boxes)
    return Confidence(None if chances.answer is None else scaled(chances.answer * doubt, scale))


def confidence_of(finds: Sequence[Detection]) -> Confidence:
    """Of an answer that keeps these finds alone; not told where none is left."""
    boxes = tuple(find.confidence for find in finds if find.confidence is not None)
    return Confidence(sum(boxes) / len(boxes) if boxes else None, boxes)


def read_chances(written: Sequence[WrittenToken], query: Query, answer: Answer) -> Chances:
    """Probability of an answer given its rationale, or of each of its boxes.

    Words: the product over their tokens, the one that ends them included. Where one of the given
    choices was written, only tokens that go on to one of them count: the choices are then weighed
    against each other alone, and one of many tokens is not less sure than one of a single token.

    Boxes: that one begins here at all, times its label. A side is a number out of many that would
    do as well, so its probability says little of the box. No boxes at all are words.

    Parameters
    ----------
    written : sequence of WrittenToken
        `Completion.written`.
    query : Query
    answer : Answer
        As parsed from the same text.
    """
    text = _Text(written)
    form: Literal["open", "box"] = "box" if query.task == "detection" else "open"
    if text.end < 0 or not answer.text:
        return Chances(form)
    doubt = text.least_before()
    if answer.boxes:
        spans = [(text.start + m.start(), text.start + m.end()) for m in _BOX.finditer(text.body)]
        whole = len(spans) == len(answer.boxes)  # else some were left out, or written otherwise
        boxes = tuple(_of_box(text, *span) for span in spans) if whole else ()
        return Chances(form, boxes=boxes, rationale=doubt)
    if form == "box":
        return Chances(form, _of_words(text) if answer.well_formed else None, rationale=doubt)
    forms = tuple(option.strip().casefold() + CLOSING for option in query.options)
    if text.body.strip().casefold() + CLOSING in forms:
        return Chances("choice", _of_words(text, forms), rationale=doubt)
    return Chances(form, _of_words(text), rationale=doubt)


class _Text:
    """Written tokens with their places; ``start`` and ``end`` (-1: none) bound the answer."""

    def __init__(self, written: Sequence[WrittenToken]) -> None:
        self.whole = "".join(token.text for token in written)
        self.opened = self.whole.rfind(OPENING)
        self.start = self.opened + len(OPENING)
        self.end = self.whole.find(CLOSING, self.start) if self.opened >= 0 else -1
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

    def least_before(self) -> float:
        """Chance of the least sure token that ends before the answer's own frame."""
        before = (t for at, t in self.placed if at + len(t.text) <= self.opened)
        return min((token_chance(token) for token in before), default=1.0)


def _of_words(text: _Text, forms: Sequence[str] = ()) -> float:
    chances = []
    for at, token in text.tokens(text.start, text.end + 1):
        allowed: Allowed | None = None
        if forms:
            frame = token.text[: max(text.start - at, 0)]  # letters that still end <answer>
            allowed = leading_to(forms, text.whole[text.start : max(at, text.start)], frame)
        chances.append(token_chance(token, allowed))
    return prod(chances)


def _of_box(text: _Text, start: int, end: int) -> float:
    """The closing token is left out: it decides whether another box follows."""
    tokens = [token for at, token in text.tokens(start, end) if at + len(token.text) < end]
    return prod(token_chance(token) for token in tokens if not _NUMBER.fullmatch(token.text))
