"""A performer that finds a marker in its picture, and a dock in a viewer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathreason.errors import ModelError
from napari_pathreason.models import Fetched, ModelProcess
from napari_pathreason.types import (
    Allocation,
    Completion,
    Effort,
    GenerationSettings,
    Messages,
    ModelDims,
    ModelInfo,
    OODScore,
    Prompt,
    Query,
    TokenLogprobs,
)
from napari_pathreason.viewer import Compute, session_of

MARKER = (255, 0, 255)
DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 100)
UNTOLD = ModelInfo("fake", "qwen3_vl", "relative", DIMS)
"""Says nothing of its training."""


@dataclass
class FakePerformer:
    """Answers with the box of all magenta pixels; ``behaviour`` makes it misbehave.

    One that is ``confident`` tells so, and knows such pictures.
    """

    behaviour: str = "answer"
    info: ModelInfo = UNTOLD
    confident: bool = False
    seen: list[NDArray[np.uint8]] = field(default_factory=list)
    settings: list[GenerationSettings] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def generate(
        self,
        prompt: Prompt,
        settings: GenerationSettings,
        cancel: threading.Event,
    ) -> Iterator[str | Completion]:
        pixels = prompt.pictures[0]  # the overview, where there are windows behind it
        self.seen.append(pixels)
        self.settings.append(settings)
        if self.behaviour == "die":
            raise ModelError("the model's process ended unexpectedly; ask again to restart it")
        if self.behaviour == "deaf":  # hears no cancel, only the end of its process
            self.closed.wait(20)
            raise ModelError("the model's process was ended")
        if self.behaviour == "gated":  # answers as often as the test lets it
            while not (self.gate.acquire(timeout=0.01) or cancel.is_set()):
                pass
        tokens = (pixels.shape[0] // 32) * (pixels.shape[1] // 32)
        words = ["<think>", "upper left: ", "magenta", "</think>", "<answer>"]
        words += [self._answer(pixels, prompt.messages), "</answer>"]
        for word in words:
            yield word
            while self.behaviour == "slow" and not cancel.is_set():
                time.sleep(0.01)
            if cancel.is_set():
                yield Completion("", 20, tokens, 3, "cancelled", 0.1)
                return
        written = tuple(TokenLogprobs(((word, 0.0),)) for word in words) if self.confident else ()
        alike = OODScore(0.5, ("pictures of tests",)) if self.confident else None
        text = "".join(words)
        yield Completion(text, 20, tokens, len(words), "stop", 0.1, written, alike)

    def _answer(self, pixels: NDArray[np.uint8], messages: Messages) -> str:
        if "bbox_2d" not in json.dumps(messages):
            return "yes"
        red, green, blue = (pixels[..., i].astype(int) for i in range(3))
        rows, columns = np.nonzero((red > 128) & (blue > 128) & (green < 128))
        if not len(rows):
            return "[]"
        height, width = pixels.shape[:2]
        box = [
            columns.min() / width,
            rows.min() / height,
            (columns.max() + 1) / width,
            (rows.max() + 1) / height,
        ]
        return json.dumps([{"bbox_2d": [1000 * v for v in box], "label": "marker"}])


@dataclass
class FakeAllocator:
    overview_budget: int = 0
    efforts: list[Effort] = field(default_factory=list)

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        self.efforts.append(effort)
        return Allocation(64, "fixed")


@dataclass
class FakeModels:
    performer: FakePerformer
    allocator: FakeAllocator = field(default_factory=FakeAllocator)

    def close(self) -> None:
        self.performer.closed.set()


@dataclass
class FakeFactory:
    """Counts how often models were made, of which model id; ``behaviour`` is for the next ones."""

    behaviour: str = "answer"
    info: ModelInfo = UNTOLD
    confident: bool = False
    made: list[tuple[str, FakeModels]] = field(default_factory=list)
    computes: list[Compute] = field(default_factory=list)

    def __call__(self, model_id: str, compute: Compute) -> FakeModels:
        if model_id == "unknown":
            raise ModelError("there is no model 'unknown'; choose a folder or a hub id")
        models = FakeModels(FakePerformer(self.behaviour, self.info, self.confident))
        self.made.append((model_id, models))
        self.computes.append(compute)
        return models


@pytest.fixture(autouse=True)
def _own_config(config_folder: Path) -> None:
    """No test reads or writes the user's settings."""


