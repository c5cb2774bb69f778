"""Questions out of what the docks say, one for each region or one about several, and their answers.

A question holds values alone, so that a worker can ask it while the viewer goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import Event as CancelFlag
from typing import TYPE_CHECKING

from napari_pathreason.engine import (
    Cancelled,
    Event,
    Failed,
    Job,
    Models,
    Stage,
    StageStarted,
    as_user_error,
    check_query,
    check_together,
    other_order,
    regions_together,
    run_job,
)
from napari_pathreason.errors import PathreasonError, QueryError
from napari_pathreason.exports import ShownSlide
from napari_pathreason.geometry import Region
from napari_pathreason.slides import Slide
from napari_pathreason.types import GenerationSettings, Reading, Request

from ._inquiry import Draft
from ._layers import slide_opener
from ._regions import Marked, layers_of, regions_of
from ._session import Session
from ._settings import EMBEDDED, Compute, Preferences
from ._slide_file import shown_slides

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

    from napari_pathreason.models import Fetched

NO_IMAGE = "there is no image to ask about; open a slide first"


@dataclass(frozen=True, slots=True)
class ModelLoading:
    """The model is being fetched or started; before the first stage of a job.

    ``fetched`` is how far its download is; None where nothing is downloaded.
    """

    model_id: str
    fetched: Fetched | None = None


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
    before : tuple of Reading
        What was read for it already, see `engine.Job`.
    name : str
        Of the annotation that is asked about; empty where it is none.
    others : dict of callable
        Give the other slides that regions of the question lie on, see `engine.Job`.
    shown : tuple of ShownSlide
        Of these, what stands in a manifest.
    """

    slide: Callable[[], Slide]
    request: Request
    model: str = EMBEDDED
    compute: Compute | None = None
    before: tuple[Reading, ...] = ()
    name: str = ""
    others: Mapping[str, Callable[[], Slide]] = field(default_factory=dict)
    shown: tuple[ShownSlide, ...] = ()


def questions_of(
    viewer: Viewer, session: Session, draft: Draft, preferred: Preferences
) -> list[Question]:
    """The questions that a form says, with the user's preferences.

    One for each region, or one for all of them where they are asked about together.

    Raises
    ------
    PathreasonError
        If something is missing yet, or the model cannot be asked this; it is not loaded for that.
    """
    query, image = draft.query, draft.image
    if image is None:
        raise PathreasonError(NO_IMAGE)
    if query.task == "detection" and not query.options:
        raise QueryError("name at least one lesion to look for, such as: tumour")
    info = session.info_of(draft.model_id)
    check_query(query, draft.budget, None if info is None else info.metadata)
    opener = slide_opener(image)
    every = regions_of(viewer, image, draft.source)
    if draft.source == "together":
        check_together(query, info)
        request = _together(session, draft, preferred, image, every)
        names = " + ".join(marked.name for marked in every)
        return [Question(opener, request, draft.model_id, preferred.compute, name=names)]
    if draft.source == "layers":
        check_together(query, info)
        return [_of_layers(viewer, session, draft, preferred, image)]
    return [
        Question(
            opener,
            _request(session, draft, preferred, image, marked),
            draft.model_id,
            preferred.compute,
            name=marked.name,
        )
        for marked in every
    ]


def _of_layers(
    viewer: Viewer, session: Session, draft: Draft, preferred: Preferences, image: Image
) -> Question:
    """One question about what the canvas shows of the layer asked about and of the selected ones.

    Raises
    ------
    RegionError, SlideError
        If one of them is not in view, or no slide.
    QueryError
        If there is one layer alone.
    """
    others: dict[str, Image] = {}
    regions: list[Region] = []
    for layer in layers_of(viewer, image):
        (marked,) = regions_of(viewer, layer, draft.source)
        regions.append(marked.region)
        if layer is not image:
            numbered = (layer.name if n == 1 else f"{layer.name} ({n})" for n in count(1))
            others[next(name for name in numbered if name not in others)] = layer
    if not others:
        raise QueryError("select two image layers or more in the layer list, to compare them")
    request = _request(session, draft, preferred, image, Marked(regions[0]))
    return Question(
        slide_opener(image),
        regions_together(request, regions, (), ["", *others]),
        draft.model_id,
        preferred.compute,
        others={name: slide_opener(layer) for name, layer in others.items()},
        shown=shown_slides(others),
    )


