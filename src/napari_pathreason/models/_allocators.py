"""The allocator beside a performer's weights: a learned one of either form, or a fixed budget.

No torch here: a fixed budget needs none, and a learned form is loaded where its files lie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.engine import Allocator, Performer
from napari_pathreason.errors import ModelError
from napari_pathreason.types import Allocation, Effort, Query

from ._config import read_json

SETTINGS = "allocator.json"
"""Optional file beside the weights that says of which form the learned allocator is."""
WEIGHTS = "allocator.safetensors"
"""Weights of an allocator that is a head."""
ALLOCATOR_FILES = (SETTINGS, WEIGHTS)
"""What lies beside a performer's weights of an allocator that is a head."""
WORD_BUCKETS = 4096
"""That the words of a question are hashed into."""
FOLDER = "allocator"
"""Where the adapter of an allocator that writes lies."""
WRITTEN = ("text", "text_windows")
"""Forms of allocators that write: a number of visual tokens, or windows of a large region."""


@dataclass(frozen=True, slots=True)
class TextForm:
    """How a writing allocator is asked, as it was trained.

    ``overview`` visual tokens are shown to it, it writes at most ``max_completion_length`` tokens,
    and it learnt at the lambda of ``effort``.
    """

    overview: int
    max_completion_length: int
    effort: Effort


def read_form(settings: Mapping[str, Any]) -> TextForm:
    """A form out of ``allocator.json``.

    Raises
    ------
    LookupError, TypeError, ValueError
        If it is none.
    """
    overview, most = int(settings["overview"]), int(settings["max_completion_length"])
    effort: Effort = settings["effort"]
    if effort not in get_args(Effort) or min(overview, most) < 1:
        raise ValueError("the form of the allocator is damaged")
    return TextForm(overview, most, effort)


def word_ids(query: Query) -> list[int]:
    """Buckets of the words of a question, its options and its task; never empty."""
    words = re.findall(r"\w+", " ".join([query.question, *query.options]).casefold())
    return [crc32(word.encode()) % WORD_BUCKETS for word in [f"task:{query.task}", *words]]


@dataclass(frozen=True, slots=True)
class FixedAllocator:
    """Gives every question the same number of visual tokens; reads nothing, claims no policy.

    Parameters
    ----------
    budget : int or None
        Visual tokens; None for native size.
    """

    budget: int | None = 64

    @property
    def overview_budget(self) -> int:
        """Always 0: no overview is wanted."""
        return 0

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        """The fixed budget, with source ``fixed``."""
        return Allocation(self.budget, "fixed")


def load_beside(folder: Path, name: str, performer: Performer) -> tuple[Performer, Allocator]:
    """The allocator of a checkpoint's folder, and the performer that goes with it.

    Parameters
    ----------
    folder : Path
    name : str
        How the checkpoint is called.
    performer : Performer
        Loaded from the folder. Not to be asked any more: the one returned takes its place, since an
        allocator that writes shares its weights.

    Raises
    ------
    ModelError
        If a file is damaged or fits another performer.
    """
    from ._window_allocator import WithWindows, load_windows

    own, allocator = _of_one_picture(folder, name, performer)
    windows = load_windows(folder)
    return own, allocator if windows is None else WithWindows(allocator, windows)


def _of_one_picture(folder: Path, name: str, performer: Performer) -> tuple[Performer, Allocator]:
    settings = read_json(folder / SETTINGS, name) if (folder / SETTINGS).is_file() else {}
    if settings.get("form") in WRITTEN:
        from ._performer import VLMPerformer
        from ._text_allocator import load_text_allocator

        if not isinstance(performer, VLMPerformer):
            raise ModelError(
                f"the allocator of the model {name} writes its choice, which models of the family "
                f"{performer.info.family} cannot be asked for here; move {SETTINGS} elsewhere"
            )

        return load_text_allocator(folder, performer, settings)
    if (folder / WEIGHTS).is_file():
        from ._head_allocator import load_allocator

        return performer, load_allocator(folder)
    return performer, FixedAllocator()
