"""One answer in words from those of several windows: presence, closed choices, free text."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from napari_pathreason.types import Query

from ._choices import same_choice, whole_choice
from ._numbers import abstains

Answered = tuple[str, float | None]
"""Text and calibrated confidence of a window's answer; the text is empty where none is known."""

DOUBT = 0.5
"""Below this confidence a window's answer is more likely wrong than right."""

ABSENCE = (
    *("no", "none", "not", "nothing", "never", "without", "absent", "absence", "lack", "free"),
    *("negative", "normal", "healthy", "unremarkable", "unaffected", "uninvolved"),
    *("benign", "nonneoplastic", "nonmalignant", "nontumor", "nontumour", "noncancerous"),
)
"""First words of choices that state an absence: what they say of a region holds only where it holds
in all of it. Hyphens do not count, nor do articles; `states_absence` knows the other forms."""

_ARTICLES = frozenset(("a", "an", "the", "is", "are", "there"))
_FIRST = re.compile(r"\W")
_WORD = re.compile(r"[^\W_]+")
_AT_END = re.compile(r"(?:\bfree|\babsent|\bnot (?:present|seen|found|identified))\W*$")
_OPPOSITE = {"negative": "positive", "absent": "present"}
_STATES = "|".join(ABSENCE)
_ASKS_ABSENCE = re.compile(rf"(?<!\bor )\b(?:{_STATES})\b(?: (?:of|for|from)\b|\W*$)")
_IS_ABSENT = re.compile(rf"\b(?:is|are) (?:this|it|these|they) (?:a |an |the )?(?:{_STATES})\b")
_DENIES = re.compile(r"\b(?:is|are|was|were) (?:there )?no\b|\bwithout\b|\bno (?:evidence|sign)")
_ALL = re.compile(r"\b(?:all|entire(?:ly)?|every|each|whole|only|exclusively|throughout|solely)\b")


@dataclass(frozen=True, slots=True)
class Combined:
    """An answer about a region, and what it rests on.

    Parameters
    ----------
    text : str
        One of the options as it is written; of free text as the window wrote it; empty where no
        window has an answer.
    confidence : float or None
        Probability that it is right; None where that is not known.
    support : tuple of int
        Windows that say it, the most confident first.
    tally : str
        How the windows answered, such as ``2 of 16 windows say yes, 14 say no``.
    contradictions : str
        The same where windows support different things and not merely one thing or its absence;
        else empty.
    """

    text: str
    confidence: float | None = None
    support: tuple[int, ...] = ()
    tally: str = ""
    contradictions: str = ""


def states_absence(choice: str, choices: Sequence[str] = ()) -> bool:
    """Whether a choice says that something is not there: ``normal``, ``no tumour``, ``benign``.

    Its first word is one of `ABSENCE`, or its last says so (``tumour-free``, ``mitoses absent``).
    ``ER negative`` does where ``ER positive`` is another of the choices; ``triple negative`` by
    itself is a subtype, and ``non-small cell carcinoma`` a tumour.
    """
    text = " ".join(choice.casefold().split())
    words = [word for word in _WORD.findall(text) if word not in _ARTICLES]
    if not words or words[:2] == ["not", "otherwise"]:  # "not otherwise specified" is a subtype
        return False
    if words[0] in ABSENCE or "".join(words[:2]) in ABSENCE or _AT_END.search(text):
        return True
    opposite = _OPPOSITE.get(words[-1])
    others = [_WORD.findall(other.casefold()) for other in choices]
    return opposite is not None and [*words[:-1], opposite] in others


def finding_of(question: str) -> str:
    """Which of yes and no is true of a region as soon as it is of one window of it.

    ``yes`` as a rule ("Is there tumour?", "Are normal glands present?"); ``no`` where the question
    asks for an absence ("Is the tissue normal?", "Is it free of tumour?") or for all of the region
    ("Is all of it tumour?").
    """
    text = " ".join(question.casefold().split())
    if any(pattern.search(text) for pattern in (_ASKS_ABSENCE, _IS_ABSENT, _DENIES)):
        return "no"
    return "no" if _ALL.search(text) and not re.search(r"\bany\b", text) else "yes"


def is_finding(query: Query, text: str) -> bool:
    """Whether an answer in words says that something is there, which one window can show.

    Parameters
    ----------
    query : Query
        Of the task vqa or subtyping.
    text : str
        The answer; empty where it could not be read.
    """
    words = text.strip().casefold()
    if not words:
        return False
    first = _FIRST.split(words, maxsplit=1)[0]
    if first in ("yes", "no"):
        return first == finding_of(query.question)
    return not states_absence(text, query.options)


def any_present(
    answers: Sequence[Answered], options: Sequence[str] = ("yes", "no"), finding: str = "yes"
) -> Combined:
    """Whether a region shows what any of its windows shows.

    A finding in one window is a finding of the region, with the highest probability that a window
    gives it. Without any, the region is as free as the window that is most in doubt. A window
    without an answer is none without a finding: the confidence of an absence is not known then.

    Parameters
    ----------
    answers : sequence of (str, float or None)
        Of each window.
    options : sequence of str
        Yes and no, as they are to be written.
    finding : str
        Which of them a single window decides; see `finding_of`.
    """
    texts = [_option(text, options) for text, _ in answers]
    positive = _option(finding, options) or finding
    negative = _option("yes" if positive.casefold() == "no" else "no", options) or "no"
    found = [index for index, text in enumerate(texts) if text == positive]
    if found:
        return _supported(positive, found, answers, _tally(texts))
    absent = [index for index, text in enumerate(texts) if text == negative]
    if not absent:
        return _strongest(answers, texts, set())  # such as "cannot tell"
    plain = [text if text == negative else None for text in texts]
    confidence = _least(plain, answers, (negative,))
    return Combined(negative, confidence, tuple(_by(absent, answers)), _tally(texts))


