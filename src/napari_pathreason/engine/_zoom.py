"""A zoom at small detections: each again, in a window of its own.

A side of a small thing is written in thousandths of the whole region, too coarse for its few
pixels. In a window around it the same model writes it in thousandths of the window; so the embedded
model's F1 of platelets in smears of `val` rose from 0.05 to 0.35. What is not there was none. Every
view is counted.
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

from ._job import Job, TextDelta
from ._protocols import Performer
from ._view import frame_of, generate, read, to_detections

VIEW_TOKENS = 16
"""Visual tokens of a zoom, at the most: four tokens a side."""
WIDER = 3.0
"""How much wider than its detection a window is, where that is more than four tokens."""
CLOSE = 0.25
"""Share of the region that a window covers, at the most: a wider one shows it no closer."""
SAME = 0.5
"""Overlap at which two detections of one label are one thing."""


@dataclass(frozen=True, slots=True)
class Zoomed:
    """What zooms left of the detections.

    ``detections`` are those that were there again, had no window, or had a reply that cannot be
    read, with the confidence of the first view; ``views`` is what the model wrote.
    """

    detections: tuple[Detection, ...]
    views: tuple[Completion, ...] = ()
    pixels_decoded: int = 0


def windows(
    detections: Sequence[Detection], region: Region, labels: Sequence[str], token_px: int, most: int
) -> dict[int, Region]:
    """Which detections get a zoom, and where.

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
        Views, at the most; the first detections have them.

    Returns
    -------
    dict of int to Region
        Windows within the region, by the place of their detection.
    """
    wanted = {label.casefold() for label in labels}
    chosen: dict[int, Region] = {}
    for place, detection in enumerate(detections):
        window = _window(detection.box, region, token_px)
        close = window.box.area <= CLOSE * region.box.area
        if close and len(chosen) < most and detection.label.casefold() in wanted:
            chosen[place] = window
    return chosen


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
    due: Mapping[int, Region],
    cancel: Flag,
) -> Generator[TextDelta, None, Zoomed]:
    """Ask the same question in each window; what is found there replaces the detection.

    Parameters
    ----------
    job : Job
    performer : Performer
    detections : sequence of Detection
        Of the first view; those without a window stay as they are.
    due : mapping of int to Region
        See `windows`.
    cancel : threading.Event

    Yields
    ------
    TextDelta
        Empty, while the model is at work: the answer's own text stands already.

    Raises
    ------
    SlideError, ModelError, concurrent.futures.CancelledError
        As the first view does.
    """
    task = TASKS[job.request.query.task]
    left: list[Detection] = []
    views, decoded = [], 0
    for place, detection in enumerate(detections):
        refined: Detection | None = detection
        if place in due:
            window = due[place]
            size = make_plan(window, VIEW_TOKENS, performer.info.dims.token_px).size
            image = read(job, window, size)
            decoded += image.pixels_decoded
            view = yield from _silent(
                generate(job, performer, image, task.messages(job.request.query), cancel)
            )
            views.append(view)
            answer = task.parse(view.text, job.request.query)
            if answer.readable:  # else nothing is known of it, and the detection stays
                space = performer.info.box_space
                refined = refine(detection, to_detections(answer.boxes, window, size, space))
        if refined is not None and not _is_among(refined, left):
            left.append(refined)
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


def refine(detection: Detection, zoomed: Sequence[Detection]) -> Detection | None:
    """A detection as its zoom shows it: what lies nearest of its label, at its own confidence."""
    same = [one for one in zoomed if one.label.casefold() == detection.label.casefold()]
    if not same:
        return None
    nearest = min(same, key=lambda one: _distance(one.box, detection.box))
    return replace(detection, box=nearest.box)


def _distance(a: Box, b: Box) -> float:
    return hypot(a.x + a.w / 2 - b.x - b.w / 2, a.y + a.h / 2 - b.y - b.h / 2)


def _is_among(detection: Detection, others: Sequence[Detection]) -> bool:
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
