"""What a question is about and what answer it asks for, held against a model's training.

The only list here is of words that any question is made of: articles, verbs of seeing, words for
the picture itself. All others carry content, and one that the model's training never held means
that the question is about something else. No list of diseases can be complete; none is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from napari_pathreason.types import Form, Metadata, Query

from ._numbers import asks_count

_FRAME = frozenset(
    # articles, pronouns, conjunctions, prepositions
    "a an the this that these those it its they them their there here i we you your me my our us "
    "he she one ones and or but nor if then than as of in on at to for from by with within into "
    "inside over under about between among across per versus vs which what who whom whose where "
    "when why how much many more most less least few fewest any some all each every both either "
    "neither no not none only also just so such very too own other another same "
    # auxiliaries
    "be am is are was were been being do does did done have has had having can could may might "
    "must shall should will would cannot "
    # asking and seeing
    "yes please tell say give let know want ask answer reply explain describe list name call "
    "count number amount quantity total find found show shown see seen look identify detect locate "
    "mark box outline point present visible contain hold lie fit exist appear choose pick "
    "kind sort type class classify category label choice option following "
    # the picture and its parts
    "picture image photo photograph region area field view slide patch tile part place section "
    "sample tissue".split()
)
_WORD = re.compile(r"\w+")
_ASKS_YES_OR_NO = re.compile(
    r"(?:is|are|was|were|do|does|did|has|have|can|could|any|will|would|should)\b"
)
FORM_WORDS: dict[Form, str] = {
    "choice": "one of given choices",
    "yes/no": "yes or no",
    "count": "a number",
    "boxes": "boxes",
    "free text": "free words",
}
"""A form of answer in words."""


def form_of(query: Query) -> Form:
    """What an answer to a query looks like."""
    if query.task == "detection":
        return "boxes"
    if query.options:
        plain = {option.strip().casefold() for option in query.options}
        return "yes/no" if {"yes", "no"} <= plain else "choice"
    if asks_count(query.question):
        return "count"
    question = query.question.strip().casefold()
    if _ASKS_YES_OR_NO.match(question) and not re.search(r"\bor\b", question):
        return "yes/no"
    return "free text"


def content_words(*texts: str) -> frozenset[str]:
    """Words that say what texts are about, in lower case.

    Parameters
    ----------
    *texts : str
        Questions, choices, labels.
    """
    words = (word for text in texts for word in _WORD.findall(text.casefold()))
    return frozenset(word for word in words if word not in _FRAME and _stem(word) not in _STEMS)


def words_of_query(query: Query) -> frozenset[str]:
    """Content words of a question, its choices and its labels."""
    return content_words(query.question, *query.options)


def topic_names(query: Query, metadata: Metadata | None) -> tuple[str, ...]:
    """Kinds of question of a model's training that a question may be of, by its words and form.

    Several where the words leave that open, none where the model was not trained on it; in
    alphabetical order.
    """
    if metadata is None or not (own := _stems(words_of_query(query))):
        return ()
    form = form_of(query)
    names = {t.name for t in metadata.topics if t.form == form and own <= _stems(t.words)}
    return tuple(sorted(names))


def untrained(query: Query, metadata: Metadata) -> str:
    """Why a question is none that a model was trained on; empty where it is one.

    Words count as the same whatever their inflection. All content words must have stood together
    in one kind of question: white cells of a lymph node are none of a model that learnt white
    cells in blood smears.

    Parameters
    ----------
    query : Query
    metadata : Metadata
        What the model says of its training.

    Returns
    -------
    str
        Such as ``not trained on: necrosis``.
    """
    own, form = _stems(words_of_query(query)), form_of(query)
    held = [(topic, _stems(topic.words)) for topic in metadata.topics]
    if foreign := own - _union(words for _, words in held):
        return f"not trained on: {_as_written(query, foreign)}"
    alike = [words for topic, words in held if topic.form == form]
    if not own:
        return "the question names nothing that the model was trained on"
    if form == "boxes":  # several labels may be looked for at once
        alike = [_union(alike)]
    if any(own <= words for words in alike):
        return ""
    if form == "free text":
        choices = [t.example.options for t, words in held if t.form == "choice" and own <= words]
        if choices:
            return f"the question needs its choices: {', '.join(choices[0])}"
    about = f" about: {_as_written(query, own)}" if alike else ""
    return f"not trained to answer with {FORM_WORDS[form]}{about}"


def examples(metadata: Metadata, most: int = 6) -> tuple[Query, ...]:
    """Questions that a model can answer, one of each kind, forms of answer taking turns."""
    waiting = {
        form: [t.example for t in metadata.topics if t.form == form] for form in metadata.forms
    }
    chosen: dict[Query, None] = {}
    while any(waiting.values()) and len(chosen) < most:
        for queries in waiting.values():
            if queries and len(chosen) < most:
                chosen.setdefault(queries.pop(0))
    return tuple(chosen)


def unknown_labels(query: Query, metadata: Metadata) -> tuple[str, ...]:
    """Labels of a detection that the model cannot look for."""
    if query.task != "detection":
        return ()
    trained = {_label(label) for label in metadata.labels}
    return tuple(label for label in query.options if _label(label) not in trained)


def as_trained(query: Query, metadata: Metadata | None) -> Query:
    """A question with the choices that the model was trained to see behind it.

    Of yes or no, these two. A question in free words that is about one closed question of its
    training, and about no other, has the choices of that.
    """
    if metadata is None or query.options:
        return query
    form = form_of(query)
    if form == "yes/no":
        choices = [topic.example.options for topic in metadata.topics if topic.form == "yes/no"]
        if choices and all(choices):
            return Query(query.task, query.question, ("yes", "no"))
    elif form == "free text" and (own := _stems(words_of_query(query))):
        closed = {
            topic.example.options
            for topic in metadata.topics
            if topic.form == "choice" and own <= _stems(topic.words)
        }
        if len(closed) == 1:
            return Query(query.task, query.question, closed.pop())
    return query


def _label(label: str) -> tuple[str, ...]:
    """A label without inflection; signs and the order of words make another one of it."""
    return tuple(map(_stem, re.findall(r"\w+|[^\w\s]", label.casefold())))


def _as_written(query: Query, stems: frozenset[str]) -> str:
    """Words of a query that have these stems, in their order."""
    words = [word for text in (query.question, *query.options) for word in _WORD.findall(text)]
    return ", ".join(dict.fromkeys(word for word in words if _stem(word.casefold()) in stems))


def _stems(words: Iterable[str]) -> frozenset[str]:
    return frozenset(map(_stem, words))


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)


@lru_cache(4096)  # each answer is held against all topics
def _stem(word: str) -> str:
    """A word without the endings of inflection, English and Latin; not meant to be read."""
    for ending, rest in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(rest) >= 3:
            word = word[: len(word) - len(ending)] + rest
            break
    for ending in ("us", "um", "i", "a", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


_ENDINGS = (
    ("ies", "y"),
    ("sses", "s"),
    ("ses", "s"),  # metastases
    ("sis", "s"),
    ("xes", "x"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("mata", "ma"),
    ("ae", "a"),
    ("ss", "s"),
    ("us", "us"),
    ("s", ""),
    ("ing", ""),
    ("ed", ""),
)
_STEMS = _stems(_FRAME)
