"""Which of the given choices a reply names: never one for another, and none where it is in doubt.

The one place where two choices, or a choice and a reply, are held to be the same. Signs, numbers
and prefixes make choices: ``<1%`` and ``≥1%``, ``3+4`` and ``3/4``, ``grade 1`` and ``grade 10``
are different things. What is left out of a comparison (case, blanks, quotes, a full stop) is left
out only where all choices of the question stay apart without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from napari_pathreason.errors import QueryError

Form = Callable[[str], str]

_QUOTES = "\"'`“”„‘’‚«»"
_EMPHASIS = re.compile(r"(\*\*|\*|__)(.+)\1", re.DOTALL)


def equal_choices(choices: Sequence[str], form: Form | None = None) -> tuple[str, str] | None:
    """The first two that are the same but for case and blanks; None where all are apart.

    Parameters
    ----------
    choices : sequence of str
    form : callable, optional
        What else is left out of the comparison, in place of case and blanks alone.
    """
    form = form or _folded
    first: dict[str, str] = {}
    for choice in choices:
        left = form(choice)
        if left in first:
            return first[left], choice
        first[left] = choice
    return None


def check_choices(choices: Sequence[str], what: str = "choices") -> None:
    """Refuse choices, or labels, that no reply could tell apart.

    Parameters
    ----------
    choices : sequence of str
    what : str
        What the message calls them, in the plural.

    Raises
    ------
    QueryError
        If one is empty, or two are the same but for case and blanks; names them.
    """
    if any(not choice.strip() for choice in choices):
        raise QueryError(f"one of the {what} is empty; write it out, or leave it out")
    if (same := equal_choices(choices)) is not None:
        raise QueryError(
            f"the {what} {same[0]!r} and {same[1]!r} are the same but for case and blanks; "
            "name each of them once"
        )


def same_choice(reply: str, truth: str, choices: Sequence[str] = ()) -> bool:
    """Whether two texts are the same choice of a question; nothing equals what is no choice.

    Without ``choices`` they are compared as if they were the only two.
    """
    if not choices:
        return bool(_bare(reply)) and _bare(reply) == _bare(truth)
    choice = whole_choice(reply, choices)
    return choice is not None and choice == whole_choice(truth, choices)


def whole_choice(text: str, choices: Sequence[str]) -> str | None:
    """The choice that ``text`` is as a whole, case, blanks, quotes and a full stop left out."""
    by_form, form = _forms(tuple(choices))
    loose = form(text)
    return by_form.get(loose) if loose else None


def find_option(text: str, options: Sequence[str], question: str = "") -> str | None:
    """The choice that a reply names; None where it names none, or more than one.

    A choice counts where the reply is the choice, or where a longer reply holds it as whole words
    and does not deny it ("not normal"); of choices that hold one another the longest counts. A
    letter or number in its place counts only if it was printed: in ``question`` in front of every
    choice, or as the beginning of every choice (``A) benign``).

    Parameters
    ----------
    text : str
    options : sequence of str
    question : str
        As it was printed for the reader of the choices.
    """
    named = whole_choice(text, options)
    if named is not None or len(text) > MOST_LETTERS:
        return named
    marks, names = _printed(tuple(options), question)
    reply = _LEAD.sub("", _unwrapped(text), count=1)
    place = _index(reply, names)
    if place is None:
        places = _marked(reply, marks) | _behind_a_mark(reply, names) | _named(reply, names)
        place = min(places) if len(places) == 1 else None
    return None if place is None else options[place]


MOST_LETTERS = 8_000
"""Of a reply that is looked through for a choice: a longer one rambles, and looking takes the
square of its length."""
_LEAD = re.compile(
    r"\s*(?:(?:the|my|final|correct|right|best)\s+)*(?:answer|option|choice)(?:\s+is)?\s*:?\s+",
    re.IGNORECASE,
)
"""What larger models write in front of an answer."""


def _index(text: str, names: Sequence[str]) -> int | None:
    name = whole_choice(text.strip().strip("()[]"), names) or whole_choice(text, names)
    return None if name is None else list(names).index(name)


# Forms: the looser ones leave more out.


def _blanks(text: str) -> str:
    return " ".join(text.split())


def _folded(text: str) -> str:
    return _blanks(text).casefold()


def _bare(text: str) -> str:
    """Without case, doubled blanks, quotes around it and a full stop at its end."""
    text = _folded(_unwrapped(text))
    while True:
        shorter = text.strip(_QUOTES + " ")
        if shorter.endswith(".") and not shorter.endswith(".."):
            shorter = shorter[:-1].rstrip()
        if shorter == text:
            return text
        text = shorter


def _unwrapped(text: str) -> str:
    """Without the marks of emphasis around all of it."""
    match = _EMPHASIS.fullmatch(text.strip())
    return match[2] if match else text


@lru_cache(maxsize=256)
def _forms(choices: tuple[str, ...]) -> tuple[Mapping[str, str], Form]:
    """Choices by their loosest form that keeps all of them apart, and that form."""
    form: Form
    for form in (_bare, _folded, _blanks):
        by_form = {form(choice): choice for choice in choices}
        if all(by_form) and len(by_form) == len(choices):
            return by_form, form
    return {choice: choice for choice in choices}, str


# Letters and numbers that were printed in front of the choices.

_MARK = r"(?:\(([A-Za-z]|\d{1,2})\)|([A-Za-z]|\d{1,2})(?:\)|[.:](?=\s)))\s*"
_MARKED = re.compile(_MARK + r"(\S.*)", re.DOTALL)
_ALONE = re.compile(r"\s*[(\[]?([A-Za-z]|\d{1,2})[)\].:]*\s*")
_IN_BRACKETS = re.compile(r"\(([A-Za-z]|\d{1,2})\)")


@lru_cache(maxsize=256)
def _printed(choices: tuple[str, ...], question: str) -> tuple[Mapping[str, int], tuple[str, ...]]:
    """Place of each choice by its mark (none where none was printed), and names without marks."""
    own = [_MARKED.fullmatch(choice.strip()) for choice in choices]
    if own and all(own):
        names = tuple(match[3] for match in own if match)
        marks = [_mark_of(match) for match in own if match]
        if len(set(marks)) == len(marks) and equal_choices(names) is None:
            return {mark: place for place, mark in enumerate(marks)}, names
    there = [
        re.search(rf"(?<!\w){_MARK}{re.escape(choice.strip())}(?!\w)", question, re.IGNORECASE)
        for choice in choices
    ]
    if there and all(there):
        marks = [_mark_of(match) for match in there if match]
        if len(set(marks)) == len(marks):
            return {mark: place for place, mark in enumerate(marks)}, choices
    return {}, choices


def _mark_of(match: re.Match[str]) -> str:
    return (match[1] or match[2]).casefold()


def _marked(text: str, marks: Mapping[str, int]) -> set[int]:
    """Places of the choices whose marks a text gives."""
    if (match := _ALONE.fullmatch(text)) is not None:
        written = [match[1]]
    elif (match := _MARKED.fullmatch(text.strip())) is not None:
        written = [match[1] or match[2]]
    else:
        written = _IN_BRACKETS.findall(text)
    return {marks[mark] for mark in map(str.casefold, written) if mark in marks}


def _behind_a_mark(text: str, names: Sequence[str]) -> set[int]:
    """Place of the choice that is all of what stands behind a mark, a sign alone too."""
    match = _MARKED.fullmatch(text.strip())
    place = _index(match[3], names) if match is not None else None
    return set() if place is None else {place}


# Choices within longer replies.

_SIGNS = "<>≤≥=+-−±~/%*#^&_×°–—"
_BRACKETS, _STOPS = "()[]{}", ",;:!?." + _QUOTES
_RANGE_BEFORE = re.compile(r"\d\W?\s*(?:,|;|to|or|and)?\s*$")
_RANGE_AFTER = re.compile(r"\s*(?:,|;|to\b|or\b|and\b)?\s*\W?\d")
_CLAUSE = re.compile(r"[.;:!?,\n]|\bbut\b")
_DENIES = re.compile(
    r"\b(?:no|not|non|never|without|neither|nor|cannot|absent|absence|lacks?|lacking|free|negative"
    r"|excluded?|unlikely|unlike|than|instead)\b|n['’]t\b"
)
BOUNDS = re.compile(
    r"\b(?:at (?:least|most)|up to|(?:more|less|fewer|greater|higher|lower) than|over|under|above"
    r"|below|between|almost|nearly|or (?:more|less|fewer))\b"
)
"""Words that make a limit of a number."""


def _named(text: str, names: Sequence[str]) -> set[int]:
    """Places of all choices that a text holds as whole words and does not deny."""
    _, form = _forms(tuple(names))
    form = _folded if form is _bare else form
    text = form(text)
    spans = [
        (match.start(), match.end(), place)
        for place, name in enumerate(map(form, names))
        if _can_be_a_part(name)
        for match in re.finditer(re.escape(name), text)
        if _is_whole(text, match.start(), match.end())
    ]
    return {
        place
        for start, end, place in spans
        if not any(a <= start and end <= b and b - a > end - start for a, b, _ in spans)
        and not _denied(text, start, end)
    }


def _can_be_a_part(name: str) -> bool:
    """A single letter may be an article, and a sign a dash, where it is not all of a reply."""
    return any(map(str.isalnum, name)) and not (len(name) == 1 and name.isalpha())


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether ``text[start:end]`` is no part of a longer word, number or sign."""
    before, after = text[:start], text[end:]
    if not _ends_a_word(before[::-1][:2]) or not _ends_a_word(after[:2]):
        return False
    last, first = before.rstrip()[-1:], after.lstrip()[:1]
    if text[start].isdigit() and (_is_sign(last) or _RANGE_BEFORE.search(before)):
        return False
    if text[end - 1].isdigit() or text[end - 1] in _SIGNS:
        return not _is_sign(first) and not _RANGE_AFTER.match(after)
    return not first or first not in "+<>≤≥=±%"


def _ends_a_word(outside: str) -> bool:
    """Whether the one or two letters next to a word, nearest first, belong to no longer one."""
    near, beyond = outside[:1], outside[1:]
    if near and near in _STOPS:
        return not beyond.isalnum()  # 3.5, barrett's
    return not near or near.isspace() or near in _BRACKETS


def _is_sign(letter: str) -> bool:
    return bool(letter) and letter in _SIGNS


def _denied(text: str, start: int, end: int) -> bool:
    """Whether the clause around a choice denies it, or makes a limit of a number."""
    own = text[start:end]
    if _DENIES.search(own) is not None:  # "no", "no tumour": says so itself
        return False
    before = _CLAUSE.split(text[:start])[-1]
    after = "" if own == "yes" else _CLAUSE.split(text[end:], maxsplit=1)[0]
    if own[0].isdigit() and (BOUNDS.search(before) or BOUNDS.search(after)):
        return True
    return _DENIES.search(before) is not None or _DENIES.search(after) is not None
