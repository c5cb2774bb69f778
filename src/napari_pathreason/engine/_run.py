"""The main job: the one way from a question to an answer, for docks, shell, tests and training.

A job is a sequence of steps that stands still wherever it needs the model. `run_job` gives it what
one performer answers, with the text as it is written; `ask_together` gives many jobs theirs from
shared passes. Where a region is read as one picture and where it is read by windows, the steps are
the same: plan, read, ask, zoom, put together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from threading import Event as Flag

from napari_pathreason.budgets import BUDGET_GRID, plan as make_plan
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import as_trained
from napari_pathreason.types import (
    Allocation,
    Answer,
    Completion,
    Detection,
    ModelInfo,
    OODScore,
    Reading,
    Request,
    Result,
    View,
    Views,
)

from ._asking import Need, complete
from ._checks import (
    allocation_warnings,
    check_plan,
    check_query,
    input_warnings,
    output_warnings,
    wording_warnings,
)
from ._confidence import confidence_of
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
from ._plan import cost_of, one_view
from ._protocols import Allocator, Performer
from ._reading import Read, prompt_of, read, reading_of
from ._reliability import Doubt, assess, question_doubts, reply_doubts
from ._report import token_report
from ._windows import Windows, by_windows, read_windows
from ._zoom import VIEW_TOKENS, Zoomed, answer_of, zoom_in, zoom_windows

Steps = Generator[Event | Need, list[Completion], None]
"""A job that takes the completions of each `Need` where it yields it; the last event is an ending.
An error of the model is thrown in instead."""


def run_job(
    job: Job, performer: Performer, allocator: Allocator, cancel: Flag | None = None
) -> Iterator[Event]:
    """Answer a question, telling each step as it happens.

    Parameters
    ----------
    job : Job
    performer : Performer
    allocator : Allocator
        Asked only where the budget of the job is ``auto`` and the region is read as one picture.
    cancel : threading.Event, optional
        Once set, the job ends at the next token or stage; any thread may set it.

    Yields
    ------
    Event
        `StageStarted` for each stage, `Planned` before anything of the budget is spent,
        `TextDelta` while the answer is written, `ViewRead` for each window, and exactly one ending:
        `Finished`, `Cancelled` or `Failed`. No exception leaves this iterator.
    """
    flag = cancel or Flag()
    steps = job_steps(job, lambda: performer.info, allocator, flag)
    try:
        item = next(steps)
        while True:
            if not isinstance(item, Need):
                yield item
                item = next(steps)
                continue
            try:
                done = yield from complete(item, performer, job.request.settings, flag)
            except Exception as error:  # the job turns it into the line that its user sees
                item = steps.throw(error)
            else:
                item = steps.send(done)
    except StopIteration:
        return
    finally:
        steps.close()


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


def job_steps(
    job: Job, describe: Callable[[], ModelInfo], allocator: Allocator, cancel: Flag
) -> Steps:
    """The steps of a job, from its first check to its ending; no exception leaves them.

    Parameters
    ----------
    job : Job
    describe : callable
        Gives what is known of the performer that will answer.
    allocator : Allocator
    cancel : threading.Event
    """
    run = _Run(cancel)
    try:
        yield from _answer(job, describe(), allocator, run)
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


@dataclass(slots=True)
class _Run:
    """Where a run stands: its stage, the seconds of each, and whether it shall go on."""

    cancel: Flag
    stage: Stage = Stage.ALLOCATE  # what is refused before the first stage is a matter of this
    seconds: dict[str, float] = field(default_factory=dict)
    _since: float | None = None

    def begin(self, stage: Stage) -> StageStarted:
        self.end()
        self.stage, self._since = stage, time.perf_counter()
        return StageStarted(stage)

    def end(self) -> None:
        if self._since is not None:
            spent = time.perf_counter() - self._since
            self.seconds[self.stage.value] = self.seconds.get(self.stage.value, 0.0) + spent
            self._since = None
        if self.cancel.is_set():
            raise CancelledError

    def took(self, stage: Stage, reads: Sequence[Read]) -> None:
        """Of a stage in which the model worked, the seconds are the model's alone.

        The others are the waits of whoever took the events, or of other jobs in the same pass.
        """
        self.end()
        self.seconds[stage.value] = sum(one.completion.seconds for one in reads)
        if read := sum(one.seconds for one in reads):
            self.seconds[Stage.READ.value] = self.seconds.get(Stage.READ.value, 0.0) + read


def _answer(job: Job, model: ModelInfo, allocator: Allocator, run: _Run) -> Steps:
    run.end()
    request = job.request
    slide = job.slide.info
    region = request.region.clipped(slide.width, slide.height)
    check_query(request.query, request.budget, model.metadata if job.bounded else None)
    query = as_trained(request.query, model.metadata)
    worded = replace(job, request=replace(request, region=region, query=query))
    most = model.max_visual_tokens if job.bounded else None
    if by_windows(worded, model, most):
        found = yield from _by_windows(worded, model, most, run)
    else:
        found = None
    if found is None:  # small, or without any tissue that windows could be laid over
        found = yield from _as_one_picture(worded, model, allocator, most, run)
    yield from _finish(worded, request, model, found, run)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read and said, before small detections are looked at again."""

    allocation: Allocation
    views: Views
    reads: tuple[Read, ...]
    answer: Answer
    detections: tuple[Detection, ...]
    confidence: float | None
    picture_size: tuple[int, int]
    pixels_decoded: int
    doubts: tuple[Doubt, ...]
    warnings: tuple[str, ...] = ()
    before: tuple[Reading, ...] = ()
    unread: tuple[Region, ...] = ()
    windows: Windows | None = None


