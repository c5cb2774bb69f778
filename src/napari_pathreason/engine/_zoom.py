"""A zoom at small finds: each again, in a window of its own.

A side of a small thing is told in thousandths of the whole region, too coarse for its few pixels.
In a window around it the same model tells it in thousandths of the window; so the embedded model's
F1 of platelets in smears of `val` rose from 0.05 to 0.35. What is not seen there was none. Every
look is counted.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot
from threading import Event as Flag

from napari_pathreason.budgets import plan as make_plan
from napari_pathreason.geometry import Box, Region, iou
from napari_pathreason.tasks import TASKS, summary
from napari_pathreason.types import Answer, AnswerBox, BoxSpace, Completion, Detection

from ._asking import generate, read
from ._boxes import frame_of, to_detections
from ._events import TextDelta
from ._job import Job
from ._protocols import Performer

VIEW_TOKENS = 16
"""Visual tokens of a zoom, at the most: four cells a side."""
WIDER = 3.0
"""How much wider than its find a window is, where that is more than four cells."""
CLOSE = 0.25
"""Share of the region that a window covers, at the most: a wider one shows it no closer."""
SAME = 0.5
"""Overlap at which two finds of one label are one thing."""


@dataclass(frozen=True, slots=True)
class Zoomed:
    """What zooms left of the finds.

    ``detections`` are those that were seen again, had no window, or had a look that cannot be read,
    as sure as the first look was of them; ``views`` is what the model wrote.
    """

    detections: tuple[Detection, ...]
    views: tuple[Completion, ...] = ()
    pixels_decoded: int = 0


def windows(
    detections: Sequence[Detection], region: Region, labels: Sequence[str], token_px: int, most: int
) -> dict[int, Region]:
    """Which finds get a zoom, and where.

    Parameters
    ----------
    detections : sequence of Detection
    region : Region
        What the model was shown first, level-0 pixels.
    labels : sequence of str
        Of which a zoom is worth it; see `Metadata.zoom_labels`.
    token_px : int
        Side of a visual token in pixels.
    most : int
        Looks, at the most; the first finds have them.

    Returns
    -------
    dict of int to Region
        Windows within the region, by the place of their find.
    """
    wanted = {label.casefold() for label in labels}
    found: dict[int, Region] = {}
    for place, detection in enumerate(detections):
        window = _window(detection.box, region, token_px)
        close = window.box.area <= CLOSE * region.box.area
        if close and len(found) < most and detection.label.casefold() in wanted:
            found[place] = window
    return found


def _window(box: Box, region: Region, token_px: int) -> Region:
    """A square about the middle of a box, moved into the region where it sticks out."""
    side = round(max(4 * token_px, WIDER * box.w, WIDER * box.h))
    width, height = min(side, region.width), min(side, region.height)
    left, top = round(box.x + (box.w - width) / 2), round(box.y + (box.h - height) / 2)
    left = min(max(left, region.x), region.x + region.width - width)
    top = min(max(top, region.y), region.y + region.height - height)
    return Region(left, top, width, height)


def zoom_in(
    job: Job,
    performer: Performer,
    detections: Sequence[Detection],
    windows: Mapping[int, Region],
    cancel: Flag,
) -> Generator[TextDelta, None, Zoomed]:
    """Ask the same question in each window; what is found there takes the place of the find.

    Parameters
    ----------
    job : Job
    performer : Performer
    detections : sequence of Detection
        Of the first look; those without a window stay as they are.
    windows : mapping of int to Region
        See `windows`.
    cancel : threading.Event

    Yields
    ------
    TextDelta
        Empty, while the model is at work: the answer's own text stands already.

    Raises
    ------
    SlideError, ModelError, concurrent.futures.CancelledError
        As the first look does.
    """
    task = TASKS[job.request.query.task]
    left: list[Detection] = []
    views, decoded = [], 0
    for place, detection in enumerate(detections):
        seen: Detection | None = detection
        if place in windows:
            window = windows[place]
            size = make_plan(window, VIEW_TOKENS, performer.info.dims.token_px).size
            image = read(job, window, size)
            decoded += image.pixels_decoded
            view = yield from _silent(
                generate(job, performer, image, task.messages(job.request.query), cancel)
            )
            views.append(view)
            told = task.parse(view.text, job.request.query)
            if told.readable:  # else nothing is known of it, and the find stays as it was
                space = performer.info.box_space
                seen = refine(detection, to_detections(told.boxes, window, size, space))
        if seen is not None and not _known(seen, left):
            left.append(seen)
    return Zoomed(tuple(left), tuple(views), decoded)


def _silent(
    writing: Generator[TextDelta, None, Completion],
) -> Generator[TextDelta, None, Completion]:
    while True:
        try:
            next(writing)
        except StopIteration as end:
            done: Completion = end.value
            return done
        yield TextDelta("")


def refine(detection: Detection, seen: Sequence[Detection]) -> Detection | None:
    """The find as it was seen again: what lies nearest to it of its label; it stays as sure."""
    same = [one for one in seen if one.label.casefold() == detection.label.casefold()]
    if not same:
        return None
    nearest = min(same, key=lambda one: _distance(one.box, detection.box))
    return replace(detection, box=nearest.box)


def _distance(a: Box, b: Box) -> float:
    return hypot(a.x + a.w / 2 - b.x - b.w / 2, a.y + a.h / 2 - b.y - b.h / 2)


def _known(detection: Detection, others: Sequence[Detection]) -> bool:
    return any(
        one.label == detection.label and iou(one.box, detection.box) >= SAME for one in others
    )


def answer_of(
    answer: Answer,
    detections: Sequence[Detection],
    region: Region,
    picture_size: tuple[int, int],
    space: BoxSpace,
) -> Answer:
    """An answer that tells of ``detections`` in place of its own boxes; see `to_detections`."""
    frame = frame_of(region, picture_size, space)
    boxes = tuple(
        AnswerBox(detection.label, *frame.to_picture(detection.box).corners)
        for detection in detections
    )
    return replace(answer, text=summary(boxes), boxes=boxes)
