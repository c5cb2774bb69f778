"""One slide run on its way: what is wanted, the run in a worker, and what it has brought so far."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.engine import as_user_error
from napari_pathreason.slide_run import (
    AnswersHere,
    HeatMap,
    Lesion,
    LoadSame,
    Progress,
    RunCancelled,
    RunEvent,
    RunFailed,
    RunFinished,
    RunPlan,
    RunSettings,
    RunStarted,
    TileDone,
    TileRecord,
    has_unreliable_class,
    is_finished,
    lesions_of,
    read_plan,
    run_slide,
    used_model,
)
from napari_pathreason.slides import Slide, open_slide

from ._class_map import ClassMap
from ._layers import arrays_opener, known_mpp, slide_of, slide_opener
from ._lesions import MOST_BOXES, AllLesions, most_confident
from ._questions import ModelLoading, download
from ._session import Session
from ._settings import EMBEDDED, preferences
from ._tile_map import TileMap

if TYPE_CHECKING:
    from threading import Event as Flag

    from napari.layers import Image

NO_NAME = re.compile(r'[\\/:*?"<>|]')
"""What a folder's name may not hold on every system."""
MOST_SHOWN = 1024
"""Pixels along a side of the heat map as shown: 4 MB to hand to the screen at a time."""
SHARE = 0.05
"""Share of the time that goes into what takes long, unless more is allowed."""
Ending = RunFinished | RunCancelled | RunFailed
_runs = count(1)


@dataclass(frozen=True, slots=True)
class SlideRequest:
    """What the user wants looked for or asked, on which slide, with which model.

    Parameters
    ----------
    slide : callable
        Gives the open `Slide`, as a context that closes it where nobody else has it open; called
        in the worker.
    folder : Path
        Of this slide's run.
    settings : RunSettings
    model : str
        ``embedded``, a folder or a hub id.
    """

    slide: Callable[[], AbstractContextManager[Slide]]
    folder: Path
    settings: RunSettings
    model: str = EMBEDDED


def run_opener(
    layer: Image, mpp: float | None = None
) -> Callable[[], AbstractContextManager[Slide]]:
    """What opens the slide behind an image layer, in any thread.

    Parameters
    ----------
    layer : napari.layers.Image
    mpp : float, optional
        Micrometres per level-0 pixel, for a layer that does not know its own.

    Raises
    ------
    SlideError
        If the layer is not one plane.
    """
    opener = slide_opener(layer)
    if mpp is None or known_mpp(layer) is not None:
        return lambda: nullcontext(opener())
    slide = slide_of(layer)
    path = None if slide is None else slide.path
    if path is not None and slide is not None:
        channels, icc = slide.info.channels, slide.info.icc == "applied"
        return lambda: open_slide(path, mpp, channels=channels, icc=icc)
    open_arrays = arrays_opener(layer, mpp)
    return lambda: nullcontext(open_arrays())


def run_folder(parent: Path, layer: Image) -> Path:
    """Folder of a slide's run among others, named as `pathreason detect` names it."""
    slide = slide_of(layer)
    name = layer.name if slide is None else slide.info.name
    return parent / (NO_NAME.sub("_", name).strip(" .") or "slide")


@dataclass(frozen=True, slots=True)
class FoundRun:
    """The run that a folder holds.

    Parameters
    ----------
    settings : RunSettings
        What it looks for or asks, and how; without the budgets that a user has set for some tiles.
    finished : bool
        Whether all its files are there.
    """

    settings: RunSettings
    finished: bool


def found_run(folder: Path) -> FoundRun | None:
    """The run that was begun in a folder, or None; reads its plan.

    Raises
    ------
    ExportError
        If it is damaged or of another version.
    """
    plan = read_plan(folder)
    if plan is None:
        return None
    finished = is_finished(folder, plan.run, has_unreliable_class(folder))
    return FoundRun(replace(plan.settings, overrides=None), finished)


def run_request(
    session: Session, request: SlideRequest, cancel: Flag
) -> Iterator[ModelLoading | RunEvent]:
    """Events of `slide_run.run_slide`, the model in the session's own process; never raises.

    Before them come those of a download. The model is started only if there is a tile left to
    answer.
    """
    try:
        compute = preferences().compute
        yield from download(session, request.model, compute, cancel)
        if cancel.is_set():
            yield RunCancelled(0, 0)
            return
        now = partial(used_model, request.model, compute.device, compute.encoder, compute.precision)
        used = now()
        with request.slide() as slide:
            load = LoadSame(used, now, lambda: session.models(request.model, compute))
            answers = AnswersHere(slide, load)
            yield from run_slide(slide, request.folder, request.settings, used, answers, cancel)
    except Exception as error:  # a fault of ours must end the run, not hang the dock
        shown = as_user_error(error, "before the slide run")
        yield RunFailed(str(shown), shown)