Finding = Generator[Event | Need, list[Completion], _Found]


def _as_one_picture(
    job: Job, model: ModelInfo, allocator: Allocator, most: int | None, run: _Run
) -> Finding:
    request, token_px = job.request, model.dims.token_px
    region = request.region
    decoded = 0
    if request.budget == "auto":
        overview = None
        if allocator.overview_budget > 0:
            yield run.begin(Stage.OVERVIEW)
            size = make_plan(region, allocator.overview_budget, token_px).size
            image = read(job, region, size)
            overview, decoded = image.pixels, image.pixels_decoded
        yield run.begin(Stage.ALLOCATE)
        native = make_plan(region, None, token_px).native
        allocation = allocator.allocate(overview, request.query, native, request.effort)
        allocation = _within(allocation, region, model, most)
    else:
        yield run.begin(Stage.ALLOCATE)
        allocation = Allocation(None if request.budget == "native" else request.budget, "user")
    plan = make_plan(region, allocation.budget, token_px)
    check_plan(plan, most)
    views = one_view(region, allocation.budget, token_px)
    yield Planned(allocation, views, cost_of(views.views, model, job.slide.level_sizes))

    yield run.begin(Stage.READ)
    image = read(job, region, plan.size)
    yield run.begin(Stage.GENERATE)
    (completion,) = yield Need((prompt_of(request.query, [image]),), streams=True)
    one = reading_of(job, model, views.views, [image], completion)
    run.took(Stage.GENERATE, [one])
    return _Found(
        allocation=allocation,
        views=views,
        reads=(one,),
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
    )


def _by_windows(
    job: Job, model: ModelInfo, most: int | None, run: _Run
) -> Generator[Event | Need, list[Completion], _Found | None]:
    done = yield from read_windows(job, model, most, run.begin)
    if done is None:
        return None
    run.took(Stage.GENERATE, done.reads)
    combined = done.combined
    frame = make_plan(job.request.region, max(done.views.tokens, 1), model.dims.token_px).size
    return _Found(
        allocation=done.allocation,
        views=done.views,
        reads=done.reads,
        answer=combined.answer,
        detections=combined.detections,
        confidence=combined.confidence,
        picture_size=frame,
        pixels_decoded=done.pixels_decoded,
        doubts=done.doubts,
        warnings=(*combined.notes, *done.warnings),
        before=job.before,
        unread=done.unread,
        windows=done,
    )


