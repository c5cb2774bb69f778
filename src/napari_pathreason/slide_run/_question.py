"""A question about a region, a whole slide included, whose readings are kept as they come.

The job goes through the same steps as any other question; what it reads is appended to a journal in
a folder, and what an earlier process had read there is not asked again. So a command that is killed
goes on where it was, and its answer is that of one that was not.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING

from napari_pathreason import engine, exports
from napari_pathreason.errors import QueryError
from napari_pathreason.files import (
    Format,
    locked,
    refuse_inside_slide,
    remove_drafts,
)
from napari_pathreason.types import Encoder, Reading, Request, SlideInfo

from ._folder import holds_run, read_own, write_own
from ._identity import (
    AnswersKey,
    Sources,
    differences,
    key_of,
    model_identity,
    other_sources,
    slide_fingerprint,
)
from ._journal import GroupJournal
from ._unchanged import SameSlide

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT = Format("kept readings", 3, oldest=3)
"""Version 1 knew a model by some of its weights alone, and in version 2 nobody saw whether a
reading was still the one that was written. Neither was released."""
HEADER, READINGS = "request.json", "readings.jsonl"


@dataclass(frozen=True, slots=True)
class Header:
    """What the readings in a folder belong to.

    Parameters
    ----------
    format : str
    slide : SlideInfo
    fingerprint : str
        Of the slide, empty where it is no file.
    model : str
        See `model_identity`.
    encoder : Encoder
        That was chosen for its vision encoder.
    request : Request
    chosen_by : str
        What chose the windows in place of the policy of the request; empty where nothing did.
    """

    format: str
    slide: SlideInfo
    fingerprint: str
    model: str
    encoder: Encoder
    request: Request
    chosen_by: str = ""

    @property
    def sources(self) -> Sources:
        """Slide and model."""
        return Sources(self.slide, self.fingerprint, self.model, self.encoder)

    def key(self, encoder: Encoder) -> AnswersKey:
        """Of readings by the vision encoder that runs, which depends on the machine too."""
        request = [asdict(self.request), self.chosen_by]
        return key_of(self.format, replace(self.sources, encoder=encoder), request)


def check_kept(folder: Path, job: engine.Job, used: exports.UsedModel) -> None:
    """Refuse a folder that keeps the readings of something else, before a model is loaded.

    Parameters
    ----------
    folder : Path
        Need not exist.
    job : Job
    used : UsedModel
        The model that will answer.

    Raises
    ------
    QueryError
        Names what differs.
    ExportError
        If what the folder says of its readings is damaged or of another version.
    """
    _check_same(folder, _header(job, used))


def run_kept(
    job: engine.Job,
    folder: Path,
    used: exports.UsedModel,
    performer: engine.Performer,
    allocator: engine.Allocator,
    cancel: Flag | None = None,
) -> Generator[engine.Event, None, None]:
    """Answer a question, or go on where an earlier process was cut.

    Parameters
    ----------
    job : Job
        Its ``before`` must be empty.
    folder : Path
        Of this question alone; made if it is missing. Kept to this iterator until it ends.
    used : UsedModel
        The model that answers, told apart by its weights.
    performer, allocator, cancel
        As of `engine.run_job`.

    Yields
    ------
    Event
        As of `engine.run_job`; a `ViewRead` comes when its reading is on the disk, and for one that
        was kept at once. No exception leaves this iterator.
    """
    try:
        if job.before:
            raise QueryError("readings of another question cannot be kept with this one")
        refuse_inside_slide(folder, job.slide.path)
        same, header = SameSlide(job.slide), _header(job, used)
        same.check()
        with locked(folder):
            remove_drafts(folder)
            if not _check_same(folder, header):
                write_own(folder / HEADER, _headers(), header)
            journal = GroupJournal(
                folder / READINGS, FORMAT, header.key(performer.info.encoder), "readings", Reading
            )
            readings = tuple(reading for group in journal.read() for reading in group)
            steps = engine.run_job(replace(job, journal=readings), performer, allocator, cancel)
            with closing(steps) as events:
                yield from _keeping(events, journal, readings, same)
    except Exception as error:  # of the folder; whatever went wrong in the job is its own ending
        shown = engine.as_user_error(
            error, "while readings were kept", "what is read is kept, ask again, and report it"
        )
        yield engine.Failed(engine.Stage.READ, str(shown), shown)


def _keeping(
    events: Generator[engine.Event, None, None],
    journal: GroupJournal[Reading],
    before: tuple[Reading, ...],
    same: SameSlide,
) -> Generator[engine.Event, None, None]:
    """Events of a job, each group of readings on the disk before its last one is passed on."""
    known = {one.views for one in before}
    group: list[engine.ViewRead] = []
    for event in events:
        if not isinstance(event, engine.ViewRead):
            yield event
            continue
        group.append(event)
        if event.more:
            continue
        if new := [one.reading for one in group if one.reading.views not in known]:
            same.check(surely=False)
            journal.add(new)
        yield from group
        group = []


def _header(job: engine.Job, used: exports.UsedModel) -> Header:
    # a policy is told apart by all that it holds
    chosen_by = "" if job.policy is None else repr(job.policy)
    return Header(
        str(FORMAT),
        job.slide.info,
        slide_fingerprint(job.slide),
        model_identity(used),
        used.encoder,
        job.request,
        chosen_by,
    )


def _check_same(folder: Path, this: Header) -> bool:
    """Whether a folder is this question's already; False where it is nobody's."""
    if holds_run(folder):
        raise QueryError(
            f"the folder {folder.name} holds a slide run; choose another folder for this question"
        )
    first = read_own(folder / HEADER, FORMAT, _headers())
    if first is None:
        return False
    if first == this:
        return True
    other = [
        *other_sources(first.sources, this.sources),
        *differences(_settings(first), _settings(this)),
    ]
    raise QueryError(
        f"the folder {folder.name} keeps the readings of {', '.join(other) or 'another slide'}; "
        "ask the same again, or choose another folder"
    )


def _settings(header: Header) -> dict[str, object]:
    """All that was asked, by its name."""
    request, query = header.request, header.request.query
    rest = {
        field.name: getattr(request, field.name)
        for field in fields(Request)
        if field.name not in ("query", "settings")
    }
    generation = {
        field.name: getattr(request.settings, field.name) for field in fields(request.settings)
    }
    asked_words = {"task": query.task, "question": query.question, "choices": query.options}
    return {**asked_words, **rest, **generation, "windows chosen by": header.chosen_by}


@cache
def _headers() -> TypeAdapter[Header]:
    from pydantic import TypeAdapter

    return TypeAdapter(Header)
