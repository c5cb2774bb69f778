"""The performer and the allocator of a model process, as the engine sees them. No torch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.types import (
    Allocation,
    Completion,
    Effort,
    GenerationSettings,
    Messages,
    ModelInfo,
    Query,
)

from ._wire import Allocate, Generate, GenerateBatch

if TYPE_CHECKING:
    from ._process import ModelProcess


class ProcessPerformer:
    """The performer of a `ModelProcess`; satisfies `engine.BatchPerformer`."""

    def __init__(self, process: ModelProcess) -> None:
        self._process = process

    @property
    def info(self) -> ModelInfo:
        """What the model says of itself; the first time waits until it is loaded."""
        return self._process.ready().info

    def generate(
        self,
        pixels: NDArray[np.uint8],
        messages: Messages,
        settings: GenerationSettings,
        cancel: threading.Event,
    ) -> Iterator[str | Completion]:
        """Stream the answer; see `engine.Performer.generate`.

        A cancel reaches the child within one token; a child that does not answer it within
        `PATIENCE` seconds is killed, and its Completion then counts pieces of text, not tokens.

        Raises
        ------
        ModelError
            If the model cannot be loaded or its process died; the next question starts it again.
        OutOfMemoryError
            If the device cannot hold the picture.
        """
        request = Generate(self._process.next_run(), pixels, messages, settings)
        return self._process.generate(request, cancel)

    def generate_batch(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        prompts: Sequence[Messages],
        settings: GenerationSettings,
        cancel: threading.Event,
    ) -> list[Completion]:
        """Answer several questions; see `engine.BatchPerformer`, cancel as `generate`."""
        request = GenerateBatch(self._process.next_run(), pictures, prompts, settings)
        return self._process.generate_batch(request, cancel)


class ProcessAllocator:
    """The allocator of a `ModelProcess`; satisfies `engine.Allocator`."""

    def __init__(self, process: ModelProcess) -> None:
        self._process = process

    @property
    def overview_budget(self) -> int:
        """Visual tokens of the overview it wants; the first time waits until it is loaded."""
        return self._process.ready().overview_budget

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        """Choose a budget; errors as `ProcessPerformer.generate`."""
        run = self._process.next_run()
        return self._process.allocate(Allocate(run, overview, query, native, effort))
