"""What is refused before anything is spent, and notes for the reader of an answer."""

from __future__ import annotations

from collections.abc import Sequence

from napari_pathreason.budgets import BUDGET_GRID, ReadPlan
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import TASKS, check_choices, unknown_labels
from napari_pathreason.types import (
    Allocation,
    Budget,
    Effort,
    Metadata,
    ModelInfo,
    Query,
    Reading,
    SlideInfo,
)

MOST_TOKENS = 16_384
"""Visual tokens beyond which a picture is not answered: 4096 x 4096 px at 32 px a token."""

MOST_CHARACTERS = 20_000
"""Of a question with its choices: more than the text of a model that reads 4,096 tokens holds."""


def most_of_picture(most: int | None) -> int:
    """Visual tokens that one picture may have.

    Parameters
    ----------
    most : int or None
        Up to which a model's replies hold; None where it does not say.
    """
    return MOST_TOKENS if most is None else min(most, MOST_TOKENS)


def check_query(query: Query, budget: Budget, metadata: Metadata | None = None) -> None:
    """Refuse a question that cannot be asked, or a model cannot be asked.

    Parameters
    ----------
    query : Query
    budget : int, "auto" or "native"
    metadata : Metadata, optional
        What the model says of its training.

    Raises
    ------
    QueryError
        If the task is unknown, a question or choices are missing, too long or no text, two choices
        or labels are the same but for case and blanks, the budget is below one, or a label is none
        that the model can look for.
    """
    if query.task not in TASKS:
        raise QueryError(f"there is no task {query.task!r}; choose {', '.join(TASKS)}")
    if not all(map(_is_text, (query.question, *query.options))):
        raise QueryError("the question holds characters that are no text; write it anew")
    if (length := sum(map(len, (query.question, *query.options)))) > MOST_CHARACTERS:
        raise QueryError(
            f"the question and its choices have {length:,} characters; write at most "
            f"{MOST_CHARACTERS:,}"
        )
    if query.task == "vqa" and not query.question.strip():
        raise QueryError("the question is empty; write what you want to know")
    if query.task == "subtyping" and len(query.options) < 2:
        raise QueryError("subtyping needs at least two subtypes to choose from; list them")
    check_choices(query.options, "labels" if query.task == "detection" else "choices")
    if isinstance(budget, int) and budget < 1:
        raise QueryError(f"the budget is {budget}; give auto, native or at least 1 visual token")
    if metadata is not None and (unknown := unknown_labels(query, metadata)):
        can = ", ".join(metadata.labels) or "nothing: it was not trained to draw boxes"
        raise QueryError(f"cannot look for {', '.join(unknown)}; it can look for: {can}")


def _is_text(words: str) -> bool:
    """Whether words can be written: halves of a character cannot, and no tokenizer takes them."""
    try:
        words.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_boxes(query: Query, model: ModelInfo) -> None:
    """Refuse to look for boxes where nobody knows how the model writes them.

    Raises
    ------
    QueryError
        If its box space is not known.
    """
    if query.task == "detection" and model.box_space is None:
        where = "in Python models.set_boxes" if model.server is None else "in the Server dialog"
        raise QueryError(
            f"nobody knows how the model {model.name} writes boxes, if it was taught any; ask a "
            f"question instead, or say so once with --boxes in the shell or {where}: relative "
            "(0 to 1000), resized (pixels of the picture) or relative_yx (0 to 1000, y first)"
        )


def check_plan(plan: ReadPlan, most: int | None = None) -> None:
    """Refuse a picture that no model could read in memory and time, or this one cannot.

    Parameters
    ----------
    plan : ReadPlan
    most : int, optional
        See `Metadata.max_visual_tokens`.

    Raises
    ------
    QueryError
        Above `MOST_TOKENS` visual tokens, or above ``most``.
    """
    what = "native size" if plan.requested is None else "this budget"
    if plan.tokens > MOST_TOKENS:
        raise QueryError(
            f"{what} means {plan.tokens:,} visual tokens, more than the {MOST_TOKENS:,} that can "
            f"be answered; mark a smaller region, or give auto or a budget such as "
            f"{BUDGET_GRID[-1]}"
        )
    if most is not None and plan.tokens > most:
        raise QueryError(
            f"{what} means {plan.tokens:,} visual tokens, more than the {most:,} up to which this "
            f"model's replies hold; give auto or at most {most:,}, or mark a smaller region"
        )


