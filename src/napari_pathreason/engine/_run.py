"""The main job: the one way from a question to an answer, for docks, shell, tests and training.

A job is a sequence of steps that stands still wherever it needs the model. `run_job` gives it what
one performer answers, with the text as it is written; `ask_together` gives many jobs theirs from
shared passes. Where a region is read as one picture and where it is read by windows, the steps are
the same: plan, read, ask, zoom, put together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from threading import Event as Flag

import numpy as np

from napari_pathreason.tasks import as_trained
from napari_pathreason.types import (
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
    boxes_warnings,
    check_boxes,
    check_query,
    input_warnings,
    realised_warnings,
    wording_warnings,
)
from ._confidence import confidence_of
from ._follow_up import new_question_note, read_thread
from ._job import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Job,
    Stage,
    StageStarted,
    as_user_error,
)
from ._masking import fill_of, masking_note
from ._order import check_order
from ._picture import read_picture
from ._protocols import Allocator, Performer
from ._reading import Found, Read
from ._reliability import assess, question_doubts, reply_doubts
from ._report import token_report
from ._several import TOGETHER, read_together
from ._windows import by_windows, learned_windows, read_windows
from ._zoom import VIEW_TOKENS, Zoomed, answer_of, zoom_in, zoom_windows

Steps = Generator[Event | Need, list[Completion], None]
"""A job that takes the completions of each `Need` where it yields it; the last event is an ending.
An error of the model is thrown in instead."""


def run_job(
    job: Job, performer: Performer, allocator: Allocator, cancel: Flag | None = None
) -> Generator[Event, None, None]:
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
    return result_of(run_job(job, performer, allocator, cancel))


def result_of(events: Iterable[Event]) -> Result:
    """Take the events of a job, such as those of `run_job`, to their end.

    Raises
    ------
    PathreasonError
        If the job failed; one line that names the remedy.
    concurrent.futures.CancelledError
        If it was cancelled.
    """
    for event in events:
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
        self.seconds[stage.value] = sum(one.reading.seconds for one in reads)
        if read := sum(one.seconds for one in reads):
            self.seconds[Stage.READ.value] = self.seconds.get(Stage.READ.value, 0.0) + read


def _answer(job: Job, model: ModelInfo, allocator: Allocator, run: _Run) -> Steps:
    run.end()
    request, notes = job.request, []
    if request.thread is not None and not model.converses:
        request, notes = replace(request, thread=None), [new_question_note(model)]
    slide = job.slide.info
    region = request.region.clipped(slide.width, slide.height)
    check_query(request.query, request.budget, model.metadata if job.bounded else None)
    check_boxes(request.query, model)
    query = as_trained(request.query, model.metadata)
    worded = replace(job, request=replace(request, region=region, query=query))
    found = yield from _find(worded, model, allocator, run.begin)
    run.took(Stage.GENERATE, found.reads)
    zoom = yield from _look_again(worded, model, found, run)
    yield run.begin(Stage.PARSE)
    result = _result(worded, request, model, found, zoom)
    result = replace(result, warnings=(*notes, *result.warnings))
    if request.settings.check_order:
        yield run.begin(Stage.CHECK)
        result = yield from check_order(
            worded, model, result, lambda again: _find(again, model, allocator, StageStarted)
        )
    run.end()
    yield Finished(replace(result, seconds=run.seconds))


def _find(
    job: Job, model: ModelInfo, allocator: Allocator, begin: Callable[[Stage], StageStarted]
) -> Generator[Event | Need, list[Completion], Found]:
    """What the views of a job's region show; its region lies on the slide, its words are worded."""
    most = model.max_visual_tokens if job.bounded else None
    found = None
    if job.request.thread is not None:
        found = yield from read_thread(job, model, job.request.thread, begin)
    elif job.request.policy == TOGETHER:
        found = yield from read_together(job, model, most, begin)
    elif by_windows(job, model, most):
        found = yield from read_windows(job, model, learned_windows(allocator), most, begin)
    if found is None:  # small, or without any tissue that windows could be laid over
        found = yield from read_picture(job, model, allocator, most, begin)
    return found