class Throttle:
    """Work that is put off until it is a small share of the time that has gone by.

    Parameters
    ----------
    share : float
        Share of the time that may go into it; infinite where nothing is put off.
    """

    def __init__(self, share: float = SHARE) -> None:
        self._share, self._next = share, 0.0

    def due(self) -> bool:
        """Whether it may be done now."""
        return time.perf_counter() >= self._next

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Do it; the next time comes the later, the longer it takes."""
        began = time.perf_counter()
        yield
        now = time.perf_counter()
        self._next = now + (now - began) / self._share


class RunSoFar:
    """Heat map, lesions, allocations and progress of one run.

    Whatever takes time is done by `take`, in the worker; a viewer may read the attributes at any
    moment, as rarely as it likes.

    Parameters
    ----------
    request : SlideRequest, optional
        None where no run was started yet.
    most_boxes : int
        Lesions that are drawn as shapes at most.
    share : float
        Share of the time that may go into joining lesions while the run goes on.

    Attributes
    ----------
    number : int
        Of this run among all of the process: with the counts of changes it says by value whether
        what was shown of a run is up to date.
    plan : RunPlan or None
        None until the tiles are laid.
    loading : ModelLoading or None
        How far the model's download is; None where nothing is downloaded.
    progress : Progress or None
    boxes, tokens : int
        Boxes and visual tokens spent, of all tiles that are done.
    records : dict of int to TileRecord
    lesions : sequence of Lesion
        Joined across seams; behind the tiles by some seconds while the run goes on.
    most_confident : sequence of Lesion
        Those that are drawn as shapes.
    allocations : TileMap or None
        What each tile was given.
    classes : ClassMap or None
        What each tile is, where that was asked.
    everything : AllLesions or None
        All lesions, where they are more than those.
    changes, everything_changes : int
        How often a tile was added, and ``everything`` made anew.
    ending : RunFinished, RunCancelled, RunFailed or None
        Set last.
    """

    def __init__(
        self,
        request: SlideRequest | None = None,
        most_boxes: int = MOST_BOXES,
        share: float = SHARE,
    ) -> None:
        self.request = request
        self.number = next(_runs)
        self.plan: RunPlan | None = None
        self.loading: ModelLoading | None = None
        self.progress: Progress | None = None
        self.boxes = self.tokens = self.changes = self.everything_changes = 0
        self.records: dict[int, TileRecord] = {}
        self.lesions: Sequence[Lesion] = ()
        self.most_confident: Sequence[Lesion] = ()
        self.everything: AllLesions | None = None
        self.allocations: TileMap | None = None
        self.classes: ClassMap | None = None
        self.ending: Ending | None = None
        self._heat: HeatMap | None = None
        self._lock = Lock()
        self._most_boxes, self._throttle = most_boxes, Throttle(share)

    def take(self, event: ModelLoading | RunEvent) -> None:
        """Note an event."""
        if isinstance(event, ModelLoading):
            self.loading = event
        elif isinstance(event, RunStarted):
            self._begin(event.plan)
            self.progress = Progress(event.done, event.total, None)
        elif isinstance(event, TileDone):
            self._add(event.record)
        elif isinstance(event, Progress):
            self.progress = event
            if self._throttle.due():
                with self._throttle.spend():
                    self._show(self._merged())
        elif isinstance(event, RunFinished):
            if self.plan is None:  # it was finished before
                self._begin(event.outcome.plan)
                for record in event.outcome.records:
                    self._add(record)
            self._show(event.outcome.lesions)
            self.progress = Progress(len(self.records), len(self.records), 0)
            self.ending = event
        else:
            if self.records:
                self._show(self._merged())
            self.ending = event

    def heat(self) -> NDArray[np.float32]:
        """See `slide_run.HeatMap.values`; at most `MOST_SHOWN` pixels a side."""
        if self._heat is None:
            return np.zeros((1, 1), np.float32)
        with self._lock:
            return self._heat.values()

    def _merged(self) -> list[Lesion]:
        return [] if self.plan is None else lesions_of(self.plan, self.records.values())

    def _show(self, lesions: Sequence[Lesion]) -> None:
        self.lesions = lesions
        self.most_confident = most_confident(lesions, self._most_boxes)
        if len(lesions) > len(self.most_confident) and self.plan is not None:
            self.everything = AllLesions.of(lesions, self.plan)
            self.everything_changes += 1  # then: a viewer that reads it finds what belongs to it

    def _begin(self, plan: RunPlan) -> None:
        region = plan.tiles[0].region
        self._heat = HeatMap(plan.slide, (region.width, region.height), MOST_SHOWN)
        self.allocations = TileMap(plan)
        if plan.classes:
            self.classes = ClassMap(plan)
        self.plan = plan

    def _add(self, record: TileRecord) -> None:
        if self.plan is None or self._heat is None or self.allocations is None:
            return
        tile = self.plan.tiles[record.index]
        if not record.unknown:
            with self._lock:
                self._heat.add(tile.region, record.detections)
        self.allocations.take(record)
        if self.classes is not None:
            self.classes.take(record)
        self.records[record.index] = record
        self.boxes += len(record.detections)
        self.tokens += 0 if record.tokens is None else record.tokens.read
        self.changes += 1