def input_warnings(requested: Region, read: Region, slide: SlideInfo) -> list[str]:
    """What a reader must know of the region and the slide."""
    notes = []
    if read != requested:
        outside = 1 - read.box.area / requested.box.area
        notes.append(f"{_percent(outside)} of the region lies outside the slide and was left out")
    if slide.mpp is None:
        notes.append(
            "the slide does not state its resolution, so sizes stay in pixels; "
            "give its µm per pixel if you know it"
        )
    return notes


def wording_warnings(query: Query, trained: Query) -> list[str]:
    """Where a question was given the choices of the model's training; yes and no go unsaid."""
    if trained.options == query.options or trained.options == ("yes", "no"):
        return []
    return [f"the choices are those that the model was trained on: {', '.join(trained.options)}"]


def allocation_warnings(allocation: Allocation, effort: Effort) -> list[str]:
    """Where an allocator did not do what was asked of it; ``effort`` is the one asked for."""
    notes = []
    if allocation.source == "fixed" and allocation.tokens_spent:
        budget = "native size" if allocation.budget is None else f"{allocation.budget:,}"
        notes.append(
            f"the allocator wrote no number of visual tokens, its default ({budget}) was taken; "
            "choose a number yourself if that is too many or too few"
        )
    if allocation.effort is not None and allocation.effort != effort:
        notes.append(
            f"this model's allocator knows one effort alone: {allocation.effort} was taken in "
            f"place of {effort}"
        )
    return notes


def output_warnings(allocation: Allocation, plan: ReadPlan, unreadable: float) -> list[str]:
    """What a reader must know of the picture that was read."""
    notes = []
    if unreadable > 0:
        notes.append(
            f"{_percent(unreadable)} of the region is damaged and could not be read; "
            "the answer knows nothing of that part"
        )
    budget = allocation.budget
    if allocation.source == "user" and budget is not None and budget > plan.native:
        notes.append(
            f"the region has only {plan.native:,} visual tokens at native size, fewer than the "
            f"{budget:,} asked for; it was not enlarged"
        )
    return notes


def realised_warnings(readings: Sequence[Reading], model: ModelInfo) -> list[str]:
    """Where a model read its pictures with other visual tokens than planned, and why.

    Parameters
    ----------
    readings : sequence of Reading
    model : ModelInfo
    """
    if model.server is None and not model.levels:
        return []
    planned = [sum(view.tokens for view in reading.views) for reading in readings]
    more = [r for r, own in zip(readings, planned, strict=True) if r.visual_tokens > own]
    fewer = [r for r, own in zip(readings, planned, strict=True) if r.visual_tokens < own]
    notes = []
    for other, why in ((more, _why_more(more, model)), (fewer, _why_fewer(model))):
        if other:
            read = sum(reading.visual_tokens for reading in other)
            wanted = sum(view.tokens for reading in other for view in reading.views)
            of = "" if len(readings) == 1 else f" (in {len(other):,} of {len(readings):,} prompts)"
            notes.append(
                f"the model read {read:,} visual tokens where {wanted:,} were planned{of}: {why}"
            )
    return notes


def _why_more(readings: Sequence[Reading], model: ModelInfo) -> str:
    if model.levels:
        return _levels(model)
    least = 1 if model.server is None else model.server.least
    if any(view.tokens < least for reading in readings for view in reading.views):
        return f"it takes at least {least:,} for a picture"
    return "it makes pictures larger"


def _why_fewer(model: ModelInfo) -> str:
    return _levels(model) if model.levels else "it has a cap on their pixels"


def _levels(model: ModelInfo) -> str:
    """What a picture may have by the processor of the model's family."""
    levels = [level.tokens for level in model.levels]
    can = f"{levels[0]:,}" if len(levels) == 1 else f"{levels[0]:,} to {levels[-1]:,}, in steps"
    return f"by the processor of its family ({model.family}) a picture has {can}"


def boxes_warnings(query: Query, model: ModelInfo) -> list[str]:
    """How boxes were read, and who says so, where that is not the model itself."""
    if query.task != "detection" or not model.boxes_by:
        return []
    return [f"boxes were read as {model.boxes_by}"]


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")