def _look_again(
    job: Job, model: ModelInfo, found: Found, run: _Run
) -> Generator[Event | Need, list[Completion], Zoomed]:
    """Small detections again, each in a view of its own."""
    readings = found.readings
    if not job.request.settings.zoom or not found.detections:
        return Zoomed(found.detections)
    shown = _shown_by(found.detections, readings, found.views)
    labels = None if model.metadata is None else model.zoom_labels
    most = sum(view.tokens for reading in readings for view in reading.views) // VIEW_TOKENS
    due = zoom_windows(found.detections, shown, labels, model.dims.token_px, most)
    if not due:
        return Zoomed(found.detections)
    before = [one for one in job.before if one.view.role == "zoom"]
    if not all(window in {one.view.region for one in before} for window in due.values()):
        yield run.begin(Stage.ZOOM)
    zoom = yield from zoom_in(job, model, found.detections, due, _next_number(found, job), before)
    if zoom.reads:
        run.took(Stage.ZOOM, zoom.reads)
    return zoom


def _result(job: Job, request: Request, model: ModelInfo, found: Found, zoom: Zoomed) -> Result:
    """The answer with its account and all that speaks against it."""
    query, region = job.request.query, job.request.region
    readings = found.readings
    answer, confident = found.answer, found.confidence
    if query.task == "detection" and answer.readable and (zoom.readings or found.windows):
        space = model.box_space or "relative"
        answer = answer_of(answer, zoom.detections, region, found.picture_size, space)
    if zoom.readings:
        confident = confidence_of(zoom.detections).answer
    doubts = [*question_doubts(query, model), *found.doubts]
    if found.completion is not None:
        doubts += reply_doubts(found.completion, answer, confident, model)
    fill = fill_of(request, job.slide)
    views = replace(
        found.views,
        views=(*found.views.views, *(one.view for one in zoom.readings)),
        fill=fill,
    )
    notes = input_warnings(request.region, region, job.slide.info)
    notes += wording_warnings(request.query, query)
    notes += boxes_warnings(query, model)
    notes += realised_warnings([*readings, *zoom.readings], model)
    notes += [] if fill is None else [masking_note(fill)]
    return Result(
        query=query,
        region=region,
        slide=job.slide.info,
        model=model,
        allocation=found.allocation,
        answer=answer,
        detections=zoom.detections,
        tokens=token_report(
            model.dims, found.allocation, views, readings, zoom.readings, max(found.windows, 1)
        ),
        picture_size=found.picture_size,
        level=readings[0].level,
        pixels_decoded=found.pixels_decoded + sum(one.reading.pixels_decoded for one in zoom.reads),
        warnings=(*job.slide.notes, *model.notes, *notes, *found.warnings),
        settings=request.settings,
        confidence=confident,
        ood=_furthest(readings),
        reliability=assess(doubts),
        views=views,
        readings=(*readings, *zoom.readings),
        unread=found.unread,
        request=replace(request, region=region),
    )


def _shown_by(
    detections: Sequence[Detection], readings: Sequence[Reading], views: Views
) -> list[View]:
    """For each detection the view that showed it finest, of those that hold its centre."""
    import shapely

    alone = [one.view for one in readings if len(one.views) == 1]
    shapes = shapely.box(*np.array([view.region.box.corners for view in alone]).reshape(-1, 4).T)
    centres = [(one.box.x + one.box.w / 2, one.box.y + one.box.h / 2) for one in detections]
    which, holding = shapely.STRtree(shapes).query(shapely.points(centres), "intersects")
    finest: dict[int, View] = {}
    # in the order of reading: of views that show it alike, the first
    order = np.lexsort((holding, which))
    for place, number in zip(which[order].tolist(), holding[order].tolist(), strict=True):
        view = alone[number]
        if place not in finest or _token_area(view) < _token_area(finest[place]):
            finest[place] = view
    return [finest.get(place, views.views[0]) for place in range(len(detections))]


def _token_area(view: View) -> float:
    """How much of the slide a token of a view shows, level-0 pixels."""
    return view.region.box.area / view.tokens


def _next_number(found: Found, job: Job) -> int:
    views = (*found.views.views, *(view for one in job.before for view in one.views))
    return 1 + max((view.number for view in views), default=0)


def _furthest(readings: Sequence[Reading]) -> OODScore | None:
    scores = [reading.ood for reading in readings if reading.ood is not None]
    return max(scores, key=lambda one: one.score, default=None)
