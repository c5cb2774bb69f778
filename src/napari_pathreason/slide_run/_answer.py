"""Tiles through the main job, the model asked once for all that have the same size.

Each tile runs `engine.run_job` as any other question does. Its performer is a stand-in that holds
the job up where the picture would be read; when all jobs of a group wait there, pictures of equal
size go to the model together, and each job goes on with its own completion.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from threading import Event as Flag
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from napari_pathreason._errors import SlideError
from napari_pathreason._geometry import Region
from napari_pathreason._types import (
    Allocation,
    Budget,
    Completion,
    Effort,
    GenerationSettings,
    Messages,
    ModelInfo,
    Query,
    Result,
    SlideInfo,
)
from napari_pathreason.engine import (
    Allocator,
    BatchPerformer,
    Cancelled,
    Event,
    Failed,
    Finished,
    Job,
    Performer,
    Stage,
    TextDelta,
    run_job,
)

from ._record import TileRecord, record_of
from ._settings import DetectSettings
from ._tiles import Tile

if TYPE_CHECKING:
    from napari_pathreason.slides import Slide


TOGETHER_ON_CPU = 256
"""Visual tokens that a processor takes in one pass: a pass cannot be cancelled, and of more tokens
together little is gained there."""


class Group:
    """Some tiles of a slide that are read and answered together.

    Parameters
    ----------
    slide : Slide
    tiles : sequence of Tile
    settings : DetectSettings
    performer : Performer
    allocator : Allocator
    cancel : threading.Event
    """

    def __init__(
        self,
        slide: Slide,
        tiles: Sequence[Tile],
        settings: DetectSettings,
        performer: Performer,
        allocator: Allocator,
        cancel: Flag,
    ) -> None:
        self._performer, self._settings, self._cancel = performer, settings, cancel
        self._jobs = [
            _Waiting(slide, tile, settings, performer.info, allocator, cancel) for tile in tiles
        ]
        self._equal: dict[tuple[int, ...], list[_Waiting]] = defaultdict(list)

    def read(self) -> Self:
        """Allot and read each tile; in any thread, while the model is at another group."""
        for job in self._jobs:
            if job.start():
                self._equal[job.pictures[0].shape].append(job)
        return self

    def answer(self) -> list[TileRecord]:
        """Ask the model.

        Returns
        -------
        list of TileRecord
            In the order of the tiles. One whose part of the file is damaged is among them.

        Raises
        ------
        PathreasonError
            If anything but damage kept a tile from being answered.
        concurrent.futures.CancelledError
            If ``cancel`` was set.
        """
        for same in self._equal.values():
            most = _together(same[0].pictures[0], self._performer.info)
            for start in range(0, len(same), most):
                some = same[start : start + most]
                _generate(some, self._performer, self._settings.generation, self._cancel)
        return [job.end() for job in self._jobs]


def _together(pixels: NDArray[np.uint8], model: ModelInfo) -> int:
    """How many pictures of this size go to the model at once."""
    if model.device != "cpu":
        return sys.maxsize
    cell = model.dims.cell
    tokens: int = pixels.shape[0] * pixels.shape[1] // (cell * cell)
    return max(1, TOGETHER_ON_CPU // max(tokens, 1))


def most_tokens(region: Region, slide: SlideInfo, mpp: float, cell: int) -> int:
    """Visual tokens of a region that is read at ``mpp``."""
    x, y = slide.mpp or (mpp, mpp)
    return max(1, round(region.width * x / mpp / cell)) * max(
        1, round(region.height * y / mpp / cell)
    )


@dataclass(frozen=True, slots=True)
class _Capped:
    """An allocator that allots no more than the run's resolution has."""

    allocator: Allocator
    most: int

    @property
    def overview_budget(self) -> int:
        return self.allocator.overview_budget

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        chosen = self.allocator.allocate(overview, query, min(native, self.most), effort)
        if chosen.budget is None or chosen.budget > self.most:
            return replace(chosen, budget=self.most)
        return chosen


class _Waiting:
    """A tile's job, and its performer: the job waits in `generate` until it is given an answer."""

    def __init__(
        self,
        slide: Slide,
        tile: Tile,
        settings: DetectSettings,
        info: ModelInfo,
        allocator: Allocator,
        cancel: Flag,
    ) -> None:
        most = most_tokens(tile.region, slide.info, settings.mpp, info.dims.cell)
        budget: Budget = settings.budget if tile.override is None else tile.override
        if budget != "auto":
            budget = most if budget == "native" else min(budget, most)
        job = Job(slide, tile.region, settings.query, budget, settings.generation, settings.effort)
        self.info = info
        self.pictures: list[NDArray[np.uint8]] = []
        self.messages: Messages = []
        self.completion: Completion | None = None
        self.error: Exception | None = None
        self._tile = tile
        self._events = run_job(job, self, _Capped(allocator, most), cancel)
        self._ending: Event | None = None

    def generate(
        self,
        pixels: NDArray[np.uint8],
        messages: Messages,
        settings: GenerationSettings,
        cancel: Flag,
    ) -> Iterator[str | Completion]:
        self.pictures, self.messages = [pixels], messages
        yield ""  # the job tells of a piece of text, and waits to be asked for more
        if self.error is not None:
            raise self.error
        if self.completion is not None:
            yield self.completion

    def start(self) -> bool:
        """Go on until the model is needed; False if the job ended before."""
        for event in self._events:
            if isinstance(event, TextDelta):
                return True
            self._ending = event
        return False

    def end(self) -> TileRecord:
        """Go on with the answer to the end."""
        self.pictures = []
        for event in self._events:
            self._ending = event
        if isinstance(self._ending, Finished):
            return self._finished(self._ending.result)
        if isinstance(self._ending, Cancelled):
            raise CancelledError
        if not isinstance(self._ending, Failed):
            raise RuntimeError("a job ended without an ending")
        error = self._ending.error
        # with a cause it is the disk or the network, and other tiles fare no better
        if isinstance(error, SlideError) and error.__cause__ is None:
            return TileRecord(
                self._tile.index,
                unreadable=True,
                warnings=(str(error),),
                override=self._tile.override,
            )
        raise error

    def _finished(self, result: Result) -> TileRecord:
        seconds = dict(result.seconds)
        if self.completion is not None:  # the stage also holds the wait for the other tiles
            seconds[Stage.GENERATE.value] = self.completion.seconds
        return record_of(self._tile, replace(result, seconds=seconds))


def _generate(
    jobs: Sequence[_Waiting], performer: Performer, settings: GenerationSettings, cancel: Flag
) -> None:
    """Hand each job its completion, or what the model raised."""
    try:
        if isinstance(performer, BatchPerformer) and len(jobs) > 1:
            pictures = [job.pictures[0] for job in jobs]
            prompts = [job.messages for job in jobs]
            answers = performer.generate_batch(pictures, prompts, settings, cancel)
            for job, answer in zip(jobs, answers, strict=True):
                job.completion = answer
            return
        for job in jobs:
            for piece in performer.generate(job.pictures[0], job.messages, settings, cancel):
                if isinstance(piece, Completion):
                    job.completion = piece
    except Exception as error:  # each job turns it into the line that its user sees
        for job in jobs:
            if job.completion is None:
                job.error = error
