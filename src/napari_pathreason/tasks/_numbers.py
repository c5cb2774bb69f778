"""Which questions ask for a number, and what number a reply to one gives."""

from __future__ import annotations

import re

from ._choices import BOUNDS

MOST_DIGITS = 9
"""A longer number counts nothing that a picture shows."""

_SENTENCE = re.compile(r"[.?!;\n]+")
_POLITE = re.compile(r"^(?:please|kindly|(?:can|could|would|will) you(?: please)?)\s+")
_COUNT = re.compile(
    r"\bhow many\b|\b(?:please|you|and|then|to|,) count\b"
    r"|^(?:the )?(?:[\w-]+ ){0,3}(?:counts?|numbers?)\b"
    r"|\b(?:what(?:'s)?|give|state|tell|report|estimate|determine|find)"
    r"(?: me| is| are| was| were)?(?: the)?(?: [\w-]+){0,3} (?:counts?|numbers?)\b"
)
_MEASURES = (
    r"(?:percent(?:age)?|proportion|fraction|ratio|rate|scores?|graded?|grading|stage|size"
    r"|diameter|length|width|thickness|depth|distance|area|volume|density|magnification"
    r"|resolution|index|age|degree|level|year)\b"
)
_AMOUNT = re.compile(
    rf"\b(?:{_MEASURES}|how (?:much|large|big|small|long|wide|thick|deep|far|high|old|often)\b)|%"
)
_IN_WORDS = re.compile(
    r"(?:is|are|was|were|do|does|did|has|have|had|can|could|should|would|will|may|might)\b"
    rf"|(?:in |at |on |to |from )?(?:where|why|who|whose|when|which(?! {_MEASURES}))\b"
    r"|what (?:does|do|did|makes|causes|explains)\b|how (?:does|do|did|is|are|can)\b"
)
"""Beginnings of sentences whose answer is yes, no, a place, a thing or a reason."""
_ASKS_WORDS = re.compile(
    r"\b(?:what|which|where|who|whose|why|when|how|is|are|was|were|do|does|did|has|have|can|could"
    r"|should|would|name|describe|classify|identify|explain|list|show|tell|find|compare|type|kind"
    r"|tissue|organ|diagnos\w+|stain(?:ing)?|colou?r)\b"
)


def asks_count(question: str) -> bool:
    """Whether a question can be answered by a number of things alone ("How many nuclei?")."""
    return any(
        _COUNT.search(sentence) and not _IN_WORDS.match(sentence)
        for sentence in _sentences(question)
    )


def asks_number(question: str) -> bool:
    """Whether a number answers a question.

    It does where the question asks for a count, a measure, a score or a grade, and where no
    English word of it asks for anything in words ("Ki-67?", "Wie viele Kerne?"). "Is the number
    of mitoses high?" and "What tissue is this?" are answered in words.
    """
    sentences = _sentences(question)
    return (
        asks_count(question)
        or any(_AMOUNT.search(one) and not _IN_WORDS.match(one) for one in sentences)
        or not any(_ASKS_WORDS.search(one) for one in sentences)
    )


def _sentences(question: str) -> list[str]:
    parts = (" ".join(part.split()).casefold() for part in _SENTENCE.split(question))
    return [_POLITE.sub("", part) for part in parts if part]


_NUMBER = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w]|[.,]\d)")
_WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
} | {"no": "0", "none": "0"}
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b")
_ONE_WORD = re.compile(
    rf"(?:(?:there (?:is|are)|i (?:see|count|find)|about|approximately) )*({'|'.join(_WORDS)})"
    r"(?: (?!(?:answer|clue|count|evidence|idea|information|number|reply|way)\b)[\w-]+){0,4}\W*"
)
"""What holds a number word and little else: "I have no idea" is no 0."""
_ABSTAINS = re.compile(
    r"(?:i |it |they |this )?(?:can ?not|can['’]t|could not|do not|don['’]t|unable to)"
    r" (?:be )?(?:tell|told|say|said|know|determined?|count(?:ed)?|assess(?:ed)?|answer(?:ed)?"
    r"|seen?)\b.*|unanswerable|unknown|unclear|uncertain|not (?:sure|assessable)",
    re.DOTALL,
)
_LETTER = re.compile(r"[^\W\d_]")
_SIGN = re.compile(r"[<>≤≥±+\-−/%^×*=]")


def has_words(text: str) -> bool:
    """Whether a reply holds any letter: numbers and signs alone say nothing in words."""
    return _LETTER.search(text) is not None


def abstains(text: str) -> bool:
    """Whether a reply says that there is no answer."""
    return _ABSTAINS.fullmatch(" ".join(text.casefold().split()).rstrip(".")) is not None


def read_count(text: str) -> str:
    """The number of things that a reply gives, or that it cannot tell.

    Returns
    -------
    str
        The digits of the one number in it (of number words up to twelve, and of "none", where it
        has no digits); the reply itself where a sign or a word makes a limit of that number
        ("more than 100"), and where it says that it cannot tell; else empty, as where there is
        more than one number.
    """
    lower = " ".join(text.casefold().split())
    if abstains(text):
        return text
    numbers = _NUMBER.findall(text)
    if re.search(r"[-−]\s*\d", text) or len(re.findall(r"\d+", text)) != sum(
        len(re.findall(r"\d+", one)) for one in numbers
    ):
        return ""  # below zero, or a part of something else such as 10^3 or CD3
    if not numbers and len(_WORD.findall(lower)) == 1:
        match = _ONE_WORD.fullmatch(lower)
        numbers = [_WORDS[match[1]]] if match else []
    if len(numbers) != 1:
        return ""
    number = numbers[0].replace(",", "")
    if len(number.partition(".")[0]) > MOST_DIGITS:
        return ""
    return text if _SIGN.search(text) or BOUNDS.search(lower) else number