def _finish(job: Job, request: Request, model: ModelInfo, found: _Found, run: _Run) -> Steps:
    query, region = job.request.query, job.request.region
    readings = (*found.before, *(one.reading for one in found.reads))
    answer, detections, confident = found.answer, found.detections, found.confidence
    zoom = Zoomed(detections)
    views = found.views
    budget = sum(view.tokens for reading in readings for view in reading.views)
    labels = None if model.metadata is None else model.zoom_labels
    due: dict[int, Region] = {}
    if request.settings.zoom and detections:
        shown = [_shown_by(detection, readings, found.views) for detection in detections]
        due = zoom_windows(detections, shown, labels, model.dims.token_px, budget // VIEW_TOKENS)
    if due:
        yield run.begin(Stage.ZOOM)
        zoom = yield from zoom_in(job, model, detections, due, _next_number(readings))
        run.took(Stage.ZOOM, zoom.reads)
        views = replace(views, views=(*views.views, *(one.reading.view for one in zoom.reads)))

    yield run.begin(Stage.PARSE)
    if zoom.reads or found.windows is not None:
        if query.task == "detection" and answer.readable:
            space = model.box_space
            answer = answer_of(answer, zoom.detections, region, found.picture_size, space)
    if zoom.reads:
        confident = confidence_of(zoom.detections).answer
    doubts = [*question_doubts(query, model), *found.doubts]
    if found.windows is None:
        doubts += reply_doubts(found.reads[0].completion, answer, confident, model)
    tokens = token_report(
        model.dims,
        found.allocation,
        views,
        readings,
        [one.reading for one in zoom.reads],
        1 if found.windows is None else found.windows.native.count,
    )
    notes = input_warnings(request.region, region, job.slide.info)
    notes += wording_warnings(request.query, query)
    run.end()
    yield Finished(
        Result(
            query=query,
            region=region,
            slide=job.slide.info,
            model=model,
            allocation=found.allocation,
            answer=answer,
            detections=zoom.detections,
            tokens=tokens,
            picture_size=found.picture_size,
            level=readings[0].level if readings else 0,
            pixels_decoded=found.pixels_decoded
            + sum(one.reading.pixels_decoded for one in zoom.reads),
            seconds=run.seconds,
            warnings=(*job.slide.notes, *notes, *found.warnings),
            settings=request.settings,
            confidence=confident,
            ood=_furthest(readings),
            reliability=assess(doubts),
            views=views,
            readings=(*readings, *(one.reading for one in zoom.reads)),
            unread=found.unread,
            request=replace(request, region=region),
        )
    )


def _shown_by(detection: Detection, readings: Sequence[Reading], views: Views) -> View:
    """The view that showed a detection finest, of those that hold its centre."""
    x, y = detection.box.x + detection.box.w / 2, detection.box.y + detection.box.h / 2

    def holds(view: View) -> bool:
        x1, y1, x2, y2 = view.region.box.corners
        return x1 <= x <= x2 and y1 <= y <= y2

    holding = [r.view for r in readings if len(r.views) == 1 and holds(r.view)]
    finest = min(holding, key=lambda v: v.region.box.area / v.tokens, default=None)
    return finest or views.views[0]


def _next_number(readings: Sequence[Reading]) -> int:
    return 1 + max((view.number for reading in readings for view in reading.views), default=0)


def _furthest(readings: Sequence[Reading]) -> OODScore | None:
    scores = [reading.ood for reading in readings if reading.ood is not None]
    return max(scores, key=lambda one: one.score, default=None)


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
