"""How an allocator that writes is asked for a number of visual tokens, and how that is read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from napari_pathreason.types import Messages, Query

from ._parsing import split_frame
from ._prompt import chat
from ._tasks import TASKS

MOST_DIGITS = 9
"""A longer number means as many tokens as there are."""
_NUMBER = re.compile(r"(?<![\d.,-])(\d{1,3}(?:,\d{3})+|\d+)(?![\d]|[.,]\d)")


@dataclass(frozen=True, slots=True)
class WrittenAllocation:
    """What was written: a count of visual tokens, None where there is none.

    ``well_formed`` says whether it stands in the form of an answer.
    """

    number: int | None
    well_formed: bool


def allocation_messages(query: Query, seen: int, native: int) -> Messages:
    """Ask how many visual tokens a picture deserves.

    It tells what the paper's prompt tells (Xu et al. 2025, arXiv:2505.15687): the task, the tokens
    of the picture shown and of the picture at native size.

    Parameters
    ----------
    query : Query
    seen, native : int
        Visual tokens of the picture shown, and of the region at native size.
    """
    asked = TASKS[query.task].messages(query)[-1]["content"][-1]["text"]
    return chat(
        "How many visual tokens should be spent on reading this picture for the task below? "
        "A simple picture and an easy task need few, a complex one or fine detail needs more. "
        f"You see it at {seen} tokens; at full size it has {native}. "
        f"The task ({query.task}): {asked} "
        "The answer is the number of tokens, one positive whole number."
    )


def parse_allocation(text: str) -> WrittenAllocation:
    """The first positive whole number of the answer; total: any text gives an `WrittenAllocation`.

    What was thought before the answer does not count, as it often repeats the numbers of the
    question. Fractions and negative numbers are none.
    """
    _, answer, whole = split_frame(text)
    for found in _NUMBER.finditer(answer):
        digits = found[1].replace(",", "").lstrip("0")
        if digits:
            number = int(digits) if len(digits) <= MOST_DIGITS else 10**MOST_DIGITS
            return WrittenAllocation(number, whole)
    return WrittenAllocation(None, False)
