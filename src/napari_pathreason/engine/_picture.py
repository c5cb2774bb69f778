"""A region read as one picture: its budget chosen, its pixels read, the question asked."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

from napari_pathreason.budgets import BUDGET_GRID, plan as make_plan
from napari_pathreason.geometry import Region
from napari_pathreason.types import Allocation, Completion, ModelInfo

from ._asking import Need
from ._checks import allocation_warnings, check_plan, output_warnings
from ._job import Event, Job, Planned, Stage, StageStarted
from ._plan import cost_of, one_view
from ._protocols import Allocator
from ._reading import Found, prompt_of, read, reading_of


def read_picture(
    job: Job,
    model: ModelInfo,
    allocator: Allocator,
    most: int | None,
    begin: Callable[[Stage], StageStarted],
) -> Generator[Event | Need, list[Completion], Found]:
    """Read a region as one picture and ask about it.

    Parameters
    ----------
    job : Job
        Its region lies on the slide.
    model : ModelInfo
    allocator : Allocator
        Asked only where the budget of the job is ``auto``.
    most : int or None
        Visual tokens up to which the model's replies hold.
    begin : callable
        Notes that a stage begins.

    Raises
    ------
    QueryError
        If the picture has more visual tokens than can be answered.
    SlideError
        If nothing of it can be read.
    """
    request, token_px = job.request, model.dims.token_px
    region = request.region
    decoded = 0
    if request.budget == "auto":
        overview = None
        if allocator.overview_budget > 0:
            yield begin(Stage.OVERVIEW)
            size = make_plan(region, allocator.overview_budget, token_px).size
            image = read(job, region, size)
            overview, decoded = image.pixels, image.pixels_decoded
        yield begin(Stage.ALLOCATE)
        native = make_plan(region, None, token_px).native
        allocation = allocator.allocate(overview, request.query, native, request.effort)
        allocation = _within(allocation, region, model, most)
    else:
        yield begin(Stage.ALLOCATE)
        allocation = Allocation(None if request.budget == "native" else request.budget, "user")
    fitting = None if allocation.budget is None else model.fit(allocation.budget)
    plan = make_plan(region, fitting, token_px)
    check_plan(plan, most)
    views = one_view(region, fitting, token_px)
    yield Planned(allocation, views, cost_of(views.views, model, job.slide.level_sizes))

    yield begin(Stage.READ)
    image = read(job, region, plan.size)
    yield begin(Stage.GENERATE)
    (completion,) = yield Need((prompt_of(request.query, model, [image]),), streams=True)
    one = reading_of(job, model, views.views, [image], completion)
    return Found(
        allocation=allocation,
        views=views,
        reads=(one,),
        before=(),
        answer=one.reading.answer,
        detections=one.reading.detections,
        confidence=one.reading.confidence,
        picture_size=plan.size,
        pixels_decoded=decoded + image.pixels_decoded,
        doubts=one.doubts,
        warnings=(
            *allocation_warnings(allocation, request.effort),
            *output_warnings(allocation, plan, image.unreadable),
        ),
        completion=completion,
    )


def _within(
    allocation: Allocation, region: Region, model: ModelInfo, most: int | None
) -> Allocation:
    """An allocator's choice, no larger than what replies hold up to.

    Nor smaller than what can be held against the training images, where the region has as much.
    """
    token_px = model.dims.token_px
    chosen = make_plan(region, allocation.budget, token_px)
    if most is not None and chosen.tokens > most:
        return replace(allocation, budget=most)
    least = model.comparable or 0
    if chosen.tokens < min(least, chosen.native):
        larger = (size for size in BUDGET_GRID if make_plan(region, size, token_px).tokens >= least)
        return replace(allocation, budget=next(larger, None))
    return allocation
