"""What belongs to one viewer: its answers, and the model that gives them; knows no Qt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import ReferenceType, WeakKeyDictionary, finalize

from napari.utils.notifications import show_warning
from psygnal import Signal

from napari_pathreason.engine import Models
from napari_pathreason.errors import PathreasonError
from napari_pathreason.exports import AnswerRow, Review, ShownSlide
from napari_pathreason.types import ModelInfo, Result

from ._archive import AnswerArchive, ArchivedAnswer
from ._inquiry import Inquiry
from ._layers import info_of, slide_of
from ._runs import Runs
from ._settings import EMBEDDED, Compute, DockMemory, Preferences, preferences
from ._slide_file import SlideFile, where_found
from ._steering import Steering
from ._window_layer import WindowLayer

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Shapes

    from napari_pathreason.project import ProjectAnswer, ProjectFolder


ModelsFactory = Callable[[str, Compute], Models]
Describe = Callable[[str], ModelInfo | None]


def spawn_models(model_id: str, compute: Compute) -> Models:
    """Models of a folder, hub id or ``embedded``, served from a child process; of a server here."""
    from napari_pathreason.models import ModelProcess, is_address, load_models

    if is_address(model_id):  # to wait for a server takes a thread and no process
        return load_models(model_id)
    return ModelProcess(
        model_id,
        compute.device,
        threads=compute.threads,
        offline=compute.offline,
        encoder=compute.encoder,
        precision=compute.precision,
    )


def describe_model(model_id: str) -> ModelInfo | None:
    """What a model on this machine says of itself before it is loaded; see `read_model_info`."""
    from napari_pathreason.models import read_model_info

    return read_model_info(model_id)


def models_here() -> list[str]:
    """Hub ids of the models in this machine's cache that load; see `cached_models`."""
    from napari_pathreason.models import cached_models

    return [model.hub_id for model in cached_models()]


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer of a session; the image may have been closed since.

    ``model_id`` is the model as it was asked for; ``made`` the time of the answer, in UTC.
    ``former`` is the answer that it goes on from: what that one has read is part of it.
    ``name`` is that of the annotation that was asked about, empty where it was none.
    ``image`` gives the layer while it is open. Of a project, ``folder`` keeps what readers say,
    by the answer's ``key`` in it, ``case`` is the slide's and ``tissue`` the share of tissue in
    what was asked about.
    ``others`` are further slides that it is about, so far as they are files.
    """

    id: int
    result: Result
    image: ReferenceType[Image] | SlideFile
    model_id: str = EMBEDDED
    made: datetime = field(default_factory=lambda: datetime.now(UTC))
    former: Entry | None = None
    name: str = ""
    uid: str = field(default_factory=lambda: uuid4().hex)
    folder: ProjectFolder | None = None
    case: str = ""
    tissue: float | None = None
    others: tuple[ShownSlide, ...] = ()
    key: str = ""


def image_closed(entry: Entry, purpose: str) -> PathreasonError:
    """What to say where an answer's image is not open; a file need only be opened again."""
    more = "" if isinstance(entry.image, SlideFile) else "and ask once more "
    return PathreasonError(
        f"the image of answer {entry.id} was closed; open {entry.result.slide.name} again "
        f"{more}to {purpose}"
    )


