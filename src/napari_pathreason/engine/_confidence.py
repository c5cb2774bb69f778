"""Confidence of an answer, from the probabilities of the tokens that the model wrote."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from napari_pathreason.tasks import form_of, topic_names
from napari_pathreason.types import (
    Answer,
    Calibration,
    Detection,
    Form,
    Metadata,
    Query,
    Scale,
    TokenLogprobs,
)

_Allowed = Callable[[str], bool]

_OPENING, _CLOSING = "<answer>", "</answer"
_BOX = re.compile(r"\{[^{}]*\}")
_NUMBER = re.compile(r"\s*-?[\d.]+\s*")
Answered = Literal["choice", "open", "box"]
"""How a question was answered: by one of its choices, in other words, by boxes or none."""
ANSWERED: dict[Form, Answered] = {
    "choice": "choice",
    "yes/no": "choice",
    "count": "open",
    "free text": "open",
    "boxes": "box",
}
"""How a question is answered that is answered as it asks."""
_EDGE = 1e-6  # nearer to 0 or 1 no two probabilities are told apart


@dataclass(frozen=True, slots=True)
class Probabilities:
    """Probabilities as the model gave them.

    ``answer`` is None where it is not known, or where there are ``boxes`` instead, one for each
    (empty where they are not known). ``rationale`` is that of the least probable token before the
    answer: the answer's is given the rationale, and follows from it where that states it.
    ``choices`` is that of each choice of the query, in their order and 1 together; empty where none
    of them was written as it stands.
    """

    form: Answered
    answer: float | None = None
    boxes: tuple[float, ...] = ()
    rationale: float = 1.0
    choices: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Confidence:
    """Of the answer, and of each of its boxes in order; None and empty where it is not known."""

    answer: float | None = None
    boxes: tuple[float, ...] = ()


def scale_of(
    query: Query, answered: Answered, calibration: Calibration | None, metadata: Metadata | None
) -> Scale:
    """The scale of an answer: of its kind of question where there is one, else of its form.

    Without a calibration the model is taken at its word.

    Parameters
    ----------
    query : Query
    answered : Answered
        How it was answered: out of its choices or not, by boxes or in words.
    calibration : Calibration or None
    metadata : Metadata or None
        What the model says of its training.
    """
    if calibration is None:
        return Scale()
    form = form_of(query)
    if calibration.topics and ANSWERED[form] == answered:
        topics = topic_names(query, metadata)
        for own in calibration.topics:
            if (own.form, own.topics) == (form, topics):
                return own.scale
    scale: Scale = getattr(calibration, answered)
    return scale


def region_confidence(
    windows: float | None,
    query: Query,
    calibration: Calibration | None,
    metadata: Metadata | None,
) -> float | None:
    """Confidence of an answer in words that several windows were put together to.

    Parameters
    ----------
    windows : float or None
        What the windows give it, calibrated; None where that is not known.
    query : Query
    calibration : Calibration or None
        Without scales of regions the windows are taken at their word.
    metadata : Metadata or None
        What the model says of its training.
    """
    if windows is None or calibration is None or query.task == "detection":
        return windows
    form = form_of(query)
    own = {one.topics: one.scale for one in calibration.regions if one.form == form}
    scale = own.get(topic_names(query, metadata), own.get(()))
    return windows if scale is None else scaled(windows, scale)


def confidence(probabilities: Probabilities, scale: Scale) -> Confidence:
    """Probabilities, calibrated.

    Of an answer with boxes it is their mean: the share of them that is expected to be right.
    """
    doubt = probabilities.rationale if scale.rationale else 1.0
    if probabilities.boxes:
        boxes = tuple(scaled(probability * doubt, scale) for probability in probabilities.boxes)
        return Confidence(sum(boxes) / len(boxes), boxes)
    return Confidence(
        None if probabilities.answer is None else scaled(probabilities.answer * doubt, scale)
    )


def confidence_of(detections: Sequence[Detection]) -> Confidence:
    """Of an answer that keeps these detections alone; not known where none is left."""
    boxes = tuple(one.confidence for one in detections if one.confidence is not None)
    return Confidence(sum(boxes) / len(boxes) if boxes else None, boxes)


def read_probabilities(
    written: Sequence[TokenLogprobs], query: Query, answer: Answer
) -> Probabilities:
    """Probability of an answer given its rationale, or of each of its boxes.

    Words: the product over their tokens, the one that ends them included. Where one of the given
    choices was written, only tokens that go on to one of them count: the choices are then weighed
    against each other alone, and one of many tokens counts no less than one of a single token.
    What stood beside a token goes to the choices that it leads to, in equal parts where they are
    several, since nobody has asked how they would have gone on.

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
    forms = tuple(option.strip().casefold() + _CLOSING for option in query.options)
    if text.body.strip().casefold() + _CLOSING in forms:
        return Probabilities(
            "choice", _of_words(text, forms), rationale=doubt, choices=_of_choices(text, forms)
        )
    return Probabilities(form, _of_words(text), rationale=doubt)


