"""How sure a model was of an answer, from the probabilities of the tokens that it wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from napari_pathreason.types import Answer, Calibration, Detection, Query, Scale, TokenLogprobs

from ._probabilities import Allowed, leading_to, scaled, token_probability

OPENING, CLOSING = "<answer>", "</answer"
_BOX = re.compile(r"\{[^{}]*\}")
_NUMBER = re.compile(r"\s*-?[\d.]+\s*")


@dataclass(frozen=True, slots=True)
class Probabilities:
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


def confidence(probabilities: Probabilities, calibration: Calibration | None = None) -> Confidence:
    """Probabilities as they are told; without a calibration the model is taken at its word.

    Of an answer with boxes it is their mean: the share of them that is expected to be right.
    """
    scale = Scale() if calibration is None else getattr(calibration, probabilities.form)
    doubt = probabilities.rationale if scale.rationale else 1.0
    if probabilities.boxes:
        boxes = tuple(scaled(probability * doubt, scale) for probability in probabilities.boxes)
        return Confidence(sum(boxes) / len(boxes), boxes)
    return Confidence(
        None if probabilities.answer is None else scaled(probabilities.answer * doubt, scale)
    )


def confidence_of(detections: Sequence[Detection]) -> Confidence:
    """Of an answer that keeps these finds alone; not told where none is left."""
    boxes = tuple(find.confidence for find in detections if find.confidence is not None)
    return Confidence(sum(boxes) / len(boxes) if boxes else None, boxes)


def read_probabilities(
    written: Sequence[TokenLogprobs], query: Query, answer: Answer
) -> Probabilities:
    """Probability of an answer given its rationale, or of each of its boxes.

    Words: the product over their tokens, the one that ends them included. Where one of the given
    choices was written, only tokens that go on to one of them count: the choices are then weighed
    against each other alone, and one of many tokens is not less sure than one of a single token.

    Boxes: that one begins here at all, times its label. A side is a number out of many that would
    do as well, so its probability says little of the box. No boxes at all are words.

    Parameters
    ----------
    written : sequence of TokenLogprobs
        `Completion.written`.
    query : Query
    answer : Answer
        As parsed from the same text.
    """
    text = _Text(written)
    form: Literal["open", "box"] = "box" if query.task == "detection" else "open"
    if text.end < 0 or not answer.text:
        return Probabilities(form)
    doubt = text.least_before()
    if answer.boxes:
        spans = [(text.start + m.start(), text.start + m.end()) for m in _BOX.finditer(text.body)]
        whole = len(spans) == len(answer.boxes)  # else some were left out, or written otherwise
        boxes = tuple(_of_box(text, *span) for span in spans) if whole else ()
        return Probabilities(form, boxes=boxes, rationale=doubt)
    if form == "box":
        return Probabilities(form, _of_words(text) if answer.well_formed else None, rationale=doubt)
    forms = tuple(option.strip().casefold() + CLOSING for option in query.options)
    if text.body.strip().casefold() + CLOSING in forms:
        return Probabilities("choice", _of_words(text, forms), rationale=doubt)
    return Probabilities(form, _of_words(text), rationale=doubt)


class _Text:
    """Written tokens with their places; ``start`` and ``end`` (-1: none) bound the answer."""

    def __init__(self, written: Sequence[TokenLogprobs]) -> None:
        self.whole = "".join(token.text for token in written)
        self.opened = self.whole.rfind(OPENING)
        self.start = self.opened + len(OPENING)
        self.end = self.whole.find(CLOSING, self.start) if self.opened >= 0 else -1
        self.placed: list[tuple[int, TokenLogprobs]] = []
        at = 0
        for token in written:
            self.placed.append((at, token))
            at += len(token.text)

    @property
    def body(self) -> str:
        return self.whole[self.start : self.end]

    def tokens(self, start: int, end: int) -> list[tuple[int, TokenLogprobs]]:
        """Tokens, with their places, that hold a letter from ``start`` up to ``end``."""
        return [(at, t) for at, t in self.placed if at < end and at + len(t.text) > start]

    def least_before(self) -> float:
        """Probability of the least sure token that ends before the answer's own frame."""
        before = (t for at, t in self.placed if at + len(t.text) <= self.opened)
        return min((token_probability(token) for token in before), default=1.0)


def _of_words(text: _Text, forms: Sequence[str] = ()) -> float:
    probabilities = []
    for at, token in text.tokens(text.start, text.end + 1):
        allowed: Allowed | None = None
        if forms:
            frame = token.text[: max(text.start - at, 0)]  # letters that still end <answer>
            allowed = leading_to(forms, text.whole[text.start : max(at, text.start)], frame)
        probabilities.append(token_probability(token, allowed))
    return prod(probabilities)


def _of_box(text: _Text, start: int, end: int) -> float:
    """The closing token is left out: it decides whether another box follows."""
    tokens = [token for at, token in text.tokens(start, end) if at + len(token.text) < end]
    return prod(token_probability(token) for token in tokens if not _NUMBER.fullmatch(token.text))
