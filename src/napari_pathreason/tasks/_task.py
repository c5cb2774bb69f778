"""What every task can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from napari_pathreason.types import Answer, AnswerBox, Messages, Query


@dataclass(frozen=True, slots=True)
class Target:
    """A label: ``text`` for vqa and subtyping, ``boxes`` (0-1000 of the region) for detection.

    ``choices`` are those of the question, of which the text is one; empty for open questions.
    """

    text: str = ""
    boxes: tuple[AnswerBox, ...] = ()
    choices: tuple[str, ...] = ()


class Task(Protocol):
    """One kind of question."""

    def messages(self, query: Query) -> Messages:
        """Build the chat messages; the only place where prompts are made."""

    def parse(self, text: str, query: Query) -> Answer:
        """Read a completion; total: any text gives an `Answer`, at worst an unreadable one."""

    def score(self, answer: Answer, target: Target) -> float:
        """Agreement of an answer with a label, 0 to 1."""
