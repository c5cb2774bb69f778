"""Cancer subtyping: one of the given names."""

from __future__ import annotations

from napari_pathreason.types import Answer, Messages, Query

from ._choices import same_choice
from ._prompt import chat
from ._task import Target
from ._vqa import choose, parse_choice

DEFAULT_QUESTION = "Which subtype does this tissue show?"


class Subtyping:
    """Closed choice among subtypes; scored by the exact name."""

    def messages(self, query: Query) -> Messages:
        """See `Task.messages`."""
        return chat(choose(_question(query), query.options))

    def parse(self, text: str, query: Query) -> Answer:
        """See `Task.parse`."""
        return parse_choice(text, _question(query), query.options)

    def score(self, answer: Answer, target: Target) -> float:
        """1 for the right name, else 0."""
        return float(same_choice(answer.text, target.text, target.choices))


def _question(query: Query) -> str:
    return query.question.strip() or DEFAULT_QUESTION
