"""One view: a region read for the model, asked about, and its boxes put back on the slide."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import CancelledError
from itertools import repeat
from threading import Event as Flag
from typing import TYPE_CHECKING

from napari_pathreason.errors import ModelError, SlideError
from napari_pathreason.geometry import Box, Region, VisualFrame
from napari_pathreason.types import AnswerBox, BoxSpace, Completion, Detection, Messages, Prompt

from ._job import Job, TextDelta
from ._protocols import Performer

if TYPE_CHECKING:
    from napari_pathreason.slides import RegionImage

RELATIVE_SIDE = 1000
"""``relative`` boxes run from 0 to 1000 over the region, along each axis."""


def read(job: Job, region: Region, size: tuple[int, int]) -> RegionImage:
    """Read a region of the job's slide at ``size`` (width, height).

    Raises
    ------
    SlideError
        If nothing of it can be read.
    """
    image = job.slide.read_region(region, size)
    if image.unreadable >= 1:
        raise SlideError(
            "no part of the region could be read, its tiles are damaged; "
            "get a whole copy of the file or mark another region"
        )
    return image


def generate(
    job: Job, performer: Performer, image: RegionImage, messages: Messages, cancel: Flag
) -> Generator[TextDelta, None, Completion]:
    """Ask the model about a picture; the text as it is written, then the completion.

    Raises
    ------
    ModelError
        If the model ends without a completion.
    concurrent.futures.CancelledError
        If ``cancel`` was set meanwhile.
    """
    prompt = Prompt((image.pixels,), messages)
    for piece in performer.generate(prompt, job.request.settings, cancel):
        if isinstance(piece, str):
            yield TextDelta(piece)
            continue
        if piece.finish == "cancelled":
            raise CancelledError
        return piece
    raise ModelError("the model stopped without ending its answer; ask again")


def to_detections(
    boxes: Iterable[AnswerBox],
    region: Region,
    picture_size: tuple[int, int],
    space: BoxSpace,
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
    space : {"relative", "resized"}
        0 to 1000 of the region, or pixels of the picture.
    confidences : sequence of float
        One for each box, or none at all.
    """
    frame = frame_of(region, picture_size, space)
    placed = []
    confident = confidences or repeat(None)
    for box, confidence in zip(boxes, confident, strict=False):
        on_slide = _cut_to(frame.to_slide(Box.from_corners(box.x1, box.y1, box.x2, box.y2)), region)
        if on_slide.area > 0:
            placed.append(Detection(box.label, on_slide, confidence))
    return tuple(placed)


def frame_of(region: Region, picture_size: tuple[int, int], space: BoxSpace) -> VisualFrame:
    """The map between a checkpoint's box space and the slide; parameters as in `to_detections`."""
    side = (RELATIVE_SIDE, RELATIVE_SIDE)
    return VisualFrame(region, side if space == "relative" else picture_size)


def _cut_to(box: Box, region: Region) -> Box:
    x1, y1, x2, y2 = box.corners
    left, top, right, bottom = region.box.corners
    x1, x2 = (min(max(x, left), right) for x in (x1, x2))
    y1, y2 = (min(max(y, top), bottom) for y in (y1, y2))
    return Box(x1, y1, x2 - x1, y2 - y1)
