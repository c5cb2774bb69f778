"""What an allocator that writes is asked, and how its text is read: a number, or windows.

Both readings are total: any text gives something, and says whether it kept to its form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from napari_pathreason.types import Messages, Query

from ._parsing import split_frame
from ._tasks import TASKS, chat

MOST_DIGITS = 9
"""A longer number means as many tokens as there are."""
GLASS = "-"
"""Where a window would lie that is not worth reading, in the plan of windows of a prompt."""
_NUMBER = re.compile(r"(?<![\d.,-])(\d{1,3}(?:,\d{3})+|\d+)(?![\d]|[.,]\d)")
_WINDOW = re.compile(r"(?<![\d.-])(\d+) ?: ?(\d{1,3}(?:,\d{3})+(?![\d:]| :)|\d+)(?![\d:]|\.\d)")


@dataclass(frozen=True, slots=True)
class WrittenAllocation:
    """What an allocator wrote: a count of visual tokens, None where there is none.

    ``well_formed`` says whether it stands in the form of an answer.
    """

    number: int | None
    well_formed: bool


@dataclass(frozen=True, slots=True)
class WrittenWindows:
    """Which windows an allocator wrote, as (number from 1, visual tokens), in its order.

    Empty where it wrote none that there is. ``well_formed`` says whether they stand in the form of
    an answer and all of them are windows.
    """

    windows: tuple[tuple[int, int], ...]
    well_formed: bool


def allocation_messages(query: Query, overview: int, native: int) -> Messages:
    """Ask how many visual tokens a picture deserves.

    It says what the paper's prompt says (Xu et al. 2025, arXiv:2505.15687): the task, the tokens
    of the picture shown and of the picture at native size.

    Parameters
    ----------
    query : Query
    overview, native : int
        Visual tokens of the picture shown, and of the region at native size.
    """
    return chat(
        "How many visual tokens should be spent on reading this picture for the task below? "
        "A simple picture and an easy task need few, a complex one or fine detail needs more. "
        f"You see it at {overview} tokens; at full size it has {native}. "
        f"The task ({query.task}): {_instruction(query)} "
        "The answer is the number of tokens, one positive whole number."
    )


def windows_messages(
    query: Query, overview: int, native: int, rows: Sequence[Sequence[bool]]
) -> Messages:
    """Ask which windows of a large picture deserve to be read, and how finely.

    The paper's prompt, with a plan of the windows in place of one number of tokens.

    Parameters
    ----------
    query : Query
    overview, native : int
        Visual tokens of the picture shown, and of one window at native size.
    rows : sequence of sequence of bool
        Which windows that cover the picture side by side are worth reading, row by row from the
        top; they are numbered in this order from 1.
    """
    numbers, plan = iter(range(1, 1 + sum(map(sum, rows)))), []
    for row in rows:
        plan.append(" ".join(str(next(numbers)) if worth else GLASS for worth in row))
    lines = "\n".join(plan)
    return chat(
        "Which windows of this picture should be read closely for the task below, and with how "
        "many visual tokens each? A window that shows nothing of it needs none, fine detail needs "
        f"more. You see the whole picture at {overview} tokens. Its windows, as they lie in it "
        f"({GLASS} is glass):\n{lines}\n"
        f"At full size a window has {native} tokens. "
        f"The task ({query.task}): {_instruction(query)} "
        "The answer is a list of windows with their tokens, such as 1: 64, 2: 16."
    )


def _instruction(query: Query) -> str:
    """What the task itself asks."""
    return str(TASKS[query.task].messages(query)[-1]["content"][-1]["text"])


def parse_allocation(text: str) -> WrittenAllocation:
    """The first positive whole number of the answer; total: any text gives a `WrittenAllocation`.

    What was thought before the answer does not count, as it often repeats the numbers of the
    question. Fractions and negative numbers are none.
    """
    _, answer, whole = split_frame(text)
    whole = whole and "<think>" in text  # as its form asks for a reason
    for match in _NUMBER.finditer(answer):
        if number := _whole(match[1].replace(",", "")):
            return WrittenAllocation(number, whole)
    return WrittenAllocation(None, False)


def parse_windows(text: str, count: int) -> WrittenWindows:
    """The windows of the answer, such as ``3: 64, 7: 256``; total as `parse_allocation`.

    Of a window that is named twice the first counts; one that there is not, or one of no tokens,
    is left out.

    Parameters
    ----------
    text : str
    count : int
        Windows that there are, numbered from 1.
    """
    _, answer, whole = split_frame(text)
    windows: dict[int, int] = {}
    known = True
    for match in _WINDOW.finditer(answer):
        number, tokens = _whole(match[1]), _whole(match[2].replace(",", ""))
        if 1 <= number <= count and tokens:
            windows.setdefault(number, tokens)
        else:
            known = False
    whole = whole and "<think>" in text and known and bool(windows)
    return WrittenWindows(tuple(windows.items()), whole)


def _whole(digits: str) -> int:
    """A number; 0 for zeros, and a very large one for one that is too long."""
    digits = digits.lstrip("0")
    return int(digits or 0) if len(digits) <= MOST_DIGITS else int(10**MOST_DIGITS)