def combine_choices(answers: Sequence[Answered], options: Sequence[str]) -> Combined:
    """The choice of a region from those of its windows.

    Where none of the choices states an absence (`states_absence`), each window tells something of
    the whole, such as whether its nuclei are dense or sparse: they vote, each with its confidence,
    and the answer's confidence is the mean probability that they give it.

    Else a finding anywhere is one of the region. Each choice is as strong as the most confident
    window that says it; of equal ones, as where nothing is known of confidence, the one that more
    windows say goes first. A choice that states
    an absence holds only where no window supports another one: where each that says another is more
    likely wrong than right by its own confidence. Its confidence is then the lowest of any window.

    A window that cannot tell has no vote where another one can.

    Parameters
    ----------
    answers : sequence of (str, float or None)
        Of each window; what is none of the options is no answer.
    options : sequence of str
    """
    texts = [_option(text, options) for text, _ in answers]
    if any(text is not None and not abstains(text) for text in texts):
        texts = [None if text is None or abstains(text) else text for text in texts]
    absent = {option for option in options if states_absence(option, options)}
    return _strongest(answers, texts, absent) if absent else _voted(answers, texts)


def most_confident(answers: Sequence[Answered]) -> Combined:
    """The answer in free words of the window that is most confident.

    Answers that are the same but for case, quotes and a full stop count as one; of equally
    confident ones the one that more windows give goes first.
    """
    texts: list[str | None] = []
    for text, _ in answers:
        same = (one for one in texts if one is not None and same_choice(text, one))
        texts.append(next(same, text) if text.strip() else None)
    return _strongest(answers, texts, set())


def _voted(answers: Sequence[Answered], texts: Sequence[str | None]) -> Combined:
    """The choice that windows give most confidence together."""
    votes: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        if text is not None:
            votes.setdefault(text, []).append(index)
    if not votes:
        return Combined("")

    def weight(choice: str) -> float:
        return sum(_or(answers[index][1], DOUBT) for index in votes[choice])

    best = max(votes, key=weight)
    probabilities = [
        confidence if text == best else (1 - confidence) / max(len(votes) - 1, 1)
        for (_, confidence), text in zip(answers, texts, strict=True)
        if confidence is not None and text is not None
    ]
    known = len(probabilities) == sum(map(len, votes.values()))
    mean = sum(probabilities) / len(probabilities) if probabilities and known else None
    return Combined(best, mean, tuple(_by(votes[best], answers)), _tally(texts))


def _strongest(
    answers: Sequence[Answered], texts: Sequence[str | None], absent: set[str]
) -> Combined:
    votes: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        if text is not None:
            votes.setdefault(text, []).append(index)
    if not votes:
        return Combined("")

    def strength(choice: str) -> tuple[float, int]:
        known = [c for index in votes[choice] if (c := answers[index][1]) is not None]
        return max(known, default=-1.0), len(votes[choice])

    ordered = sorted(votes, key=strength, reverse=True)
    present = [choice for choice in ordered if choice not in absent]
    tally = _tally(texts)
    against = tally if len(present) > 1 else ""
    supported = [
        choice
        for choice in present
        if any((c := answers[index][1]) is None or c >= DOUBT for index in votes[choice])
    ]
    nothing = [choice for choice in ordered if choice in absent]
    if nothing and not supported:
        best = nothing[0]
        confidence = _least(texts, answers, absent)
        return Combined(best, confidence, tuple(_by(votes[best], answers)), tally, against)
    best = (supported or present)[0]
    return _supported(best, votes[best], answers, tally, against)


def _supported(
    text: str, support: Sequence[int], answers: Sequence[Answered], tally: str, against: str = ""
) -> Combined:
    """An answer that its most confident window decides."""
    ordered = _by(support, answers)
    return Combined(text, answers[ordered[0]][1], tuple(ordered), tally, against)


def _least(
    texts: Sequence[str | None], answers: Sequence[Answered], absent: Collection[str]
) -> float | None:
    """The lowest probability of an absence in any window; None where one does not tell it."""
    least = 1.0
    for (_, confidence), text in zip(answers, texts, strict=True):
        if text is None or confidence is None:
            return None
        least = min(least, confidence if text in absent else 1 - confidence)
    return least


def _by(windows: Iterable[int], answers: Sequence[Answered]) -> list[int]:
    """The most confident first, those of which that is not known last."""
    confidences = {index: answers[index][1] for index in windows}
    return sorted(confidences, key=lambda index: -_or(confidences[index], -1.0))


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _option(text: str, options: Sequence[str]) -> str | None:
    return whole_choice(text, options)


def _tally(texts: Sequence[str | None]) -> str:
    """How windows answered, the most frequent answer first; empty where all said the same."""
    votes: dict[str, int] = {}
    for text in texts:
        if text is not None:
            votes[text] = votes.get(text, 0) + 1
    if len(votes) < 2:
        return ""
    first, *others = sorted(votes, key=lambda text: -votes[text])
    return ", ".join(
        (
            f"{votes[first]} of {len(texts)} windows {_say(votes[first])} {first}",
            *(f"{votes[text]} {_say(votes[text])} {text}" for text in others),
        )
    )


def _say(count: int) -> str:
    return "says" if count == 1 else "say"
