"""One question over the annotations of many slides: what is wanted, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event as Flag

from napari_pathreason.engine import Models, as_user_error, check_query
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.project import (
    AnnotationAnswered,
    Project,
    ProjectEnded,
    ProjectEvent,
    ProjectFolder,
    ProjectQuestion,
    ProjectStarted,
    folder_for,
    read_project,
    run_project,
)
from napari_pathreason.types import GenerationSettings, Request

from ._inquiry import Draft
from ._questions import ModelLoading, download
from ._session import Session
from ._settings import EMBEDDED, Compute, Preferences
from ._slide_file import SlideFile


@dataclass(frozen=True, slots=True)
class ProjectRequest:
    """What the user wants to know of all annotations of a project.

    Parameters
    ----------
    project : Project
    request : Request
        Its region means nothing.
    model : str
        ``embedded``, a folder, a hub id or the address of a server.
    compute : Compute, optional
        What the model computes with.
    """

    project: Project
    request: Request
    model: str = EMBEDDED
    compute: Compute | None = None

    @property
    def folder(self) -> Path:
        """Where the answers are kept."""
        return self.project.answers

    def kept_in(self, folder: Path) -> ProjectRequest:
        """The same, once it is known where its answers are kept; see `project.folder_for`."""
        return replace(self, project=replace(self.project, answers=folder))


def project_request(
    session: Session, draft: Draft, preferred: Preferences, path: Path
) -> ProjectRequest:
    """The question of a form for all annotations of a folder or a list of slides.

    Raises
    ------
    PathreasonError
        If something is missing, or the model cannot be asked this; it is not loaded for that.
    """
    query = draft.query
    if query.task == "detection" and not query.options:
        raise QueryError("name at least one lesion to look for, such as: tumour")
    info = session.info_of(draft.model_id)
    check_query(query, draft.budget, None if info is None else info.metadata)
    policy = session.steering.policy
    request = Request(
        Region(0, 0, 1, 1),
        query,
        draft.budget,
        GenerationSettings(zoom=preferred.zoom),
        preferred.effort,
        "auto" if policy == "listed" else policy,
    )
    return ProjectRequest(read_project(path), request, draft.model_id, preferred.compute)


def project_events(
    session: Session, wanted: ProjectRequest, cancel: Flag
) -> Iterator[ModelLoading | ProjectEvent]:
    """Events of `project.run_project` with the session's model; for a worker, never raises.

    Before them come those of a download.
    """
    from napari_pathreason.slide_run import LoadSame, model_identity, used_model

    try:
        compute = wanted.compute or Compute()
        yield from download(session, wanted.model, wanted.compute, cancel)
        if cancel.is_set():
            yield ProjectEnded(0, 0, 0, (), cancelled=True)
            return
        now = partial(used_model, wanted.model, compute.device, compute.encoder, compute.precision)
        used = now()
        load_same = LoadSame(used, now, lambda: session.models(wanted.model, wanted.compute))

        def load() -> Models:
            models = load_same()  # the session loads it anew where its folder was written to
            session.known_models[wanted.model] = models.performer.info
            return models

        question = ProjectQuestion(wanted.request, model_identity(used), used.encoder)
        folder = folder_for(wanted.folder, question)  # each question has one of its own
        with closing(run_project(wanted.project, question, load, folder, cancel=cancel)) as events:
            yield from events
    except Exception as error:  # a fault of ours must end the run, not hang the dock
        shown = as_user_error(error, "in the project")
        yield ProjectEnded(0, 0, 0, (), error=shown)


def take_answers(
    session: Session, wanted: ProjectRequest, event: ProjectStarted | AnnotationAnswered
) -> None:
    """Put what a project has answered into the session's answers; each once."""
    folder = ProjectFolder(wanted.folder)
    paths = {slide.name: slide.path for slide in wanted.project.slides}
    answers = event.before if isinstance(event, ProjectStarted) else (event.answer,)
    reviews = folder.reviews() if isinstance(event, ProjectStarted) else {}
    for answer in answers:
        if answer.slide in paths:
            path = paths[answer.slide]
            image = session.slide_files.setdefault(path, SlideFile(path))
            session.add_kept(answer, image, wanted.model, folder, reviews.get(answer.key, {}))
