"""Tiles through the main job, the model asked once for all that have the same size.

Each tile runs the main job as any other question does, and waits where it needs the model; when
all jobs of a group wait there, pictures of equal size go to the model together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from threading import Event as Flag
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from napari_pathreason import engine, slides
from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.types import Allocation, Budget, Effort, ModelInfo, Query, Request, SlideInfo

from ._plan import RunPlan, check_encoder
from ._record import DAMAGED, TileRecord, record_of
from ._settings import RunSettings
from ._tiles import Tile


class Group:
    """Some tiles of a slide that are read and answered together.

    Parameters
    ----------
    slide : Slide
    tiles : sequence of Tile
    settings : RunSettings
    performer : Performer
    allocator : Allocator
    cancel : threading.Event
    """

    def __init__(
        self,
        slide: slides.Slide,
        tiles: Sequence[Tile],
        settings: RunSettings,
        performer: engine.Performer,
        allocator: engine.Allocator,
        cancel: Flag,
    ) -> None:
        self._performer, self._cancel = performer, cancel
        self._jobs = [
            (tile, _parked(slide, tile, settings, performer.info, allocator, cancel))
            for tile in tiles
        ]
        self._waiting: list[engine.ParkedJob] = []

    def read(self) -> Self:
        """Allocate and read each tile; in any thread, while the model is at another group."""
        self._waiting = [job for _, job in self._jobs if job.advance()]
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
        while self._waiting:  # again where detections get a zoom
            engine.answer_parked(self._waiting, self._performer, self._cancel)
            self._waiting = [job for job in self._waiting if job.advance()]
        return [_record(tile, job) for tile, job in self._jobs]


def most_tokens(region: Region, slide: SlideInfo, mpp: float, token_px: int) -> int:
    """Visual tokens of a region that is read at ``mpp``."""
    x, y = slide.mpp or (mpp, mpp)
    return max(1, round(region.width * x / mpp / token_px)) * max(
        1, round(region.height * y / mpp / token_px)
    )


@dataclass(frozen=True, slots=True)
class _Capped:
    """An allocator that allocates no more than the run's resolution has."""

    allocator: engine.Allocator
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


def _parked(
    slide: slides.Slide,
    tile: Tile,
    settings: RunSettings,
    info: ModelInfo,
    allocator: engine.Allocator,
    cancel: Flag,
) -> engine.ParkedJob:
    """A tile's job, which waits where it needs the model."""
    most = most_tokens(tile.region, slide.info, settings.mpp, info.dims.token_px)
    budget: Budget = settings.budget if tile.override is None else tile.override
    if budget != "auto":
        budget = most if budget == "native" else min(budget, most)
    job = engine.Job(
        slide,
        Request(
            tile.region,
            settings.query,
            budget,
            settings.generation,
            settings.effort,
            policy="one_view",
        ),
    )
    return engine.ParkedJob(job, info, _Capped(allocator, most), cancel)


def _record(tile: Tile, job: engine.ParkedJob) -> TileRecord:
    """What became of a tile; a damaged one is a record too, other failures are raised."""
    ending = job.end()
    if isinstance(ending, engine.Finished):
        return record_of(tile, ending.result)
    if isinstance(ending, engine.Cancelled):
        raise CancelledError
    error = ending.error
    # with a cause it is the disk or the network, and other tiles fare no better
    if isinstance(error, SlideError) and error.__cause__ is None:
        return TileRecord(tile.index, unreadable=True, reliability=DAMAGED, override=tile.override)
    raise error


class Answers(Protocol):
    """Where tiles are answered: in this process, or on others."""

    def model(self) -> tuple[ModelInfo, bool]:
        """What answers, and whether it takes several tiles at once."""

    def run(
        self, plan: RunPlan, groups: Sequence[tuple[Tile, ...]], cancel: Flag
    ) -> Iterator[list[TileRecord]]:
        """Answer groups of tiles, in any order, each as soon as it is done.

        Raises
        ------
        PathreasonError
            If a group cannot be answered, or its vision encoder does not compute as that of the
            plan's model.
        concurrent.futures.CancelledError
            If ``cancel`` was set.
        """


class AnswersHere:
    """Answers in this process.

    Parameters
    ----------
    slide : Slide
    load : callable
        Gives the model; called when it is first needed.
    """

    def __init__(self, slide: slides.Slide, load: Callable[[], engine.Models]) -> None:
        self._slide = slide
        self._load = cache(load)

    def model(self) -> tuple[ModelInfo, bool]:
        """See `Answers.model`."""
        performer = self._load().performer
        return performer.info, isinstance(performer, engine.BatchPerformer)

    def run(
        self, plan: RunPlan, groups: Sequence[tuple[Tile, ...]], cancel: Flag
    ) -> Iterator[list[TileRecord]]:
        """See `Answers.run`. While the model is at one group, the next one is read."""
        models = self._load()
        check_encoder(plan.model.encoder, models.performer.info)
        who = (plan.settings, models.performer, models.allocator, cancel)
        with ThreadPoolExecutor(1) as pool:
            ahead: Future[Group] | None = None
            for tiles in groups:
                now, ahead = ahead, pool.submit(Group(self._slide, tiles, *who).read)
                if now is not None:
                    yield now.result().answer()
            if ahead is not None:
                yield ahead.result().answer()
