"""A whole slide, tile by tile, in a folder that survives any end of the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING, Protocol

from napari_pathreason.engine import (
    BatchPerformer,
    Models,
    as_user_error,
    check_query,
)
from napari_pathreason.exports import UsedModel, fingerprint
from napari_pathreason.files import remove_drafts
from napari_pathreason.types import ModelInfo

from ._answer import Group
from ._events import Progress, RunCancelled, RunEvent, RunFailed, RunFinished, RunStarted, TileDone
from ._files import has_unreliable_class, is_finished, write_files
from ._folder import TileJournal, locked, read_plan, write_plan
from ._outcome import outcome_of
from ._plan import Identity, RunPlan, check_same, make_plan
from ._record import TileRecord
from ._settings import DetectSettings
from ._tiles import Tile

if TYPE_CHECKING:
    from napari_pathreason.slides import Slide


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
            If a group cannot be answered.
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

    def __init__(self, slide: Slide, load: Callable[[], Models]) -> None:
        self._slide = slide
        self._load = cache(load)

    def model(self) -> tuple[ModelInfo, bool]:
        """See `Answers.model`."""
        performer = self._load().performer
        return performer.info, isinstance(performer, BatchPerformer)

    def run(
        self, plan: RunPlan, groups: Sequence[tuple[Tile, ...]], cancel: Flag
    ) -> Iterator[list[TileRecord]]:
        """See `Answers.run`. While the model is at one group, the next one is read."""
        models = self._load()
        who = (plan.settings, models.performer, models.allocator, cancel)
        with ThreadPoolExecutor(1) as pool:
            ahead: Future[Group] | None = None
            for tiles in groups:
                now, ahead = ahead, pool.submit(Group(self._slide, tiles, *who).read)
                if now is not None:
                    yield now.result().answer()
            if ahead is not None:
                yield ahead.result().answer()


def run_slide(
    slide: Slide,
    folder: Path,
    settings: DetectSettings,
    used: UsedModel,
    answers: Answers,
    cancel: Flag | None = None,
    unreliable_class: bool | None = None,
) -> Generator[RunEvent, None, None]:
    """Look for lesions on a whole slide, or go on where an earlier run was cut.

    To pause, take no further event; the tile that comes next waits.

    Parameters
    ----------
    slide : Slide
        Open.
    folder : Path
        Of this slide's run; made if it is missing. Kept to this iterator until it ends.
    settings : DetectSettings
    used : UsedModel
        The model that ``answers``, told apart by its weights.
    answers : Answers
    cancel : threading.Event, optional
        Once set, the run ends at the next token; any thread may set it.
    unreliable_class : bool, optional
        See `exports.features_of_marks`. It belongs to the files and not to the run, so that it
        may be chosen after it. None: as they were last written.

    Yields
    ------
    RunEvent
        `RunStarted`, a `TileDone` for each tile with tissue, the kept ones first, `Progress` after
        each group, and exactly one ending. No exception leaves this iterator.
    """
    flag = cancel or Flag()
    at = [0, 0]
    try:
        settings.check()
        identity = Identity(
            slide.info,
            "" if slide.path is None else fingerprint(slide.path),
            settings,
            used.weights_sha256,
        )
        with locked(folder):
            remove_drafts(folder)
            marked = unreliable_class
            if marked is None:
                marked = has_unreliable_class(folder)
            yield from _run(slide, folder, identity, used, answers, flag, at, marked)
    except CancelledError:
        yield RunCancelled(at[0], at[1])
    except Exception as error:  # whatever went wrong, the user gets a line and keeps the tiles
        shown = as_user_error(
            error,
            "in the slide run",
            "what is done is kept, run it again, and report it if it comes back",
        )
        yield RunFailed(str(shown), shown)


def _run(
    slide: Slide,
    folder: Path,
    identity: Identity,
    used: UsedModel,
    answers: Answers,
    cancel: Flag,
    at: list[int],
    unreliable_class: bool,
) -> Iterator[RunEvent]:
    plan, settings = read_plan(folder), identity.settings
    if plan is not None:
        if plan.identity.weights_sha256 == identity.weights_sha256:
            check_query(settings.query, settings.budget, plan.model.metadata)
        check_same(plan.identity, identity, folder.name)
    else:
        model, batches = answers.model()
        check_query(settings.query, settings.budget, model.metadata)  # before anything is read
        plan = make_plan(slide, identity, used, model, batches)
        write_plan(folder, plan)
    wanted = settings.overrides
    if wanted is not None and wanted != plan.settings.overrides:
        plan = plan.with_overrides(wanted, folder.name)
        write_plan(folder, plan)
    journal = TileJournal(folder)
    done = _kept(plan, journal)
    at[:] = len(done), len(plan.to_read)
    if len(done) == at[1] and is_finished(folder, plan.run, unreliable_class):
        yield RunFinished(outcome_of(plan, list(done.values())), already=True)
        return
    yield RunStarted(plan, *at)
    for record in done.values():
        yield TileDone(plan.tiles[record.index], record, kept=True)
    missing = (tuple(t for t in group if t.index not in done) for group in plan.groups())
    if todo := [group for group in missing if group]:
        yield from _answer(plan, todo, journal, answers, cancel, at)
    # from the disk: a run that was cut and one that was not write the same digits
    outcome = outcome_of(plan, list(_kept(plan, journal).values()))
    write_files(folder, outcome, unreliable_class)
    yield RunFinished(outcome)


def _kept(plan: RunPlan, journal: TileJournal) -> dict[int, TileRecord]:
    """The latest answer to what is asked of each tile now; others stay for when they fit again."""
    return {
        record.index: record for group in journal.read() for record in group if plan.counts(record)
    }


def _answer(
    plan: RunPlan,
    todo: Sequence[tuple[Tile, ...]],
    journal: TileJournal,
    answers: Answers,
    cancel: Flag,
    at: list[int],
) -> Iterator[RunEvent]:
    before, seconds = at[0], 0.0
    if cancel.is_set():
        raise CancelledError
    answered = answers.run(plan, todo, cancel)
    while True:
        began = time.perf_counter()  # a pause is no time of work
        records = next(answered, None)
        if records is None:
            return
        journal.add(records)
        seconds += time.perf_counter() - began
        for record in records:
            yield TileDone(plan.tiles[record.index], record)
        at[0] += len(records)
        yield Progress(at[0], at[1], seconds / (at[0] - before) * (at[1] - at[0]))
        if cancel.is_set():
            raise CancelledError
