"""An allocator that writes: the performer's own weights with a second adapter on top.

What it writes is a number of visual tokens, or, in the other form, windows of a large region
(`TextWindows`). Beside the performer's weights lie ``allocator.json``, which says how it is asked,
and the folder ``allocator`` with the adapter as peft writes it. Its base is the performer as it
answers, that one's own adapter already added into the weights, so that both share one model in
memory and a performer that is merged into a checkpoint of its own keeps its allocator.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pathreason.budgets import flops, snap
from napari_pathreason.engine import Allocator
from napari_pathreason.errors import ModelError
from napari_pathreason.files import atomic_text
from napari_pathreason.tasks import allocation_messages, parse_allocation
from napari_pathreason.types import (
    Allocation,
    Completion,
    Effort,
    GenerationSettings,
    Prompt,
    Query,
)

from ._adapter import fill_adapter, read_adapter, save_matrices, write_base
from ._allocators import FOLDER, SETTINGS, WEIGHTS, FixedAllocator, TextForm, read_form
from ._head_allocator import BUDGETS, needed
from ._performer import VLMPerformer
from ._text_windows import FORM as WINDOWS_FORM, TextWindows
from ._window_allocator import SETTINGS as NET_SETTINGS, WEIGHTS as NET, WithWindows

FALLBACK = 256
"""Visual tokens where no number was written, as in the paper's public code."""


@dataclass(frozen=True, slots=True)
class TextAllocator:
    """Allocates the budget of the number that a model writes; satisfies `engine.Allocator`.

    It decodes greedily, so its policy stands on one budget: ``probabilities`` are 1 there and 0
    elsewhere. Odds of its tokens would not be those of budgets, as many thoughts end in one number.
    Text without a number gives `FALLBACK` tokens, with source ``fixed`` and no probabilities. It
    knows the trade-off that it was trained at alone: every effort gets that one, and the
    allocation names it.

    Parameters
    ----------
    writer : VLMPerformer
        Whose passes are taken with the adapter on.
    form : TextForm
    """

    writer: VLMPerformer
    form: TextForm

    @property
    def overview_budget(self) -> int:
        """Visual tokens of the overview that it reads."""
        return self.form.overview

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        """Let it write; tokens and FLOPs of overview, prompt and text are counted.

        Raises
        ------
        ModelError
            If there is no overview.
        OutOfMemoryError
            If the device cannot hold it.
        """
        overview = needed(overview)
        dims = self.writer.info.dims
        height, width, _ = overview.shape
        messages = allocation_messages(query, height * width // dims.token_px**2, native)
        settings = GenerationSettings(max_new_tokens=self.form.max_completion_length)
        pieces = self.writer.generate(Prompt((overview,), messages), settings, threading.Event())
        done = next(piece for piece in pieces if isinstance(piece, Completion))
        number = parse_allocation(done.text).number
        budget = snap(FALLBACK if number is None else number, native)
        return Allocation(
            budget=budget,
            source="fixed" if number is None else "policy",
            tokens_spent=done.visual_tokens,
            probabilities=None if number is None else tuple(float(r == budget) for r in BUDGETS),
            flops=flops(
                dims, done.visual_tokens, done.prompt_tokens - done.visual_tokens, done.new_tokens
            ),
            effort=self.form.effort,
        )


def save_text_allocator(
    folder: Path,
    form: TextForm,
    config: Any,
    matrices: Mapping[str, torch.Tensor],
    *,
    windows: bool = False,
) -> None:
    """Put a writing allocator beside a performer's weights, in place of any other allocator.

    One that writes a number leaves an allocator of windows, a light net, where it is. A process
    that dies in between leaves none of them, never the adapter of one with another's settings.

    Parameters
    ----------
    folder : Path
        Of the performer.
    form : TextForm
    config : peft.LoraConfig
    matrices : mapping
        Of the adapter, by the names that peft gives them within the model.
    windows : bool
        Whether it writes windows, not a number.
    """
    adapter = folder / FOLDER
    partial, old = (folder / f"{FOLDER}.{name}" for name in ("partial", "old"))
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir()
    config.save_pretrained(str(partial))
    save_matrices(partial, matrices)
    write_base(partial, str(folder))
    with atomic_text(folder / SETTINGS) as file:  # named last: this is what loading looks at
        kind = WINDOWS_FORM if windows else "text"
        file.write(json.dumps({"form": kind, **asdict(form)}, indent=2) + "\n")
        for other in (WEIGHTS, *((NET, NET_SETTINGS) if windows else ()), SETTINGS):
            (folder / other).unlink(missing_ok=True)
        if adapter.exists():
            os.replace(adapter, old)
        os.replace(partial, adapter)
    shutil.rmtree(old, ignore_errors=True)


def load_text_allocator(
    folder: Path, performer: VLMPerformer, settings: Mapping[str, Any]
) -> tuple[VLMPerformer, Allocator]:
    """Put the adapter on a performer's model, which answers and allocates from now on.

    Parameters
    ----------
    folder : Path
        Of the performer.
    performer : VLMPerformer
        Not to be asked any more: the one returned takes its place.
    settings : mapping
        What ``allocator.json`` holds.

    Raises
    ------
    ModelError
        If a file is damaged or fits another performer.
    """
    from peft import inject_adapter_in_model

    model = performer.model
    try:
        form = read_form(settings)
        config, matrices = read_adapter(model, folder / FOLDER, performer.info.name)
        inject_adapter_in_model(config, model, FOLDER)
        fill_adapter(model, matrices, FOLDER, performer.info.name)
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes json, safetensors and peft raise
        if "memory" in str(error).lower():
            raise
        raise ModelError(
            f"the allocator of the model {performer.info.name} does not fit it; "
            "fetch the whole model, or train the allocator again"
        ) from error
    adapter = _AdapterSwitch(model)
    writer = performer.under(adapter.on, detects_ood=False)
    own = performer.under(adapter.off)
    if settings["form"] == WINDOWS_FORM:
        return own, WithWindows(FixedAllocator(), TextWindows(writer, form))
    return own, TextAllocator(writer, form)


class _AdapterSwitch:
    """Takes the passes of a model with its adapter or without it.

    Either may be asked from several threads: each has the switch for one forward pass at a time, so
    that none runs on the other's weights. Off, the layers give just what the plain model gives.
    peft's own `disable_adapter` belongs to its wrapper, which would hide the model that the rest
    reads, has no lock, and switches all layers twice for each token.
    """

    def __init__(self, model: Any) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        self._layers = [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
        self._lock = threading.RLock()
        self._is_on: bool | None = None

    @contextmanager
    def _turned(self, on: bool) -> Iterator[None]:
        with self._lock:
            if self._is_on is not on:
                for layer in self._layers:
                    layer.enable_adapters(on)
                self._is_on = on
            yield

    def on(self) -> AbstractContextManager[None]:
        """With the adapter."""
        return self._turned(True)

    def off(self) -> AbstractContextManager[None]:
        """As if there were none."""
        return self._turned(False)
