"""Cancer subtyping: one of the given names."""

from __future__ import annotations

from napari_pathreason._types import Answer, Messages, Query

from ._parsing import normalise
from ._prompt import chat
from ._task import Target
from ._vqa import choose, parse_choice

DEFAULT_QUESTION = "Which subtype does this tissue show?"


class Subtyping:
    """Closed choice among subtypes; scored by the exact name."""

    def messages(self, query: Query) -> Messages:
        """See `Task.messages`."""
        return chat(choose(query.question.strip() or DEFAULT_QUESTION, query.options))

    def parse(self, text: str, query: Query) -> Answer:
        """See `Task.parse`."""
        return parse_choice(text, query.options)

    def score(self, answer: Answer, target: Target) -> float:
        """1 for the right name, else 0."""
        return float(normalise(answer.text) == normalise(target.text))
