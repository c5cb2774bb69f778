"""One question on its way: everything a worker needs, and nothing of napari."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event as CancelFlag

from napari_pathreason.engine import (
    Cancelled,
    Event,
    Failed,
    Job,
    Stage,
    StageStarted,
    as_user_error,
    run_job,
)
from napari_pathreason.errors import QueryError
from napari_pathreason.slides import Slide
from napari_pathreason.types import Request

from ._preferences import Compute
from ._session import Session


@dataclass(frozen=True, slots=True)
class ModelLoading:
    """The model is being fetched or started; before the first stage of a job."""

    model_id: str


@dataclass(frozen=True, slots=True)
class Question:
    """What the user asked, of which slide, with which model.

    Parameters
    ----------
    slide : callable
        Gives the `Slide`; called in the worker.
    request : Request
    model : str
        ``embedded``, a folder or a hub id.
    compute : Compute, optional
        What the model computes with; the user's preferences where not given.
    """

    slide: Callable[[], Slide]
    request: Request
    model: str = "embedded"
    compute: Compute | None = None


def answer_question(
    session: Session, question: Question, cancel: CancelFlag
) -> Iterator[ModelLoading | Event]:
    """Events of one answer, from loading the model to an ending; never raises.

    Meant for a worker thread. The events are those of `engine.run_job`, after `ModelLoading`.
    """
    yield ModelLoading(question.model)
    try:
        models = session.models(question.model, question.compute)
        if cancel.is_set():
            yield Cancelled(Stage.OVERVIEW)
            return
        job = Job(question.slide(), question.request)
        for event in run_job(job, models.performer, models.allocator, cancel):
            if isinstance(event, StageStarted) or (
                isinstance(event, Failed) and isinstance(event.error, QueryError)
            ):  # it is loaded: what it says of itself is known before it has answered
                session.known_models[question.model] = models.performer.info
            yield event
    except Exception as error:  # a fault of ours must end the run, not hang the dock
        shown = as_user_error(error, "while asking")
        yield Failed(Stage.OVERVIEW, str(shown), shown)
