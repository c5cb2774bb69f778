"""A zoom at small detections: each again, in a view of a second round.

A side of a small thing is written in thousandths of the whole picture, too coarse for its few
pixels. In a window around it the same model writes it in thousandths of the window; so the embedded
model's F1 of platelets in smears of `val` rose from 0.05 to 0.35. What is not there was none. Every
view is counted.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot

import numpy as np

from napari_pathreason.geometry import Box, Region, iou
from napari_pathreason.tasks import summary
from napari_pathreason.types import (
    Answer,
    BoxSpace,
    Completion,
    Detection,
    ModelInfo,
    Reading,
    View,
)

from ._asking import Need
from ._job import Event, Job
from ._plan import numbered, view_of
from ._reading import Read, ask_each, to_boxes

VIEW_TOKENS = 16
"""Visual tokens of a zoom, at the most: four tokens a side."""
WIDER = 3.0
"""How much wider than its detection a window is, where that is more than four tokens."""
CLOSE = 0.25
"""Share of what was shown that a window covers, at the most: a wider one shows it no closer."""
SMALL = 2.0
"""Visual tokens a side below which a box is worth a zoom, of a model that names no labels."""
SAME = 0.5
"""Overlap at which two detections of one label are one thing."""


@dataclass(frozen=True, slots=True)
class Zoomed:
    """What zooms left of the detections.

    ``detections`` are those that were there again, had no window, or had a reply that cannot be
    read, with the confidence of the first view; ``reads`` is what the zooms of this job gave,
    ``readings`` those and the ones of before that were used again.
    """

    detections: tuple[Detection, ...]
    reads: tuple[Read, ...] = ()
    readings: tuple[Reading, ...] = ()


def zoom_windows(
    detections: Sequence[Detection],
    shown: Sequence[View],
    labels: Sequence[str] | None,
    token_px: int,
    most: int,
) -> dict[int, Region]:
    """Which detections get a zoom, and where.

    Parameters
    ----------
    detections : sequence of Detection
    shown : sequence of View
        What showed each of them.
    labels : sequence of str or None
        Of which a zoom is worth it; see `Metadata.zoom_labels`. None: of all whose box is below
        `SMALL` visual tokens a side.
    token_px : int
        Side of a visual token in pixels.
    most : int
        Views, at the most; the first detections have them.

    Returns
    -------
    dict of int to Region
        Windows within what was shown, by the place of their detection.
    """
    wanted = None if labels is None else {label.casefold() for label in labels}
    chosen: dict[int, Region] = {}
    for place, (detection, view) in enumerate(zip(detections, shown, strict=True)):
        region, box = view.region, detection.box
        window = _window(box, region, token_px)
        close = window.box.area <= CLOSE * region.box.area
        if wanted is None:
            token = token_px * max(region.width / view.size[0], region.height / view.size[1])
            worth = max(box.w, box.h) < SMALL * token
        else:
            worth = detection.label.casefold() in wanted
        if close and worth and len(chosen) < most:
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
    model: ModelInfo,
    detections: Sequence[Detection],
    due: Mapping[int, Region],
    first: int = 1,
    before: Sequence[Reading] = (),
) -> Generator[Event | Need, list[Completion], Zoomed]:
    """Ask the same question in each window; what is found there replaces the detection.

    Parameters
    ----------
    job : Job
    model : ModelInfo
    detections : sequence of Detection
        Of the views before; those without a window stay as they are.
    due : mapping of int to Region
        See `zoom_windows`.
    first : int
        Number of the first zoom, by which answers cite it.
    before : sequence of Reading
        Zooms that were read already; they are not read again.
    """
    known = {one.view.region: one for one in before}
    views = numbered(
        (
            replace(
                view_of(window, model.holding(VIEW_TOKENS), model.dims.token_px, "zoom"),
                why=f"a closer view of one {detections[place].label}",
            )
            for place, window in due.items()
            if window not in known
        ),
        first,
    )
    reads = yield from ask_each(job, model, views)
    known |= {one.reading.view.region: one.reading for one in reads}
    left: list[Detection] = []
    for place, detection in enumerate(detections):
        refined: Detection | None = detection
        one = known.get(due[place]) if place in due else None
        if one is not None and one.answer.readable:  # else nothing is known of it
            refined = refine(detection, one.detections)
        if refined is not None:
            left.append(refined)
    used = {window: known[window] for window in due.values() if window in known}
    return Zoomed(_distinct(left), tuple(reads), tuple(used.values()))


def refine(detection: Detection, zoomed: Sequence[Detection]) -> Detection | None:
    """A detection as its zoom shows it: what lies nearest of its label, at its own confidence."""
    same = [one for one in zoomed if one.label.casefold() == detection.label.casefold()]
    if not same:
        return None
    nearest = min(same, key=lambda one: _distance(one.box, detection.box))
    return replace(detection, box=nearest.box)


def _distance(a: Box, b: Box) -> float:
    return hypot(a.x + a.w / 2 - b.x - b.w / 2, a.y + a.h / 2 - b.y - b.h / 2)


def _distinct(detections: Sequence[Detection]) -> tuple[Detection, ...]:
    """Detections, each thing once: of two that are one thing the first stays."""
    import shapely

    shapes = shapely.box(*np.array([one.box.corners for one in detections]).reshape(-1, 4).T)
    same: dict[int, list[int]] = {}
    for place, other in shapely.STRtree(shapes).query(shapes).T.tolist():  # few of all pairs meet
        one, two = detections[place], detections[other]
        if other < place and one.label == two.label and iou(one.box, two.box) >= SAME:
            same.setdefault(place, []).append(other)
    chosen: set[int] = set()
    for place in range(len(detections)):
        if chosen.isdisjoint(same.get(place, ())):
            chosen.add(place)
    return tuple(detections[place] for place in sorted(chosen))


def answer_of(
    answer: Answer,
    detections: Sequence[Detection],
    region: Region,
    picture_size: tuple[int, int],
    space: BoxSpace,
) -> Answer:
    """An answer that tells of ``detections`` in place of its own boxes; see `to_detections`."""
    boxes = to_boxes(detections, region, picture_size, space)
    return replace(answer, text=summary(boxes), boxes=boxes)
