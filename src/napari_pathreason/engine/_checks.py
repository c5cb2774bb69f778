"""What is refused before anything is spent, and what a reader of an answer must be told."""

from __future__ import annotations

import re

from napari_pathreason._errors import QueryError
from napari_pathreason._geometry import Region
from napari_pathreason._types import (
    Allocation,
    Answer,
    Budget,
    Completion,
    Effort,
    ModelInfo,
    Query,
    SlideInfo,
    Strangeness,
)
from napari_pathreason.tasks import TASKS
from napari_pathreason.tokens import LADDER, ReadPlan

MOST_TOKENS = 16_384
"""Visual tokens beyond which a picture is not answered: 4096 x 4096 px at 32 px a token."""


def check_query(query: Query, budget: Budget) -> None:
    """Refuse a question that cannot be asked.

    Raises
    ------
    QueryError
        If the task is unknown, a question or choices are missing, or the budget is below one.
    """
    if query.task not in TASKS:
        raise QueryError(f"there is no task {query.task!r}; choose {', '.join(TASKS)}")
    if query.task == "vqa" and not query.question.strip():
        raise QueryError("the question is empty; write what you want to know")
    if query.task == "subtyping" and len(query.options) < 2:
        raise QueryError("subtyping needs at least two subtypes to choose from; list them")
    if isinstance(budget, int) and budget < 1:
        raise QueryError(f"the budget is {budget}; give auto, native or at least 1 visual token")


def check_plan(plan: ReadPlan) -> None:
    """Refuse a picture that no model could read in memory and time.

    Raises
    ------
    QueryError
        Above `MOST_TOKENS` visual tokens.
    """
    if plan.tokens > MOST_TOKENS:
        what = "native size" if plan.requested is None else "this budget"
        raise QueryError(
            f"{what} means {plan.tokens:,} visual tokens, more than the {MOST_TOKENS:,} that can "
            f"be answered; mark a smaller region, or give auto or a budget such as {LADDER[-1]}"
        )


def input_warnings(
    asked: Region,
    read: Region,
    slide: SlideInfo,
    query: Query,
    model: ModelInfo,
    strangeness: Strangeness | None = None,
) -> list[str]:
    """What is doubtful about the question itself, and about asking it of this picture."""
    found = []
    if read != asked:
        outside = 1 - read.box.area / asked.box.area
        found.append(f"{_percent(outside)} of the region lies outside the slide and was left out")
    if slide.mpp is None:
        found.append(
            "the slide does not state its resolution, so sizes stay in pixels; "
            "give its um per pixel if you know it"
        )
    if strangeness is not None:
        if strangeness.strange:
            found.append(
                f"this picture is unlike the training pictures ({_listing(strangeness.against)}): "
                f"{strangeness.reason}; do not rely on this answer"
            )
    elif model.tissues and not _mentions(query, model.any_tissue_terms):
        found.append(
            f"the model was trained for this question only on {_listing(model.tissues)} and "
            "cannot tell whether this slide is one of them; do not rely on this answer"
        )
    return found


def allocation_warnings(allocation: Allocation, effort: Effort) -> list[str]:
    """Where an allocator did not do what was asked of it; ``effort`` is the one asked for."""
    found = []
    if allocation.source == "fixed" and allocation.tokens_spent:
        rung = "native size" if allocation.budget is None else f"{allocation.budget:,}"
        found.append(
            f"the allocator wrote no number of visual tokens, its default ({rung}) was taken; "
            "choose a number yourself if that is too many or too few"
        )
    if allocation.effort is not None and allocation.effort != effort:
        found.append(
            f"this model's allocator knows one effort alone: {allocation.effort} was taken in "
            f"place of {effort}"
        )
    return found


def output_warnings(
    allocation: Allocation,
    plan: ReadPlan,
    unreadable: float,
    completion: Completion,
    answer: Answer,
) -> list[str]:
    """What is doubtful about the picture that was read and the answer that was given."""
    found = []
    if unreadable > 0:
        found.append(
            f"{_percent(unreadable)} of the region is damaged and could not be read; "
            "the answer knows nothing of that part"
        )
    asked = allocation.budget
    if allocation.source == "user" and asked is not None and asked > plan.native:
        found.append(
            f"the region has only {plan.native:,} visual tokens at native size, fewer than the "
            f"{asked:,} asked for; it was not enlarged"
        )
    if completion.finish == "length":
        found.append(f"the answer was cut off after {completion.new_tokens:,} written tokens")
    if not answer.well_formed:
        found.append("the model did not keep to the form of an answer; read it with care")
    return found


def _mentions(query: Query, terms: tuple[str, ...]) -> bool:
    text = " ".join((query.question, *query.options)).casefold()
    return any(re.search(rf"\b{re.escape(term.casefold())}\b", text) for term in terms)


def _listing(names: tuple[str, ...]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")
