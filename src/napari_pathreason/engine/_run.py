"""The main job: the one way from a question to an answer, for docks, shell, tests and training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from threading import Event as Flag

from napari_pathreason.budgets import BUDGET_GRID, plan as make_plan
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import TASKS, as_trained
from napari_pathreason.types import Allocation, ModelInfo, Result

from ._checks import (
    allocation_warnings,
    check_plan,
    check_query,
    input_warnings,
    output_warnings,
)
from ._confidence import confidence, confidence_of, read_probabilities
from ._job import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Job,
    Planned,
    Stage,
    StageStarted,
    as_user_error,
)
from ._protocols import Allocator, Performer
from ._reliability import assess, picture_doubts, question_doubts, reply_doubts
from ._report import token_report
from ._view import generate, read, to_detections
from ._zoom import VIEW_TOKENS, Zoomed, answer_of, windows, zoom_in


def run_job(
    job: Job, performer: Performer, allocator: Allocator, cancel: Flag | None = None
) -> Iterator[Event]:
    """Answer a question, telling each step as it happens.

    Parameters
    ----------
    job : Job
    performer : Performer
    allocator : Allocator
        Asked only where the budget of the job is ``auto``.
    cancel : threading.Event, optional
        Once set, the job ends at the next token or stage; any thread may set it.

    Yields
    ------
    Event
        `StageStarted` for each stage, `Planned` before anything of the budget is spent,
        `TextDelta` while the answer is written, and exactly one ending: `Finished`, `Cancelled`
        or `Failed`. No exception leaves this iterator.
    """
    run = _Run(cancel or Flag())
    try:
        yield from _answer(job, performer, allocator, run)
    except CancelledError:
        yield Cancelled(run.stage)
    except Exception as error:  # whatever went wrong, the user gets a line and no lost session
        shown = as_user_error(
            error,
            f"in the stage {run.stage.value!r}",
            "please report it with what you asked",
            reads_slide=run.stage in (Stage.OVERVIEW, Stage.READ),
        )
        yield Failed(run.stage, str(shown), shown)


def ask(job: Job, performer: Performer, allocator: Allocator, cancel: Flag | None = None) -> Result:
    """Run a job to its end; parameters as in `run_job`.

    Raises
    ------
    PathreasonError
        If the job failed; one line that names the remedy.
    concurrent.futures.CancelledError
        If ``cancel`` was set.
    """
    for event in run_job(job, performer, allocator, cancel):
        if isinstance(event, Finished):
            return event.result
        if isinstance(event, Failed):
            raise event.error
    raise CancelledError


class _Run:
    """Where a run stands: its stage, the seconds of each, and whether it shall go on."""

    def __init__(self, cancel: Flag) -> None:
        self.cancel = cancel
        self.stage = Stage.ALLOCATE  # what is refused before the first stage is a matter of this
        self.seconds: dict[str, float] = {}
        self._since: float | None = None

    def begin(self, stage: Stage) -> StageStarted:
        self.end()
        self.stage, self._since = stage, time.perf_counter()
        return StageStarted(stage)

    def end(self) -> None:
        if self._since is not None:
            self.seconds[self.stage.value] = time.perf_counter() - self._since
            self._since = None
        if self.cancel.is_set():
            raise CancelledError


def _answer(job: Job, performer: Performer, allocator: Allocator, run: _Run) -> Iterator[Event]:
    run.end()
    slide = job.slide.info
    request = job.request
    region = request.region.clipped(slide.width, slide.height)
    model = performer.info
    most = model.max_visual_tokens if job.bounded else None
    check_query(request.query, request.budget, model.metadata if job.bounded else None)
    task = TASKS[request.query.task]
    request = replace(request, query=as_trained(request.query, model.metadata))
    job = replace(job, request=request)
    decoded = 0

    if request.budget == "auto":
        overview = None
        if allocator.overview_budget > 0:
            yield run.begin(Stage.OVERVIEW)
            size = make_plan(region, allocator.overview_budget, model.dims.token_px).size
            image = read(job, region, size)
            overview, decoded = image.pixels, image.pixels_decoded
        yield run.begin(Stage.ALLOCATE)
        native = make_plan(region, None, model.dims.token_px).native
        allocation = allocator.allocate(overview, request.query, native, request.effort)
        allocation = _within(allocation, region, model, most)
    else:
        yield run.begin(Stage.ALLOCATE)
        allocation = Allocation(None if request.budget == "native" else request.budget, "user")
    plan = make_plan(region, allocation.budget, model.dims.token_px)
    check_plan(plan, most)
    yield Planned(allocation, plan)

    yield run.begin(Stage.READ)
    image = read(job, region, plan.size)
    decoded += image.pixels_decoded

    yield run.begin(Stage.GENERATE)
    completion = yield from generate(
        job, performer, image, task.messages(request.query), run.cancel
    )
    answer = task.parse(completion.text, request.query)
    confident = confidence(
        read_probabilities(completion.written, request.query, answer), model.calibration
    )
    detections = to_detections(answer.boxes, region, plan.size, model.box_space, confident.boxes)
    zoom = Zoomed(detections)
    views = plan.tokens // VIEW_TOKENS if request.settings.zoom else 0
    if due := windows(detections, region, model.zoom_labels, model.dims.token_px, views):
        yield run.begin(Stage.ZOOM)
        zoom = yield from zoom_in(job, performer, detections, due, run.cancel)
        decoded += zoom.pixels_decoded

    yield run.begin(Stage.PARSE)
    if zoom.views:
        answer = answer_of(answer, zoom.detections, region, plan.size, model.box_space)
        confident = confidence_of(zoom.detections)
    warnings = [*job.slide.notes]
    warnings += input_warnings(request.region, region, slide)
    warnings += allocation_warnings(allocation, request.effort)
    warnings += output_warnings(allocation, plan, image.unreadable)
    doubts = [
        *question_doubts(request.query, model),
        *picture_doubts(region, slide.mpp, image.pixels, image.unreadable, model, completion.ood),
        *reply_doubts(completion, answer, confident.answer, model),
    ]
    tokens = token_report(model.dims, allocation, plan, completion, zoom.views)
    run.end()
    yield Finished(
        Result(
            query=request.query,
            region=region,
            slide=slide,
            model=model,
            allocation=allocation,
            answer=answer,
            detections=zoom.detections,
            tokens=tokens,
            picture_size=plan.size,
            level=image.level,
            pixels_decoded=decoded,
            seconds=run.seconds,
            warnings=tuple(warnings),
            settings=request.settings,
            confidence=confident.answer,
            ood=completion.ood,
            reliability=assess(doubts),
        )
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
