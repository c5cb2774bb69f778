"""Visual question answering, closed (with choices) and open."""

from __future__ import annotations

from napari_pathreason.types import Answer, Messages, Query

from ._choices import find_option, same_choice, whole_choice
from ._metrics import count_score, token_f1
from ._numbers import asks_count, asks_number, has_words, read_count
from ._parsing import is_json, split_frame
from ._prompt import chat
from ._task import Target


def choose(question: str, options: tuple[str, ...]) -> str:
    """Question with its choices, as every closed task words it."""
    return f"{question} Choices: {', '.join(options)}." if options else question


def parse_choice(text: str, question: str, options: tuple[str, ...]) -> Answer:
    """Completion -> the named option; free text where there are no options.

    What is none of the options, a list of boxes, a number that nobody asked for and a count
    without a number are no answers: their text is empty.
    """
    rationale, body, whole = split_frame(text)
    if options and (exact := whole_choice(body, options)) is not None:
        said = exact
    elif is_json(body):
        said = ""
    elif options:
        said = find_option(body, options, question) or ""
    elif asks_count(question):
        said = read_count(body)
    else:
        said = body if has_words(body) or (_digits(body) and asks_number(question)) else ""
    return Answer(rationale, said, (), whole and bool(said), text)


def _digits(text: str) -> bool:
    return any(map(str.isdigit, text))


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


class VQA:
    """Questions in plain words; the answer is one of the choices or a short text."""

    def messages(self, query: Query) -> Messages:
        """See `Task.messages`."""
        return chat(choose(query.question.strip(), query.options))

    def parse(self, text: str, query: Query) -> Answer:
        """See `Task.parse`."""
        return parse_choice(text, query.question, query.options)

    def score(self, answer: Answer, target: Target) -> float:
        """The right choice or none of it; counts by relative error, open answers by words shared.

        Half the words of a choice are not half right ("upper left" for "upper right").
        """
        predicted, truth = answer.text.strip(), target.text.strip()
        if target.choices:
            return float(same_choice(predicted, truth, target.choices))
        if truth.isdecimal():
            return count_score(int(predicted), int(truth)) if _is_count(predicted) else 0.0
        return token_f1(predicted, truth)
