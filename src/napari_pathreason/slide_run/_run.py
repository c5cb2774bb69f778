"""A whole slide, tile by tile, in a folder that survives any end of the process.

`run_slide` yields what happens as events, in order; the last one is always an ending.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag

from napari_pathreason import engine, exports, slides
from napari_pathreason.errors import ExportError
from napari_pathreason.files import locked, refuse_inside_slide, remove_drafts

from ._answer import Answers
from ._files import has_unreliable_class, is_finished, write_files
from ._folder import read_plan, tile_journal, write_plan
from ._identity import model_identity, slide_fingerprint
from ._journal import GroupJournal
from ._outcome import Outcome, outcome_of
from ._plan import Identity, RunPlan, check_classes, check_same, check_tiles, make_plan
from ._record import TileRecord
from ._settings import RunSettings
from ._tiles import Tile
from ._unchanged import SameSlide


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The tiles are laid; ``done`` were on the disk already, out of ``total`` with tissue."""

    plan: RunPlan
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class TileDone:
    """A tile is on the disk: answered now, or by an earlier run that was cut (``resumed``)."""

    tile: Tile
    record: TileRecord
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Tiles on the disk, and seconds until the rest will be (None while that is not known)."""

    done: int
    total: int
    seconds_left: float | None

    @property
    def time_left(self) -> str:
        """Such as ``1:02:03``, or ``2:03`` below an hour; empty while it is not known."""
        if self.seconds_left is None:
            return ""
        minutes, seconds = divmod(round(self.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Ending: all files are written; ``already`` if an earlier run had written them."""

    outcome: Outcome
    already: bool = False


@dataclass(frozen=True, slots=True)
class RunCancelled:
    """Ending: cancelled; the same run again goes on with what is missing."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class RunFailed:
    """Ending: an error; ``reason`` is one line that names the remedy."""

    reason: str
    error: Exception


RunEvent = RunStarted | TileDone | Progress | RunFinished | RunCancelled | RunFailed


def run_slide(
    slide: slides.Slide,
    folder: Path,
    settings: RunSettings,
    used: exports.UsedModel,
    answers: Answers,
    cancel: Flag | None = None,
    unreliable_class: bool | None = None,
) -> Generator[RunEvent, None, None]:
    """Look for lesions on a whole slide, or ask each tile, or go on where a run was cut.

    To pause, take no further event; the tile that comes next waits.

    Parameters
    ----------
    slide : Slide
        Open.
    folder : Path
        Of this slide's run; made if it is missing. Kept to this iterator until it ends.
    settings : RunSettings
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
    done = total = 0
    try:
        settings.check()
        same = SameSlide(slide)
        refuse_inside_slide(folder, slide.path)
        fingerprint, model = slide_fingerprint(slide), model_identity(used)
        same.check()
        identity = Identity(slide.info, fingerprint, settings, model, used.encoder)
        with locked(folder):
            remove_drafts(folder)
            marked = unreliable_class
            if marked is None:
                marked = has_unreliable_class(folder)
            steps = _run(slide, folder, identity, used, answers, flag, marked, same)
            with closing(steps) as events:
                for event in events:
                    if isinstance(event, RunStarted | Progress):
                        done, total = event.done, event.total
                    yield event
    except CancelledError:
        yield RunCancelled(done, total)
    except Exception as error:  # whatever went wrong, the user gets a line and keeps the tiles
        shown = engine.as_user_error(
            error,
            "in the slide run",
            "what is done is kept, run it again, and report it if it comes back",
        )
        yield RunFailed(str(shown), shown)


def follow(
    events: Generator[RunEvent, None, None], watch: Callable[[RunEvent], object] | None = None
) -> RunFinished:
    """Take a run to its end.

    Parameters
    ----------
    events : generator of RunEvent
        Of `run_slide`.
    watch : callable, optional
        Called with each event, the ending too.

    Raises
    ------
    PathreasonError
        What kept it from its end.
    concurrent.futures.CancelledError
        If it was cancelled.
    """
    with closing(events):
        for event in events:
            if watch is not None:
                watch(event)
            if isinstance(event, RunFinished):
                return event
            if isinstance(event, RunFailed):
                raise event.error
    raise CancelledError


