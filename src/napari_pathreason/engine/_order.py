"""Whether an answer holds when its choices are listed the other way round.

Large models lean to the first or the last of several choices; an answer that follows the place of
a choice and not the picture shows when the order is reversed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

from napari_pathreason.tasks import same_choice
from napari_pathreason.types import Completion, ModelInfo, OrderCheck, Query, Result

from ._asking import Need
from ._job import Event, Job
from ._reading import Found
from ._reliability import Doubt, join_doubt
from ._repeat import repeated_views
from ._report import with_check

FLIPS = "the answer changes when the choices are listed the other way round"
NO_CHOICES = "the question has no choices whose order could be reversed"

Find = Callable[[Job], Generator[Event | Need, list[Completion], Found]]
"""Plans, reads and asks a job, up to what its views showed."""


def other_order(query: Query) -> Query | None:
    """A question with its choices reversed; None where it has none whose order could matter."""
    if query.task == "detection" or len(query.options) < 2:
        return None
    return replace(query, options=query.options[::-1])


def check_order(
    job: Job, model: ModelInfo, result: Result, find: Find
) -> Generator[Need, list[Completion], Result]:
    """Ask again of the same views with the choices reversed.

    Parameters
    ----------
    job : Job
        As it was answered.
    model : ModelInfo
    result : Result
    find : callable

    Yields
    ------
    Need
        Prompts of the second asking; none of their text is shown.

    Returns
    -------
    Result
        With what was found, its cost, and a doubt where the answer does not hold.
    """
    query = other_order(job.request.query)
    if query is None:
        return replace(result, warnings=(*result.warnings, NO_CHOICES))
    if not result.answer.readable:  # there is nothing that could hold
        return result
    request = replace(job.request, query=query)
    policy = repeated_views(result.views)
    if policy is None:
        budget = result.allocation.budget
        request = replace(
            request, budget="native" if budget is None else budget, policy="one_view", windows=()
        )
    again = replace(
        job,
        request=request,
        before=(),
        policy=policy,
        journal=None if job.journal is None else (),  # what was kept has the other order
    )
    found = yield from _needs_of(find(again))
    own, other = result.answer.text, found.answer.text
    flipped = not same_choice(own, other, job.request.query.options)
    reliability = result.reliability
    if flipped:
        reliability = join_doubt(reliability, Doubt("uncertain", FLIPS))
    return replace(
        result,
        order=OrderCheck(other, flipped),
        reliability=reliability,
        tokens=with_check(result.tokens, model.dims, found.readings),
        pixels_decoded=result.pixels_decoded + found.pixels_decoded,
    )


def _needs_of(
    steps: Generator[Event | Need, list[Completion], Found],
) -> Generator[Need, list[Completion], Found]:
    """The steps of a job without what they report: only the first asking is followed."""
    try:
        item = next(steps)
        while True:
            if isinstance(item, Need):
                item = steps.send((yield Need(item.prompts)))
            else:
                item = next(steps)
    except StopIteration as end:
        found: Found = end.value
        return found
