"""Reading a region for the model, and asking it; what every look of a job does."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import CancelledError
from threading import Event as Flag
from typing import TYPE_CHECKING

from napari_pathreason.errors import ModelError, SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.types import Completion, Messages

from ._events import TextDelta
from ._job import Job
from ._protocols import Performer

if TYPE_CHECKING:
    from napari_pathreason.slides import RegionImage


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
    for piece in performer.generate(image.pixels, messages, job.request.settings, cancel):
        if isinstance(piece, str):
            yield TextDelta(piece)
            continue
        if piece.finish == "cancelled":
            raise CancelledError
        return piece
    raise ModelError("the model stopped without ending its answer; ask again")
