"""Visual question answering, closed (with choices) and open."""

from __future__ import annotations

from napari_pathreason._types import Answer, Messages, Query

from ._metrics import count_score, token_f1
from ._parsing import find_option, normalise, split_frame
from ._prompt import chat
from ._task import Target


def choose(question: str, options: tuple[str, ...]) -> str:
    """Question with its choices, as every closed task words it."""
    return f"{question} Choices: {', '.join(options)}." if options else question


def parse_choice(text: str, options: tuple[str, ...]) -> Answer:
    """Completion -> the named option; free text where there are no options."""
    rationale, body, whole = split_frame(text)
    if not options:
        return Answer(rationale, body, (), whole and bool(body))
    option = find_option(body, options)
    return Answer(rationale, body if option is None else option, (), whole and option is not None)


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


class VQA:
    """Questions in plain words; the answer is one of the choices or a short text."""

    def messages(self, query: Query) -> Messages:
        """See `Task.messages`."""
        return chat(choose(query.question.strip(), query.options))

    def parse(self, text: str, query: Query) -> Answer:
        """See `Task.parse`."""
        return parse_choice(text, query.options)

    def score(self, answer: Answer, target: Target) -> float:
        """The right choice or none of it; counts by relative error, open answers by words shared.

        Half the words of a choice are not half right ("upper left" for "upper right").
        """
        predicted, truth = answer.text.strip(), target.text.strip()
        if target.closed:
            return float(normalise(predicted) == normalise(truth))
        if truth.isdecimal():
            return count_score(int(predicted), int(truth)) if _is_count(predicted) else 0.0
        return token_f1(predicted, truth)
