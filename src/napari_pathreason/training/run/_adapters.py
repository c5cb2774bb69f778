"""Adapters on disk: in the state of a run, and as the checkpoint that it leaves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from napari_pathreason.models import (
    WEIGHTS,
    base_of,
    described_in,
    find_base,
    find_checkpoint,
    save_matrices,
    write_base,
    write_metadata,
)
from napari_pathreason.training.model import EMBEDDINGS, LEARNING
from napari_pathreason.types import Metadata

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
    matrices = get_peft_model_state_dict(
        model, state_dict=state, adapter_name=LEARNING, save_embedding_layers=EMBEDDINGS
    )
    return config, matrices


def copy_checkpoint(source: Path, target: Path) -> Path:
    """Copy a checkpoint, which may be an adapter, so that it is there whole or not at all."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    if (base := base_of(source, source.name)) is not None:
        write_base(partial, base)  # it lies elsewhere, seen from here
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
    return target


def save_adapter(
    folder: Path,
    state: dict[str, torch.Tensor],
    model: Any,
    tokenizer: Any,
    start: str,
    name: str,
    metadata: Metadata | None = None,
) -> None:
    """Write an adapter as `load_models` and peft read it, with config, tokenizer and metadata.

    Parameters
    ----------
    folder : Path
    state : dict
        Of the whole model.
    model : transformers model
        With the adapters.
    tokenizer : transformers tokenizer
    start : str
        ``embedded``, folder or hub id that training began with.
    name : str
        What to call the model.
    metadata : Metadata, optional
        What it shall say of its training.
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
    write_metadata(partial, name, metadata, "relative")  # training writes boxes so
    config, matrices = _adapter_of(model, state)
    config.save_pretrained(str(partial))
    save_matrices(partial, matrices)
    folder.mkdir(parents=True, exist_ok=True)
    write_base(partial, base_of(begun, called) or start)  # both lie at one depth
    for file in sorted(partial.iterdir(), key=lambda file: file.name == WEIGHTS):
        os.replace(file, folder / file.name)
    partial.rmdir()
