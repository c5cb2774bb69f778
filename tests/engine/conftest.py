"""A slide with a marker in it, and a performer that sees nothing but that marker."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import (
    Allocation,
    Completion,
    Effort,
    GenerationSettings,
    ModelDims,
    ModelInfo,
    Prompt,
    Query,
    SlideInfo,
)
from tests.support.windows import Seer, Tissue

DIMS = ModelDims(
    patch=16,
    merge=2,
    vision_depth=2,
    vision_hidden=32,
    vision_mlp=64,
    text_depth=2,
    text_hidden=32,
    text_mlp=64,
    text_heads=2,
    text_kv_heads=1,
    head_dim=16,
    vocabulary=300,
)


@dataclass
class MarkedImage:
    pixels: NDArray[np.uint8]
    pixels_decoded: int
    level: int = 0
    unreadable: float = 0.0


@dataclass
class MarkedSlide:
    """White, 2000 x 1500 px, with one dark rectangle."""

    marker: Box
    mpp: tuple[float, float] | None = (0.5, 0.5)
    unreadable: float = 0.0
    error: Exception | None = None
    notes: tuple[str, ...] = ()
    reads: list[tuple[Region, tuple[int, int]]] = field(default_factory=list)
    background: tuple[int, int, int] | None = None

    @property
    def info(self) -> SlideInfo:
        source = "unknown" if self.mpp is None else "file"
        return SlideInfo("marked.svs", 2000, 1500, self.mpp, source)

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        return ((self.info.width, self.info.height),)

    def read_region(self, region: Region, size: tuple[int, int]) -> MarkedImage:
        self.reads.append((region, size))
        if self.error is not None:
            raise self.error
        whole = np.full((1500, 2000), 255, np.uint8)
        x1, y1, x2, y2 = (int(v) for v in self.marker.corners)
        whole[y1:y2, x1:x2] = 40  # black would be padding
        rx, ry, rx2, ry2 = (int(v) for v in region.box.corners)
        part = Image.fromarray(whole[ry:ry2, rx:rx2]).resize(size, Image.Resampling.BOX)
        pixels = np.repeat(np.asarray(part)[..., None], 3, axis=2)
        return MarkedImage(pixels, size[0] * size[1], unreadable=self.unreadable)


@dataclass
class MarkerFinder:
    """Answers with a box around the dark pixels of the picture it is given."""

    box_space: str = "relative"
    text: str | None = None
    finish: str = "stop"
    error: Exception | None = None
    seen: list[tuple[int, int]] = field(default_factory=list)
    cancel_after: int | None = None

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("finder", "qwen3_vl", self.box_space, DIMS)  # type: ignore[arg-type]

    def generate(
        self, prompt: Prompt, settings: GenerationSettings, cancel: Event
    ) -> Iterator[str | Completion]:
        (pixels,) = prompt.pictures
        self.seen.append((pixels.shape[1], pixels.shape[0]))
        if self.error is not None:
            raise self.error
        text = self.text if self.text is not None else self._find(pixels)
        for count, letter in enumerate(text):
            if self.cancel_after == count:
                cancel.set()
            if cancel.is_set():
                yield self._completion(pixels, text[:count], "cancelled")
                return
            yield letter
        yield self._completion(pixels, text, self.finish)

    def _find(self, pixels: NDArray[np.uint8]) -> str:
        rows, columns = np.nonzero(pixels[..., 0] < 128)
        if not rows.size:
            return "<think>nothing dark</think><answer>[]</answer>"
        height, width = pixels.shape[:2]
        sx, sy = (1000 / width, 1000 / height) if self.box_space == "relative" else (1, 1)
        x1, x2 = columns.min() * sx, (columns.max() + 1) * sx
        y1, y2 = rows.min() * sy, (rows.max() + 1) * sy
        boxes = [{"bbox_2d": [float(v) for v in (x1, y1, x2, y2)], "label": "lesion"}]
        return f"<think>dark spot</think><answer>{json.dumps(boxes)}</answer>"

    def _completion(self, pixels: NDArray[np.uint8], text: str, finish: str) -> Completion:
        visual = pixels.shape[0] * pixels.shape[1] // DIMS.token_px**2
        return Completion(text, 30 + visual, visual, len(text), finish, 0.1)  # type: ignore[arg-type]


@dataclass
class LearnedAllocator:
    """Looks at an overview of 8 tokens and always chooses the same budget."""

    budget: int | None = 64
    overview_budget: int = 8
    overviews: list[NDArray[np.uint8] | None] = field(default_factory=list)
    asked: list[tuple[int, Effort]] = field(default_factory=list)

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        self.asked.append((native, effort))
        self.overviews.append(overview)
        return Allocation(self.budget, "policy", 8, (0.5, 0.5))


@pytest.fixture
def marker() -> Box:
    return Box(900, 700, 300, 200)


@pytest.fixture
def slide(marker: Box) -> MarkedSlide:
    return MarkedSlide(marker)


@pytest.fixture
def performer() -> MarkerFinder:
    return MarkerFinder()


@pytest.fixture
def allocator() -> LearnedAllocator:
    return LearnedAllocator()


@pytest.fixture
def whole() -> Region:
    return Region(0, 0, 2000, 1500)


@pytest.fixture
def find() -> Query:
    return Query("detection", options=("lesion",))


@pytest.fixture
def tissue(slide):
    return Tissue(slide)


@pytest.fixture
def seer(performer):
    return Seer(performer)
