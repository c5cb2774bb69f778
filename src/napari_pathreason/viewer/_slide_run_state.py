"""What a slide run has brought so far: filled by a worker, looked at by a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.slide_run import (
    HeatMap,
    Lesion,
    Progress,
    RunCancelled,
    RunEvent,
    RunFailed,
    RunFinished,
    RunPlan,
    RunStarted,
    Tile,
    TileDone,
    TileRecord,
    merge,
)
from napari_pathreason.types import Detection, Reliability

from ._allocation import AllocationMap
from ._slide_run import SlideRequest
from ._slide_run_all import AllLesions
from ._slide_run_boxes import most_confident
from ._throttle import Throttle

MOST_SHOWN = 1024
"""Cells along a side of the heat map as shown: 4 MB to hand to the screen at a time."""

Ending = RunFinished | RunCancelled | RunFailed


class RunSoFar:
    """Heat map, lesions, allocations and progress of one run.

    Whatever takes time is done by `take`, in the worker; a viewer may look at any moment, as
    rarely as it likes.

    Parameters
    ----------
    request : SlideRequest, optional
        What was asked for; None where nothing has been yet.

    Attributes
    ----------
    plan : RunPlan or None
        None until the tiles are laid.
    progress : Progress or None
    boxes, tokens : int
        Boxes found and visual tokens spent, of all tiles that are done.
    records : dict of int to TileRecord
    lesions : sequence of Lesion
        Joined across seams; behind the tiles by some seconds while the run goes on.
    most_confident : sequence of Lesion
        Those that are drawn as shapes; another object whenever they have changed.
    everything : AllLesions or None
        All lesions, where they are more than those.
    changes : int
        Grows with each tile.
    ending : RunFinished, RunCancelled, RunFailed or None
        Set last.
    """

    def __init__(self, request: SlideRequest | None = None) -> None:
        self.request = request
        self.plan: RunPlan | None = None
        self.progress: Progress | None = None
        self.boxes = self.tokens = self.changes = 0
        self.records: dict[int, TileRecord] = {}
        self.lesions: Sequence[Lesion] = ()
        self.most_confident: Sequence[Lesion] = ()
        self.everything: AllLesions | None = None
        self.allocations: AllocationMap | None = None
        self.ending: Ending | None = None
        self._heat: HeatMap | None = None
        self._seen: list[tuple[Tile, Sequence[Detection]]] = []
        self._assessed: dict[int, Reliability] = {}
        self._lock = Lock()
        self._throttle = Throttle()

    def take(self, event: RunEvent) -> None:
        """Note an event."""
        if isinstance(event, RunStarted):
            self._begin(event.plan)
            self.progress = Progress(event.done, event.total, None)
        elif isinstance(event, TileDone):
            self._add(event.record)
        elif isinstance(event, Progress):
            self.progress = event
            if self._throttle.due():
                with self._throttle.spend():
                    self._show(merge(self._seen, self._assessed))
        elif isinstance(event, RunFinished):
            if self.plan is None:  # it was finished before
                self._begin(event.outcome.plan)
                for record in event.outcome.records:
                    self._add(record)
            self._show(event.outcome.lesions)
            self.progress = Progress(len(self.records), len(self.records), 0)
            self.ending = event
        else:
            if self._seen:
                self._show(merge(self._seen, self._assessed))
            self.ending = event

    def heat(self) -> NDArray[np.float32]:
        """See `slide_run.HeatMap.values`; at most `MOST_SHOWN` cells a side."""
        if self._heat is None:
            return np.zeros((1, 1), np.float32)
        with self._lock:
            return self._heat.values()

    def _show(self, lesions: Sequence[Lesion]) -> None:
        self.lesions = lesions
        self.most_confident = most_confident(lesions)
        if len(lesions) > len(self.most_confident) and self.plan is not None:
            self.everything = AllLesions.of(lesions, self.plan)

    def _begin(self, plan: RunPlan) -> None:
        region = plan.tiles[0].region
        self._heat = HeatMap(plan.slide, (region.width, region.height), MOST_SHOWN)
        self.allocations = AllocationMap(plan)
        self.plan = plan

    def _add(self, record: TileRecord) -> None:
        if self.plan is None or self._heat is None or self.allocations is None:
            return
        tile = self.plan.tiles[record.index]
        if not record.unknown:
            with self._lock:
                self._heat.add(tile.region, record.detections)
        self.allocations.take(record)
        self.records[record.index] = record
        self._seen.append((tile, record.detections))
        self._assessed[record.index] = record.reliability
        self.boxes += len(record.detections)
        self.tokens += 0 if record.tokens is None else record.tokens.read
        self.changes += 1