@pytest.fixture
def factory() -> FakeFactory:
    return FakeFactory()


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Notifications of napari as (severity, text)."""
    from napari.utils.notifications import notification_manager

    caught: list[tuple[str, str]] = []

    def keep(notification: Any) -> None:
        caught.append((str(notification.severity), notification.message))

    monkeypatch.setattr(notification_manager, "dispatch", keep)
    return caught


@pytest.fixture
def make_dock(
    make_napari_viewer_proxy: Callable[..., Any], factory: FakeFactory, messages: list[Any]
) -> Callable[..., tuple[Any, Any]]:
    """Viewer and dock whose models are fake."""
    from napari_pathreason.widgets import AskWidget

    def make(**options: Any) -> tuple[Any, Any]:
        viewer = make_napari_viewer_proxy(**options)
        session = session_of(viewer)
        session.models_factory, session.describe = factory, lambda model_id: None
        dock = AskWidget(viewer)
        viewer.window.add_dock_widget(dock, name="Ask")
        return viewer, dock

    return make


@pytest.fixture
def finish(qtbot: Any) -> Callable[[Any], None]:
    """Wait until a dock's question has ended."""

    def wait(dock: Any) -> None:
        qtbot.waitUntil(lambda: not dock.busy, timeout=120_000)

    return wait


@pytest.fixture
def marked_image() -> NDArray[np.uint8]:
    """White, 600 x 400, with a magenta marker at x 320..400, y 160..200."""
    image = np.full((400, 600, 3), 255, np.uint8)
    image[160:200, 320:400] = MARKER
    return image


DOWNLOAD = 20_000_000_000


class Downloading(ModelProcess):
    """Is downloaded up to a half, and then waits for its gate."""

    def __init__(self, models: Any) -> None:
        self._models = models
        self.gate = threading.Event()
        self.cancelled = False

    performer = property(lambda self: self._models.performer)  # type: ignore[assignment]
    allocator = property(lambda self: self._models.allocator)  # type: ignore[assignment]

    def loading(self, cancel: threading.Event) -> Generator[Fetched, None, None]:
        yield Fetched("a/b", 0, DOWNLOAD)
        yield Fetched("a/b", DOWNLOAD // 2, DOWNLOAD)
        while not self.gate.wait(0.01):
            if cancel.is_set():
                self.cancelled = True
                return
        yield Fetched("a/b", DOWNLOAD, DOWNLOAD)

    def close(self) -> None:
        """Nothing is there to be ended."""


@pytest.fixture
def missing(factory: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[Downloading]]:
    """Let the model of a viewer be one that is not here; gives those that are loaded."""
    made: list[Downloading] = []

    def let(viewer: Any) -> list[Downloading]:
        def load(*words: Any) -> Downloading:
            made.append(Downloading(factory(*words)))
            return made[-1]

        session_of(viewer).models_factory = load
        monkeypatch.setattr("napari_pathreason.models.is_missing", lambda model: True)
        return made

    return let


@pytest.fixture
def follow_download(qtbot: Any) -> Callable[..., None]:
    """Wait until a bar shows the half of a download; then cancel it, or let it go on."""

    def follow(bar: Any, made: list[Downloading], cancel: Any = None) -> None:
        half = "Downloading a/b: 10.0 of 20.0 GB"
        qtbot.waitUntil(lambda: bar.label.text().startswith(half), timeout=60_000)
        assert bar.bar.value() == bar.bar.maximum() // 2
        if cancel is None:
            made[0].gate.set()
        else:
            cancel()

    return follow