class _Text:
    """Written tokens with their places; ``start`` and ``end`` (-1: none) bound the answer."""

    def __init__(self, written: Sequence[TokenLogprobs]) -> None:
        self.whole = "".join(token.text for token in written)
        self.opened = self.whole.rfind(_OPENING)
        self.start = self.opened + len(_OPENING)
        self.end = self.whole.find(_CLOSING, self.start) if self.opened >= 0 else -1
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
        """Probability of the least probable token that ends before the answer's own frame."""
        before = (t for at, t in self.placed if at + len(t.text) <= self.opened)
        return min((token_probability(token) for token in before), default=1.0)


def _of_words(text: _Text, forms: Sequence[str] = ()) -> float:
    probabilities = []
    for at, token in text.tokens(text.start, text.end + 1):
        allowed: _Allowed | None = None
        if forms:
            frame = token.text[: max(text.start - at, 0)]  # letters that still end <answer>
            allowed = _leading_to(forms, text.whole[text.start : max(at, text.start)], frame)
        probabilities.append(token_probability(token, allowed))
    return math.prod(probabilities)


def _of_choices(text: _Text, forms: Sequence[str]) -> tuple[float, ...]:
    """Probability of each of the forms, of which one was written."""
    shares, left = [0.0] * len(forms), 1.0
    for at, token in text.tokens(text.start, text.end + 1):
        frame = token.text[: max(text.start - at, 0)]
        before = text.whole[text.start : max(at, text.start)]
        own, mine = token.text.casefold(), 0.0
        beside: list[tuple[list[int], float]] = []
        for place, (word, log_probability) in enumerate(token.choices):
            if place == token.chosen or word.casefold() == own:
                mine += math.exp(log_probability)
                continue
            leads = [n for n, one in enumerate(forms) if _leading_to((one,), before, frame)(word)]
            if leads:
                beside.append((leads, math.exp(log_probability)))
        total = mine + sum(probability for _, probability in beside)
        if total <= 0:
            return ()
        for leads, probability in beside:
            for n in leads:
                shares[n] += left * probability / total / len(leads)
        left *= mine / total
    shares[forms.index(text.body.strip().casefold() + _CLOSING)] += left
    return tuple(shares)


def _of_box(text: _Text, start: int, end: int) -> float:
    """The closing token is left out: it decides whether another box follows."""
    tokens = [token for at, token in text.tokens(start, end) if at + len(token.text) < end]
    return math.prod(
        token_probability(token) for token in tokens if not _NUMBER.fullmatch(token.text)
    )


def token_probability(token: TokenLogprobs, allowed: _Allowed | None = None) -> float:
    """Probability of the written token.

    Parameters
    ----------
    token : TokenLogprobs
    allowed : callable, optional
        Which texts count as choices; the probability is among them, and those that differ in
        upper and lower case alone are the same. Without it the whole vocabulary counts.
    """
    if allowed is None:
        return math.exp(token.choices[token.chosen][1])
    own, mine, others = token.text.casefold(), 0.0, 0.0
    for place, (text, log_probability) in enumerate(token.choices):
        if place == token.chosen or text.casefold() == own:
            mine += math.exp(log_probability)
        elif allowed(text):
            others += math.exp(log_probability)
    return mine / (mine + others) if mine > 0 else 0.0


def _leading_to(forms: Sequence[str], before: str, frame: str = "") -> _Allowed:
    """Whether a token's text leads on to one of the forms.

    Parameters
    ----------
    forms : sequence of str
        Whole answers with what closes them, case-folded.
    before : str
        What was written of the answer so far.
    frame : str
        Letters with which the token must begin, since they belong to what stands before the
        answer.
    """

    def allowed(text: str) -> bool:
        if not text or not text.startswith(frame):
            return False
        ahead = (before + text[len(frame) :]).lstrip().casefold()
        return any(form.startswith(ahead) or ahead.startswith(form) for form in forms)

    return allowed


def log_odds(probability: float) -> float:
    """logit(p), of a probability kept off 0 and 1."""
    clipped = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(clipped / (1 - clipped))


def scaled(probability: float, scale: Scale) -> float:
    """Probability whose log-odds are ``logit(p) / temperature + offset``.

    Temperature scaling (Guo et al. 2017, arXiv:1706.04599, section 4.2) of the two outcomes
    "right" and "wrong", with an offset as Platt has it. It never changes the order of answers.
    """
    odds = log_odds(probability) / scale.temperature + scale.offset
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0
