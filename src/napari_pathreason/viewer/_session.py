"""What belongs to one viewer: its answers and the model that gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakKeyDictionary, finalize, ref

from napari.utils.notifications import show_warning
from psygnal import Signal

from napari_pathreason.engine import Models
from napari_pathreason.types import ModelInfo, Result

from ._dock_state import DockMemory
from ._preferences import Compute, Preferences, preferences

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image


ModelsFactory = Callable[[str, Compute], Models]
Describe = Callable[[str], ModelInfo | None]


def spawn_models(model_id: str, compute: Compute) -> Models:
    """Models of a folder, hub id or ``embedded``, served from a child process."""
    from napari_pathreason.models import ModelProcess

    return ModelProcess(model_id, compute.device, threads=compute.threads, offline=compute.offline)


def describe_model(model_id: str) -> ModelInfo | None:
    """What a model on this machine says of itself before it is loaded; see `read_model_info`."""
    from napari_pathreason.models import read_model_info

    return read_model_info(model_id)


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer of a session; the image may have been closed since.

    ``model_id`` is the model as it was asked for; ``made`` the time of the answer, in UTC.
    """

    id: int
    result: Result
    image: ReferenceType[Image]
    model_id: str = "embedded"
    made: datetime = field(default_factory=lambda: datetime.now(UTC))


class Session:
    """Answers and models of one viewer; knows neither the viewer nor Qt.

    Parameters
    ----------
    models_factory : callable
        Spec and `Compute` -> loaded models; may take long, so it is called in a worker.
    describe : callable
        Spec -> what the model says of itself, or None; quick, without loading it.

    Attributes
    ----------
    added : psygnal signal
        Emitted with each new `Entry`, in the thread that added it.
    chosen : psygnal signal
        Emitted with an `Entry` that a dock wants shown.
    known_models : dict
        What the models that were loaded say of themselves, by spec.
    asking : bool
        Whether a question is on its way: one at a time, as they share a model.
    form : callable
        Gives the form of the Ask dock, or None; a weak reference.
    memory : DockMemory
        What the docks were set to.
    """

    added = Signal(Entry)
    chosen = Signal(Entry)

    def __init__(
        self, models_factory: ModelsFactory = spawn_models, describe: Describe = describe_model
    ) -> None:
        self.models_factory, self.describe = models_factory, describe
        self.entries: list[Entry] = []
        self.overlays: WeakKeyDictionary[Image, ReferenceType[Any]] = WeakKeyDictionary()
        self.known_models: dict[str, ModelInfo] = {}
        self.form: Callable[[], Any] = lambda: None
        self.asking = False
        self.memory = DockMemory()
        self._told: set[str] = set()
        self._loading = Lock()
        self._lock = Lock()
        self._model_id: str | None = None
        self._compute = Compute()
        self._models: Models | None = None

    def add(self, result: Result, image: Image) -> Entry:
        """Keep a result about an image layer and tell everyone."""
        with self._lock:
            model_id = self._model_id
            if model_id is not None:
                self.known_models[model_id] = result.model
        entry = Entry(len(self.entries) + 1, result, ref(image), model_id or "embedded")
        self.entries.append(entry)
        self.added.emit(entry)
        return entry

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
        known = self.known_models.get(model_id)
        return self.describe(model_id) if known is None else known

    def preferences(self) -> Preferences:
        """The user's preferences, for each question anew; a bad value is warned of once."""
        found = preferences()
        for trouble in found.troubles:
            if trouble not in self._told:
                self._told.add(trouble)
                show_warning(trouble)
        return found

    def models(self, model_id: str, compute: Compute | None = None) -> Models:
        """Models of a spec, kept between questions; another spec frees the former first.

        So does another ``compute``; without one the preferences are looked at.
        """
        compute = preferences().compute if compute is None else compute
        with self._loading:  # one load at a time; `close_models` must not wait for it
            with self._lock:
                if self._models is not None and (self._model_id, self._compute) == (
                    model_id,
                    compute,
                ):
                    return self._models
                self._drop()
            models = self.models_factory(model_id, compute)
            with self._lock:
                self._models, self._model_id, self._compute = models, model_id, compute
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
