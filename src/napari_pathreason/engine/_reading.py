"""One prompt answered: its pictures read, its reply parsed, its boxes put back on the slide."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from threading import Event as Flag
from typing import TYPE_CHECKING

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Box, Region, VisualFrame
from napari_pathreason.tasks import TASKS, conversation
from napari_pathreason.types import (
    Allocation,
    Answer,
    AnswerBox,
    BoxSpace,
    Completion,
    Detection,
    ModelInfo,
    Prompt,
    Query,
    Reading,
    Turn,
    View,
    Views,
)

from ._asking import Need, complete, most_together
from ._confidence import confidence, read_probabilities, scale_of
from ._job import Event, Job, ViewRead
from ._masking import masked, outline_at
from ._protocols import Performer
from ._reliability import Doubt, assess, doubts_of, picture_doubts, question_doubts, reply_doubts

if TYPE_CHECKING:
    from napari_pathreason.slides import RegionImage

RELATIVE_SIDE = 1000
"""``relative`` boxes run from 0 to 1000 over the region, along each axis."""


@dataclass(frozen=True, slots=True)
class Read:
    """A reading, with what the final answer is assessed by.

    ``doubts`` are those of its pictures; ``seconds`` what reading them took. Of a reading that was
    kept, all are no more known, nor needed where there are several.
    """

    reading: Reading
    doubts: tuple[Doubt, ...] = ()
    seconds: float = 0.0
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What the views of a region showed, before small detections are looked at again.

    Parameters
    ----------
    allocation : Allocation
    views : Views
    reads : tuple of Read
        Of this job.
    before : tuple of Reading
        Windows that were read before, whose answers count too.
    answer : Answer
    detections : tuple of Detection
        Level-0 pixels.
    confidence : float or None
    picture_size : tuple of int
        (width, height) in pixels of the one picture, or of the frame of the answer's boxes.
    pixels_decoded : int
    doubts : tuple of Doubt
        Of the pictures, and of answers that were put together.
    warnings : tuple of str
    unread : tuple of Region
        Windows worth reading that were not read, in the order in which the policy would go on.
    windows : int
        That cover all of the region but glass; 0 where it was read as one picture.
    completion : Completion, optional
        Of the one picture.
    """

    allocation: Allocation
    views: Views
    reads: tuple[Read, ...]
    before: tuple[Reading, ...]
    answer: Answer
    detections: tuple[Detection, ...]
    confidence: float | None
    picture_size: tuple[int, int]
    pixels_decoded: int
    doubts: tuple[Doubt, ...]
    warnings: tuple[str, ...] = ()
    unread: tuple[Region, ...] = ()
    windows: int = 0
    completion: Completion | None = None

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Of all views, those that were read before first."""
        return (*self.before, *(one.reading for one in self.reads))


Asking = Generator[Event | Need, list[Completion], list[Read]]
"""Steps that ask the model, and end in what it said of each view."""


def read(job: Job, region: Region, size: tuple[int, int], slide: str = "") -> RegionImage:
    """Read a region of a job's slide at ``size`` (width, height), masked by its outline.

    ``slide`` names the one that it lies on, see `Job.slide_named`; another than that which is asked
    about is shown as it is.

    Raises
    ------
    QueryError
        If that slide is not there.
    SlideError
        If nothing of it can be read.
    """
    image = job.slide_named(slide).read_region(region, size)
    if image.unreadable >= 1:
        raise SlideError(
            "no part of the region could be read, its tiles are damaged; "
            "get a whole copy of the file or mark another region"
        )
    return image if slide else _masked(job, region, image)


def _masked(job: Job, region: Region, image: RegionImage) -> RegionImage:
    return masked(image, job.slide, region, outline_at(job.request, region))


def prompt_of(
    query: Query,
    model: ModelInfo,
    images: Sequence[RegionImage],
    captions: Sequence[str] = (),
    turns: Sequence[Turn] = (),
) -> Prompt:
    """The prompt of a question about pictures; several are each introduced by a caption.

    Behind ``turns`` of a conversation it stands last, and the pictures in the first of them.
    """
    messages = conversation(turns, query, captions, model.box_space or "relative")
    choices = () if query.task == "detection" else query.options
    return Prompt(tuple(image.pixels for image in images), messages, choices)


def reading_of(
    job: Job,
    model: ModelInfo,
    views: tuple[View, ...],
    images: Sequence[RegionImage],
    completion: Completion,
    seconds: float = 0.0,
) -> Read:
    """What a completion says of the views that its prompt showed.

    Boxes of one view are placed on the slide; of several no box is asked for.
    """
    query = job.request.query
    answer = TASKS[query.task].parse(completion.text, query)
    probabilities = read_probabilities(completion.written, query, answer)
    scale = scale_of(query, probabilities.form, model.calibration, model.metadata)
    confident = confidence(probabilities, scale)
    detections: tuple[Detection, ...] = ()
    if len(views) == 1:
        (view,) = views
        detections = to_detections(
            answer.boxes, view.region, view.size, model.box_space, confident.boxes
        )
    areas = [view.region.box.area for view in views]
    unreadable = sum(a * i.unreadable for a, i in zip(areas, images, strict=True)) / sum(areas)
    doubts = [
        doubt
        for view, image in zip(views, images, strict=True)
        for doubt in picture_doubts(
            view.region,
            job.slide_named(view.slide).info.mpp,
            image.pixels,
            image.unreadable,
            model,
            completion.ood,
        )
    ]
    speaking_against = [
        *question_doubts(query, model),
        *doubts,
        *reply_doubts(completion, answer, confident.answer, model),
    ]
    reading = Reading(
        views=views,
        answer=answer,
        detections=detections,
        confidence=confident.answer,
        reliability=assess(speaking_against),
        ood=completion.ood,
        visual_tokens=completion.visual_tokens,
        prompt_tokens=completion.prompt_tokens,
        new_tokens=completion.new_tokens,
        pixels_decoded=sum(image.pixels_decoded for image in images),
        level=images[0].level,
        unreadable=unreadable,
        seconds=completion.seconds,
        cached_tokens=completion.cached_tokens,
        cached_visual_tokens=completion.cached_visual_tokens,
        choices=probabilities.choices,
    )
    return Read(reading, tuple(doubts), seconds, completion)


def ask_jointly(
    job: Job, model: ModelInfo, views: tuple[View, ...], captions: Sequence[str]
) -> Generator[Event | Need, list[Completion], Read]:
    """Show all views in one prompt; what the job's journal knows already is not asked again.

    Parameters
    ----------
    job : Job
    model : ModelInfo
    views : tuple of View
    captions : sequence of str
        What each picture is and where, in words.
    """
    for known in job.journal or ():
        if known.views == views:
            yield ViewRead(known)
            return Read(known, doubts_of(known.reliability))
    began = time.perf_counter()
    images = [read(job, view.region, view.size, view.slide) for view in views]
    seconds = time.perf_counter() - began
    turns = () if job.request.thread is None else job.request.thread.turns
    prompt = prompt_of(job.request.query, model, images, captions, turns)
    (completion,) = yield Need((prompt,), streams=True)
    one = reading_of(job, model, views, images, completion, seconds)
    yield ViewRead(one.reading)
    return one


def ask_each(job: Job, model: ModelInfo, views: Sequence[View]) -> Asking:
    """Ask the question of each view by itself, as many together as suit the model's device.

    Views of which nothing can be read are left out; what the job has kept is not asked again.

    Yields
    ------
    Need
        Prompts of views; their completions are sent back.
    ViewRead
        Each view that was answered.
    """
    done: list[Read] = []
    journal = {one.views: Read(one) for one in job.journal or ()}
    for chunk in _chunks(views, most_together(model)):
        reads = {view: journal[view,] for view in chunk if (view,) in journal}
        began = time.perf_counter()
        images = {
            view: _masked(job, view.region, image)
            for view in chunk
            if view not in reads
            and (image := job.slide.read_region(view.region, view.size)).unreadable < 1
        }
        if images:
            seconds = (time.perf_counter() - began) / len(images)
            completions = yield Need(
                tuple(prompt_of(job.request.query, model, [image]) for image in images.values())
            )
            for (view, image), completion in zip(images.items(), completions, strict=True):
                reads[view] = reading_of(job, model, (view,), [image], completion, seconds)
        together = [reads[view] for view in chunk if view in reads]
        done += together
        for more, one in zip(reversed(range(len(together))), together, strict=True):
            yield ViewRead(one.reading, more)
    return done


def answer_views(job: Job, views: Sequence[View], performer: Performer) -> Iterator[Reading]:
    """Ask of each view by itself, as `ask_each`, without a plan and without an end.

    For who wants the answers themselves, such as a table that a policy is trained on.

    Parameters
    ----------
    job : Job
        Its question is worded as the model was trained; its policy and budget mean nothing here.
    views : sequence of View
    performer : Performer

    Yields
    ------
    Reading
        Of each view that can be read, as soon as its pass is done.
    """
    steps = ask_each(job, performer.info, views)
    try:
        item = next(steps)
        while True:
            if isinstance(item, Need):
                asking = complete(item, performer, job.request.settings, Flag())
                item = steps.send(_completions(asking))
            else:
                if isinstance(item, ViewRead):
                    yield item.reading
                item = next(steps)
    except StopIteration:
        return


def _completions(asking: Generator[object, None, list[Completion]]) -> list[Completion]:
    """What a model answered, without the text as it was written."""
    while True:
        try:
            next(asking)
        except StopIteration as end:
            done: list[Completion] = end.value
            return done


LEAST_TOGETHER = 8
"""Views that are handed on at once, at the least: passes are cut from them by their tokens."""


def _chunks(views: Sequence[View], most: int) -> Iterable[list[View]]:
    chunk: list[View] = []
    tokens = 0
    for view in views:
        if len(chunk) >= LEAST_TOGETHER and tokens + view.tokens > most:
            yield chunk
            chunk, tokens = [], 0
        chunk.append(view)
        tokens += view.tokens
        if len(chunk) >= 4 * LEAST_TOGETHER:
            yield chunk
            chunk, tokens = [], 0
    if chunk:
        yield chunk


def to_detections(
    boxes: Iterable[AnswerBox],
    region: Region,
    picture_size: tuple[int, int],
    space: BoxSpace | None,
    confidences: Sequence[float] = (),
) -> tuple[Detection, ...]:
    """Place boxes on the slide, clipped to the region; what is empty then is dropped.

    Parameters
    ----------
    boxes : iterable of AnswerBox
        In the checkpoint's own box space.
    region : Region
        What the model was shown, level-0 pixels.
    picture_size : tuple of int
        (width, height) of the picture it was shown, pixels.
    space : BoxSpace or None
        Of None no box can be placed.
    confidences : sequence of float
        One for each box, or none at all.
    """
    if space is None:
        return ()
    frame = frame_of(region, picture_size, space)
    placed = []
    confident = confidences or repeat(None)
    for box, one in zip(boxes, confident, strict=False):
        corners = in_order((box.x1, box.y1, box.x2, box.y2), space)
        on_slide = _cut_to(frame.to_slide(Box.from_corners(*corners)), region)
        if on_slide.area > 0:
            placed.append(Detection(box.label, on_slide, one))
    return tuple(placed)


def to_boxes(
    detections: Iterable[Detection], region: Region, picture_size: tuple[int, int], space: BoxSpace
) -> tuple[AnswerBox, ...]:
    """Detections as boxes of an answer, in a checkpoint's own box space; see `to_detections`."""
    frame = frame_of(region, picture_size, space)
    return tuple(
        AnswerBox(detection.label, *in_order(frame.to_picture(detection.box).corners, space))
        for detection in detections
    )


def in_order(
    corners: tuple[float, float, float, float], space: BoxSpace
) -> tuple[float, float, float, float]:
    """Corners (x1, y1, x2, y2) as a box space has them, or back: some have y before x."""
    x1, y1, x2, y2 = corners
    return (y1, x1, y2, x2) if space == "relative_yx" else corners


def frame_of(region: Region, picture_size: tuple[int, int], space: BoxSpace) -> VisualFrame:
    """The map between a checkpoint's box space and the slide; parameters as in `to_detections`."""
    side = (RELATIVE_SIDE, RELATIVE_SIDE)
    return VisualFrame(region, picture_size if space == "resized" else side)


def _cut_to(box: Box, region: Region) -> Box:
    x1, y1, x2, y2 = box.corners
    left, top, right, bottom = region.box.corners
    x1, x2 = (min(max(x, left), right) for x in (x1, x2))
    y1, y2 = (min(max(y, top), bottom) for y in (y1, y2))
    return Box(x1, y1, x2 - x1, y2 - y1)
