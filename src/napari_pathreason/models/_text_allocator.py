"""An allocator that writes its number: the performer's own weights with a second adapter on top.

Beside the performer's weights lie ``allocator.json``, which says how it is asked, and the folder
``allocator`` with the adapter as peft writes it. Its base is the performer as it answers, that
one's own adapter already added into the weights, so that both share one model in memory and a
performer that is merged into a checkpoint of its own keeps its allocator.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pathreason.budgets import flops, snap
from napari_pathreason.errors import ModelError
from napari_pathreason.tasks import allocation_messages, parse_allocation
from napari_pathreason.types import Allocation, Completion, Effort, GenerationSettings, Query

from ._adapter import CONFIG, read_matrices, save_matrices, write_base
from ._allocator import BUDGETS, WEIGHTS as HEAD, needed
from ._config import ALLOCATOR, ALLOCATOR_FOLDER
from ._models import LoadedModels
from ._performer import VLMPerformer
from ._switch import AdapterSwitch

FALLBACK = 256
"""Visual tokens where no number was written, as in the paper's public code."""


@dataclass(frozen=True, slots=True)
class TextForm:
    """How a writing allocator is asked, as it was trained.

    ``overview`` visual tokens are shown to it, it writes at most ``longest`` tokens, and it learnt
    at the price of ``effort``.
    """

    overview: int
    longest: int
    effort: Effort


@dataclass(frozen=True, slots=True)
class TextAllocator:
    """Allots the budget of the number that a model writes; satisfies `engine.Allocator`.

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
        """Visual tokens of the overview that it looks at."""
        return self.form.overview

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        """Let it write; tokens and FLOPs of overview, prompt and text are counted.

        Raises
        ------
        ModelError
            If no overview is given.
        OutOfMemoryError
            If the device cannot hold it.
        """
        overview = needed(overview)
        dims = self.writer.info.dims
        height, width, _ = overview.shape
        messages = allocation_messages(query, height * width // dims.token_px**2, native)
        settings = GenerationSettings(max_new_tokens=self.form.longest)
        pieces = self.writer.generate(overview, messages, settings, Event())
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
    folder: Path, form: TextForm, config: Any, matrices: Mapping[str, torch.Tensor]
) -> None:
    """Put a writing allocator beside a performer's weights, in place of any other allocator.

    Parameters
    ----------
    folder : Path
        Of the performer.
    form : TextForm
    config : peft.LoraConfig
    matrices : mapping
        Of the adapter, by the names that peft gives them within the model.
    """
    adapter, metadata_json = folder / ALLOCATOR_FOLDER, folder / f"{ALLOCATOR}.partial"
    partial, old = (folder / f"{ALLOCATOR_FOLDER}.{name}" for name in ("partial", "old"))
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir()
    config.save_pretrained(str(partial))
    save_matrices(partial, matrices)
    write_base(partial, str(folder))
    metadata_json.write_text(
        json.dumps({"form": "text", **asdict(form)}, indent=2) + "\n", encoding="utf-8"
    )
    if adapter.exists():
        os.replace(adapter, old)
    os.replace(partial, adapter)
    os.replace(metadata_json, folder / ALLOCATOR)  # last: this is what loading looks at
    (folder / HEAD).unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)


def load_text_allocator(
    folder: Path, performer: VLMPerformer, metadata_json: Mapping[str, Any]
) -> LoadedModels:
    """Put the adapter on a performer's model; both speak from it from now on.

    Parameters
    ----------
    folder : Path
        Of the performer.
    performer : VLMPerformer
        Not to be asked any more: the one returned takes its place.
    metadata_json : mapping
        What ``allocator.json`` holds.

    Raises
    ------
    ModelError
        If a file is damaged or fits another performer.
    """
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    model = performer.model
    try:
        form = TextForm(
            int(metadata_json["overview"]), int(metadata_json["longest"]), metadata_json["effort"]
        )
        if form.effort not in get_args(Effort) or min(form.overview, form.longest) < 1:
            raise ValueError(form)
        matrices = read_matrices(folder / ALLOCATOR_FOLDER)
        if not (folder / ALLOCATOR_FOLDER / CONFIG).is_file():  # peft would ask the hub for it
            raise ValueError(CONFIG)
        config = LoraConfig.from_pretrained(str(folder / ALLOCATOR_FOLDER))
        inject_adapter_in_model(config, model, ALLOCATOR_FOLDER)
        left = set_peft_model_state_dict(model, matrices, ALLOCATOR_FOLDER)
        missing = [name for name in left.missing_keys if f".{ALLOCATOR_FOLDER}." in name]
        if missing or left.unexpected_keys:
            raise ValueError(missing or left.unexpected_keys)
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes json, safetensors and peft raise
        if "memory" in str(error).lower():
            raise
        raise ModelError(
            f"the allocator of the model {performer.info.name} does not fit it; "
            "fetch the whole model, or train the allocator again"
        ) from error
    switch = AdapterSwitch(model)
    return LoadedModels(
        performer.under(switch.off), TextAllocator(performer.under(switch.on, judges=False), form)
    )
