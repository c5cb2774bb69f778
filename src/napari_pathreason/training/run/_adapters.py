"""Adapters on disk: in the state of a run, and as the checkpoint that it leaves."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from napari_pathreason.models import METADATA
from napari_pathreason.models._adapter import (
    WEIGHTS,
    base_of,
    find_base,
    save_matrices,
    write_base,
)
from napari_pathreason.models._checkpoint import find_checkpoint
from napari_pathreason.models._config import read_card
from napari_pathreason.models._loading import described_in
from napari_pathreason.training.model._lora import LEARNING

STATE = "adapters.safetensors"


def keep_adapters_alone(accelerator: Accelerator) -> None:
    """Let states of a run hold what learns, not the frozen weights; sharded ones stay whole."""

    def save(models: list[Any], weights: list[Any], folder: str) -> None:
        if weights and accelerator.is_main_process:  # all would write one file
            save_file({n: p.detach().cpu() for n, p in _learning(models[0])}, Path(folder) / STATE)
        weights.clear()

    def load(models: list[Any], folder: str) -> None:
        if (file := Path(folder) / STATE).is_file():
            state = load_file(file)
            with torch.no_grad():
                for name, parameter in _learning(models[0]):
                    parameter.copy_(state[name])
            models.clear()

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def _learning(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    plain = getattr(model, "module", model)  # of a DistributedDataParallel
    return [(name, p) for name, p in plain.named_parameters() if p.requires_grad]


def learnt_adapter(accelerator: Accelerator, model: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Config and matrices of the adapter that learns; to be called in every process.

    Parameters
    ----------
    accelerator : Accelerator
    model : torch.nn.Module
        As `Accelerator.prepare` gave it; the transformers model is its attribute ``model``.
    """
    plain = accelerator.unwrap_model(model).model
    state = {n.removeprefix("model."): v for n, v in accelerator.get_state_dict(model).items()}
    return _adapter_of(plain, state)


def _adapter_of(model: Any, state: dict[str, torch.Tensor]) -> tuple[Any, dict[str, torch.Tensor]]:
    """Config and matrices of the adapter that learns, out of the state of the whole model."""
    from peft import get_peft_model_state_dict

    config = model.peft_config[LEARNING]
    config.inference_mode = True
    return config, get_peft_model_state_dict(model, state_dict=state, adapter_name=LEARNING)


def save_adapter(
    folder: Path, state: dict[str, torch.Tensor], model: Any, tokenizer: Any, start: str, name: str
) -> None:
    """Write an adapter as `load_models` and peft read it, with config, tokenizer and card.

    Parameters
    ----------
    folder : Path
    state : dict
        Of the whole model.
    model : transformers model
        With the adapters.
    tokenizer : transformers tokenizer
    start : str
        Folder or hub id that training began with.
    name : str
        What to call the model.
    """
    begun, called = find_checkpoint(start)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    model.config.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    preprocessor = described_in(begun, find_base(begun, called)) / "preprocessor_config.json"
    if preprocessor.is_file():
        shutil.copy(preprocessor, partial)
    card = read_card(begun, called) | {"name": name, "box_space": "relative"}
    (partial / METADATA).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    config, matrices = _adapter_of(model, state)
    config.save_pretrained(str(partial))
    save_matrices(partial, matrices)
    folder.mkdir(parents=True, exist_ok=True)
    write_base(partial, base_of(begun, called) or start)  # both lie at one depth
    for file in sorted(partial.iterdir(), key=lambda file: file.name == WEIGHTS):
        os.replace(file, folder / file.name)
    partial.rmdir()