def question_of(viewer: Viewer, session: Session, draft: Draft, preferred: Preferences) -> Question:
    """The first of `questions_of`."""
    return questions_of(viewer, session, draft, preferred)[0]


def request_of(viewer: Viewer, session: Session, draft: Draft, preferred: Preferences) -> Request:
    """What a form says of the first region as a request, whether or not it can be asked yet.

    Raises
    ------
    PathreasonError
        If there is no image, or no region of it.
    """
    image = draft.image
    if image is None:
        raise PathreasonError(NO_IMAGE)
    every = regions_of(viewer, image, draft.source)
    if draft.source == "together":
        return _together(session, draft, preferred, image, every)
    return _request(session, draft, preferred, image, every[0])


def _together(
    session: Session,
    draft: Draft,
    preferred: Preferences,
    image: Image,
    every: Sequence[Marked],
) -> Request:
    """One request about several regions; what was said of windows is no matter of it."""
    request = _request(session, draft, preferred, image, every[0])
    return regions_together(
        request, [marked.region for marked in every], [marked.outline for marked in every]
    )


def _request(
    session: Session, draft: Draft, preferred: Preferences, image: Image, marked: Marked
) -> Request:
    return Request(
        marked.region,
        draft.query,
        draft.budget,
        GenerationSettings(
            zoom=preferred.zoom,
            check_order=draft.check_order and other_order(draft.query) is not None,
        ),
        preferred.effort,
        session.steering.policy,
        session.steering.within(image, marked.region),
        marked.outline,
    )


def answer_question(
    session: Session, question: Question, cancel: CancelFlag
) -> Iterator[ModelLoading | Event]:
    """Events of one answer, from loading the model to an ending; never raises.

    Meant for a worker thread. The events are those of `engine.run_job`, after `ModelLoading`.
    """
    yield ModelLoading(question.model)
    try:
        models = session.models(question.model, question.compute)
        for fetched in _loading(models, cancel):
            yield ModelLoading(question.model, fetched)
        if cancel.is_set():
            yield Cancelled(Stage.OVERVIEW)
            return
        others = {name: opener() for name, opener in question.others.items()}
        job = Job(question.slide(), question.request, before=question.before, others=others)
        for event in run_job(job, models.performer, models.allocator, cancel):
            if isinstance(event, StageStarted) or (
                isinstance(event, Failed) and isinstance(event.error, QueryError)
            ):  # it is loaded: what it says of itself is known before it has answered
                session.known_models[question.model] = models.performer.info
            yield event
    except Exception as error:  # a fault of ours must end the run, not hang the dock
        shown = as_user_error(error, "while asking")
        yield Failed(Stage.OVERVIEW, str(shown), shown)


def download(
    session: Session, model_id: str, compute: Compute | None, cancel: CancelFlag
) -> Iterator[ModelLoading]:
    """Download a model of the hub that is not on this machine, before a run asks for its files.

    It ends when the model is loaded, or with a cancel; nothing is done for any other model.

    Raises
    ------
    ModelError, OutOfMemoryError
        If it cannot be had, or not be loaded.
    """
    from napari_pathreason.models import is_missing

    if is_missing(model_id):
        for fetched in _loading(session.models(model_id, compute), cancel):
            yield ModelLoading(model_id, fetched)


def _loading(models: Models, cancel: CancelFlag) -> Iterator[Fetched]:
    """How far the download of a model is, until it is loaded; nothing of one that is."""
    from napari_pathreason.models import ModelProcess

    if isinstance(models, ModelProcess):
        yield from models.loading(cancel)