class Session:
    """Answers and models of one viewer.

    Parameters
    ----------
    models_factory : callable
        Model id and `Compute` -> loaded models; may take long, so it is called in a worker.
    describe : callable
        Model id -> what the model says of itself, or None; quick, without loading it.

    Attributes
    ----------
    added : psygnal signal
        Emitted with each new `Entry`, in the thread that added it.
    reviewed : psygnal signal
        Emitted with an `Entry` of which a reader has said something else than before.
    reader : str
        Name of the reader who looks at the answers; empty where none is given.
    slide_files : dict
        Slides of projects, by their paths.
    archive : AnswerArchive
        Answers on disk.
    inquiry : Inquiry
        What is asked, and which answer is shown.
    runs : Runs
        What the model is doing.
    known_models : dict
        What the models that were loaded say of themselves, by model id.
    memory : DockMemory
        What the docks were set to.
    steering : Steering
        How regions are to be read.
    windows : WindowLayer
        The windows that are shown over a slide.
    """

    added = Signal(Entry)
    reviewed = Signal(Entry)

    def __init__(
        self, models_factory: ModelsFactory = spawn_models, describe: Describe = describe_model
    ) -> None:
        self.models_factory, self.describe = models_factory, describe
        self.entries: list[Entry] = []
        self._overlays: WeakKeyDictionary[Shapes, ReferenceType[Image] | SlideFile]
        self._overlays = WeakKeyDictionary()
        self.known_models: dict[str, ModelInfo] = {}
        self.runs = Runs()
        self._reviews: dict[str, dict[str, Review]] = {}
        self.slide_files: dict[Path, SlideFile] = {}
        self.archive = AnswerArchive()
        self.memory = DockMemory()
        self.steering = Steering()
        self.windows = WindowLayer()
        self._warned: set[str] = set()
        self._loading = Lock()
        self._lock = Lock()
        self._model_id: str | None = None
        self._compute = Compute()
        self._content = ""
        self._models: Models | None = None

    @cached_property
    def inquiry(self) -> Inquiry:
        """What is asked; begins as the docks were left."""
        inquiry = Inquiry()
        inquiry.prefer(self.preferences().model)
        inquiry.restore(self.memory.state.ask)
        inquiry.events.image.connect(self._show_last)
        inquiry.closed.connect(self._hide_answers)
        return inquiry

    @property
    def asking(self) -> bool:
        """Whether the model is in use: one run at a time, as they share it."""
        return self.runs.busy

    def _show_last(self) -> None:
        """Beside another image stands its own last answer, or none; the last one may be closed."""
        image, shown = self.inquiry.image, self.inquiry.shown
        if image is not None:
            self._find_again(image)
        if image is not None and (shown is None or shown.image() is not image):
            entries = self.entries_of(image)
            self.inquiry.shown = entries[-1] if entries else None

    def overlay_of(self, image: Image) -> Shapes | None:
        """The layer that holds the answers about an image layer, if there is one."""
        return next((one for one, found in self._overlays.items() if found() is image), None)

    def keep_overlay(self, overlay: Shapes, image: Image) -> None:
        """Note which layer holds the answers about an image layer."""
        self._overlays[overlay] = where_found(image)

    def _find_again(self, image: Image) -> None:
        """A slide that was closed and is open again has its answers, and their layer, as before."""
        slide, open_now = slide_of(image), self.inquiry.slides
        if slide is None or slide.reservation:
            return
        for found in (*(entry.image for entry in self.entries), *self._overlays.values()):
            if (
                isinstance(found, SlideFile)
                and found.path == slide.path
                and found() not in open_now
            ):
                found.show_as(image)
                overlay = self.overlay_of(image)
                if overlay is not None:
                    overlay.visible = True

    def _hide_answers(self, image: Image) -> None:
        """Without their slide, answers would lie on nothing, or on another one."""
        overlay = self.overlay_of(image)
        if overlay is not None:
            overlay.visible = False

    def add(
        self,
        result: Result,
        image: Image,
        former: Entry | None = None,
        name: str = "",
        others: tuple[ShownSlide, ...] = (),
    ) -> Entry:
        """Keep a result about an image layer and tell everyone; see `Entry`."""
        with self._lock:
            model_id = self._model_id
            if model_id is not None:
                self.known_models[model_id] = result.model
        number = len(self.entries) + 1
        entry = Entry(
            number,
            result,
            where_found(image),
            model_id or EMBEDDED,
            former=former,
            name=name,
            others=others,
        )
        self.entries.append(entry)
        self.archive.keep(entry)
        self.added.emit(entry)
        return entry

    def add_kept(
        self,
        answer: ProjectAnswer,
        image: SlideFile,
        model_id: str,
        folder: ProjectFolder,
        reviews: Mapping[str, Review],
    ) -> None:
        """Take an answer of a project up, with what readers say of it; each once."""
        uid = f"{folder.folder}\n{answer.key}"  # of each annotation every question has an answer
        if any(entry.uid == uid for entry in self.entries):
            return
        self._reviews[uid] = dict(reviews)
        entry = Entry(
            len(self.entries) + 1,
            answer.result,
            image,
            model_id,
            answer.made,
            name=answer.name,
            uid=uid,
            key=answer.key,
            folder=folder,
            case=answer.case,
            tissue=answer.tissue,
        )
        self.entries.append(entry)
        self.added.emit(entry)

    @property
    def reader(self) -> str:
        """Name of the reader who looks at the answers; empty where none is given."""
        return self.memory.state.reader

    @reader.setter
    def reader(self, name: str) -> None:
        name = " ".join(name.split())
        if name != self.reader:
            self.memory.keep(reader=name)
            for entry in self.entries:
                if self._reviews.get(entry.uid):
                    self.reviewed.emit(entry)

    def review_of(self, entry: Entry) -> Review:
        """What the reader says of an answer."""
        return self._reviews.get(entry.uid, {}).get(self.reader, "")

    def review(self, entry: Entry, review: Review) -> None:
        """Say whether an answer is right; the same again takes it back.

        Raises
        ------
        ExportError
            If it is of a project whose folder cannot be written to.
        """
        now: Review = "" if review == self.review_of(entry) else review
        if entry.folder is not None:
            entry.folder.add_review(entry.key, self.reader, now)
        else:
            self.archive.keep_review(entry, now, self.reader)
        self._reviews.setdefault(entry.uid, {})[self.reader] = now
        self.reviewed.emit(entry)

    def row_of(self, entry: Entry) -> AnswerRow:
        """An entry as tables have it."""
        reviews = {who: one for who, one in self._reviews.get(entry.uid, {}).items() if one}
        return AnswerRow(
            entry.id,
            entry.made,
            entry.name,
            entry.result,
            self.review_of(entry),
            entry.case,
            entry.tissue,
            reviews,
        )

    def earlier_answers(self, image: Image) -> list[ArchivedAnswer]:
        """Answers about a slide that are on disk, and not in this session."""
        known = {entry.uid for entry in self.entries}
        return [one for one in self.archive.answers_of(info_of(image)) if one.uid not in known]

    def bring_back(self, image: Image) -> int:
        """Take `earlier_answers` into this session, as answers; how many they were."""
        earlier = self.earlier_answers(image)
        by_uid = {entry.uid: entry for entry in self.entries}
        for one in earlier:
            self._reviews[one.uid] = dict(one.reviews)
            entry = Entry(
                len(self.entries) + 1,
                one.result,
                where_found(image),
                one.model_id,
                one.made,
                by_uid.get(one.former),
                one.name,
                one.uid,
            )
            by_uid[one.uid] = entry
            self.entries.append(entry)
            self.added.emit(entry)
        return len(earlier)

    def entries_of(self, image: Image) -> list[Entry]:
        """Entries about one image layer, oldest first."""
        return [entry for entry in self.entries if entry.image() is image]

    def info_of(self, model_id: str) -> ModelInfo | None:
        """What is known of a model without loading it; None where that is nothing.

        Raises
        ------
        ModelError
            If its files are damaged.
        """
        info = self.known_models.get(model_id)
        return self.describe(model_id) if info is None else info

    def preferences(self) -> Preferences:
        """The user's preferences, for each question anew; a bad value is warned of once."""
        current = preferences()
        for trouble in current.troubles:
            if trouble not in self._warned:
                self._warned.add(trouble)
                show_warning(trouble)
        return current

    def models(self, model_id: str, compute: Compute | None = None) -> Models:
        """Models of an id, kept between questions; another id frees the former first.

        So does another ``compute``; without one it is that of the preferences. A folder that was
        written to is another model.
        """
        from napari_pathreason.models import folder_signature

        compute = preferences().compute if compute is None else compute
        with self._loading:  # one load at a time; `close_models` must not wait for it
            content = folder_signature(model_id)
            wanted = model_id, compute, content
            with self._lock:
                if self._models is not None and wanted == (
                    self._model_id,
                    self._compute,
                    self._content,
                ):
                    return self._models
                self._drop()
            models = self.models_factory(model_id, compute)
            with self._lock:
                self._models, self._model_id, self._compute = models, model_id, compute
                self._content = content
            return models

    def close_models(self) -> None:
        """End the model's process; the next question starts a fresh one."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        models, self._models, self._model_id = self._models, None, None
        if models is not None:
            models.close()


_sessions: WeakKeyDictionary[Viewer, Session] = WeakKeyDictionary()


def session_of(viewer: Viewer) -> Session:
    """Session of a viewer, made at the first call and closed with the viewer."""
    viewer = unwrapped(viewer)
    session = _sessions.get(viewer)
    if session is None:
        session = _sessions[viewer] = Session()
        finalize(viewer, session.close_models)
    return session


def unwrapped(proxy: Any) -> Any:
    """Object behind the proxy that napari hands to plugins; weak references need the object."""
    return getattr(proxy, "__wrapped__", proxy)