def _run(
    slide: slides.Slide,
    folder: Path,
    identity: Identity,
    used: exports.UsedModel,
    answers: Answers,
    cancel: Flag,
    unreliable_class: bool,
    same: SameSlide,
) -> Generator[RunEvent, None, None]:
    plan = _plan(slide, folder, identity, used, answers, same)
    journal = tile_journal(folder, plan)
    done, total = _answered(plan, journal), len(plan.to_read)
    if len(done) == total and is_finished(folder, plan.run, unreliable_class):
        yield RunFinished(outcome_of(plan, list(done.values())), already=True)
        return
    yield RunStarted(plan, len(done), total)
    for record in done.values():
        yield TileDone(plan.tiles[record.index], record, resumed=True)
    missing = (tuple(t for t in group if t.index not in done) for group in plan.groups())
    if todo := [group for group in missing if group]:
        if cancel.is_set():
            raise CancelledError
        yield from _answer(plan, todo, journal, answers, cancel, len(done), same)
        same.check()
    # from the disk: a run that was cut and one that was not write the same digits
    answered = list(_answered(plan, journal).values())
    if len(answered) != total:
        raise ExportError(
            f"answers of {total - len(answered):,} tiles are gone from the folder {folder.name}; "
            "run again, and let no other program write there"
        )
    outcome = outcome_of(plan, answered)
    write_files(folder, outcome, unreliable_class)
    yield RunFinished(outcome)


def _plan(
    slide: slides.Slide,
    folder: Path,
    identity: Identity,
    used: exports.UsedModel,
    answers: Answers,
    same: SameSlide,
) -> RunPlan:
    """The plan of a folder where it is this run's, else a new one; overrides may have changed."""
    plan, settings = read_plan(folder), identity.settings
    if plan is not None:
        if plan.identity.model == identity.model:
            engine.check_query(settings.query, settings.budget, plan.model.metadata)
        check_same(plan.identity, identity, folder.name)
    else:
        check_tiles(slide.info, settings)  # before the model is loaded
        model, batches = answers.model()
        engine.check_query(
            settings.query, settings.budget, model.metadata
        )  # before anything is read
        engine.check_boxes(settings.query, model)
        check_classes(settings.query, model)
        plan = make_plan(slide, identity, used, model, batches)
        same.check()
        write_plan(folder, plan)
    wanted = settings.overrides
    if wanted is not None and wanted != plan.settings.overrides:
        plan = plan.with_overrides(wanted, folder.name)
        write_plan(folder, plan)
    return plan


def _answered(plan: RunPlan, journal: GroupJournal[TileRecord]) -> dict[int, TileRecord]:
    """The latest answer to what this run asks of each tile; others stay for when they fit again."""
    return {
        record.index: record for group in journal.read() for record in group if plan.counts(record)
    }


def _answer(
    plan: RunPlan,
    todo: Sequence[tuple[Tile, ...]],
    journal: GroupJournal[TileRecord],
    answers: Answers,
    cancel: Flag,
    before: int,
    same: SameSlide,
) -> Iterator[RunEvent]:
    """Answer what is missing, each group kept before it is passed on; ``before`` were kept."""
    done, total, seconds = before, len(plan.to_read), 0.0
    groups = answers.run(plan, todo, cancel)
    while True:
        began = time.perf_counter()  # a pause is no time of work
        records = next(groups, None)
        if records is None:
            return
        same.check(surely=False)
        journal.add(records)
        seconds += time.perf_counter() - began
        for record in records:
            yield TileDone(plan.tiles[record.index], record)
        done += len(records)
        yield Progress(done, total, seconds / (done - before) * (total - done))
        if cancel.is_set():
            raise CancelledError
