"""What the engine asks of a model; `models` satisfies these, the engine never imports it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from napari_pathreason import types

if TYPE_CHECKING:
    from ._policies import Policy


class Performer(Protocol):
    """A vision-language model that reads pictures and writes one answer."""

    @property
    def info(self) -> types.ModelInfo:
        """Name, box space, dimensions, and what it says of its training."""

    def generate(
        self,
        prompt: types.Prompt,
        settings: types.GenerationSettings,
        cancel: Event,
    ) -> Iterator[str | types.Completion]:
        """Stream the answer.

        Parameters
        ----------
        prompt : Prompt
            Its pictures are of the planned sizes; the performer must not resize them.
        settings : GenerationSettings
        cancel : threading.Event
            Once set, generation ends at the next token with ``finish="cancelled"``.

        Yields
        ------
        str
            Pieces of text as they are written.
        Completion
            Exactly once, last.

        Raises
        ------
        ValueError
            If the messages hold not one image part for each picture.
        """


@runtime_checkable
class BatchPerformer(Performer, Protocol):
    """A performer that also answers several prompts at once, each by itself."""

    def generate_batch(
        self,
        prompts: Sequence[types.Prompt],
        settings: types.GenerationSettings,
        cancel: Event,
    ) -> list[types.Completion]:
        """Answer each prompt; parameters and errors as in `Performer.generate`.

        Pictures and texts may differ in number and size; the more alike, the less is wasted.
        """


class Allocator(Protocol):
    """Decides how many visual tokens a region and a question deserve."""

    @property
    def overview_budget(self) -> int:
        """Visual tokens of the overview it wants to see; 0 for none."""

    def allocate(
        self,
        overview: NDArray[np.uint8] | None,
        query: types.Query,
        native: int,
        effort: types.Effort,
    ) -> types.Allocation:
        """Choose a budget.

        Parameters
        ----------
        overview : uint8 array (height, width, 3) or None
        query : Query
        native : int
            Visual tokens of the region at native size.
        effort : {"low", "balanced", "high"}
            How readily tokens are spent; without meaning to an allocator that has no policy.
        """


@runtime_checkable
class WindowsAllocator(Allocator, Protocol):
    """An allocator that may also have learnt which windows of a large region to read."""

    @property
    def windows(self) -> Policy | None:
        """What chooses windows; None where nothing was learnt of them.

        Raises
        ------
        ModelError
            If its files are damaged.
        """


class Models(Protocol):
    """A performer and the allocator that goes with it, in this process or another."""

    @property
    def performer(self) -> Performer:
        """What answers."""

    @property
    def allocator(self) -> Allocator:
        """What chooses the budget."""

    def close(self) -> None:
        """Free memory and end the process, if it is a process, at once."""
