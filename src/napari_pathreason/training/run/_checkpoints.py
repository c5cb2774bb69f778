"""A run on disk: its state, taken up again after a kill, and the checkpoint that it leaves.

Either is written whole or not at all. Under LoRA both hold adapters, not the frozen weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from napari_pathreason.files import atomic_folder, former_folder, replace_folder, write_json
from napari_pathreason.models import (
    base_of,
    copy_beside,
    described_in,
    find_base,
    find_checkpoint,
    save_matrices,
    write_base,
    write_metadata,
)
from napari_pathreason.training.model import EMBEDDINGS, LEARNING, copy_processor, save_checkpoint
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.types import BoxSpace, Metadata

from ._identity import STEP, check_files, files_of_state, state_of
from ._log import RunLog, start_log
from ._processes import by_first

STATE = "adapters.safetensors"


def save_state(accelerator: Accelerator, out: Path, step: int, of: Mapping[str, Any]) -> None:
    """Write the whole state beside the last one, then let it take its place.

    Parameters
    ----------
    accelerator : Accelerator
    out : Path
        Folder of the run.
    step : int
        Steps done.
    of : mapping
        To which run it belongs, see `check_same_run`.
    """
    fresh, last = out / "checkpoint.partial", out / "checkpoint"
    if accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
    accelerator.wait_for_everyone()  # nobody writes into what another still removes
    accelerator.save_state(str(fresh))
    accelerator.wait_for_everyone()  # nor is it moved while another still writes
    if accelerator.is_main_process:
        write_step(fresh, step, of)
        replace_folder(fresh, last)
    accelerator.wait_for_everyone()


def write_step(folder: Path, step: int, of: Mapping[str, Any], *, alone: bool = True) -> None:
    """Say beside a state how many steps are done, to which run it belongs, and which its files are.

    Parameters
    ----------
    folder : Path
    step : int
    of : mapping
    alone : bool
        False where other processes may still write some of its files.
    """
    write_json(folder / STEP, state_of(step, of, files_of_state(folder) if alone else {}))


def last_checkpoint(out: Path) -> Path | None:
    """Folder of the last whole checkpoint; None where there is none."""
    last = out / "checkpoint"
    folders = (last, former_folder(last))
    return next((folder for folder in folders if (folder / STEP).is_file()), None)


def resume(
    accelerator: Accelerator, out: Path, recipe: Recipe, of: Mapping[str, Any]
) -> tuple[int, RunLog]:
    """Load the last whole checkpoint, and begin the log (`start_log`); in every process.

    ``of`` is the identity of the run; see `start_log`.

    Raises
    ------
    ExportError
        If the files of the checkpoint do not belong together.

    Returns
    -------
    tuple
        Steps done, 0 where there is no checkpoint; and the log, which the main process writes.
    """
    folder, step = last_checkpoint(out), 0
    if folder is not None:
        step = check_files(folder, out)
        accelerator.load_state(str(folder))
    if accelerator.is_main_process:  # two would replace one file at once
        if folder == out / "checkpoint":  # what was moved aside for it, by a process that died then
            shutil.rmtree(former_folder(folder), ignore_errors=True)
        return step, start_log(accelerator, out, recipe, step, of=of)
    return step, RunLog(out)


def save_model(
    accelerator: Accelerator,
    model: Any,
    tokenizer: Any,
    folder: Path,
    name: str,
    metadata: Metadata,
    adapted: str | None,
    box_space: BoxSpace = "relative",
) -> None:
    """Write what was trained as `load_models` reads it; to be called in every process.

    It is there, whole, when any of them goes on.

    Parameters
    ----------
    accelerator : Accelerator
    model : torch.nn.Module
        As `Accelerator.prepare` gave it; the transformers model is its attribute ``model``.
    tokenizer : transformers tokenizer
    folder : Path
    name : str
        What to call the model.
    metadata : Metadata
        What it shall say of its training.
    adapted : str or None
        ``embedded``, folder or hub id of the checkpoint that adapters were put on; None where the
        whole model was trained.
    box_space : {"relative", "resized"}
        How it has learnt to write boxes.
    """
    plain = accelerator.unwrap_model(model).model
    if adapted is None:
        by_first(
            accelerator,
            lambda: save_checkpoint(folder, plain, tokenizer, name, metadata, box_space=box_space),
        )
        return
    state = accelerator.get_state_dict(model)  # where the model is sharded, all give their part
    if accelerator.is_main_process:
        own = {key.removeprefix("model."): value for key, value in state.items()}
        save_adapter(folder, own, plain, tokenizer, adapted, name, metadata, box_space)
    accelerator.wait_for_everyone()  # the next stage may begin with it


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
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as draft:
        shutil.copytree(source, draft, dirs_exist_ok=True)
        if (base := base_of(source, source.name)) is not None:
            write_base(draft, base)  # it lies elsewhere, seen from here
    return target


def save_adapter(
    folder: Path,
    state: dict[str, torch.Tensor],
    model: Any,
    tokenizer: Any,
    start: str,
    name: str,
    metadata: Metadata | None = None,
    box_space: BoxSpace = "relative",
) -> None:
    """Write an adapter as `load_models` and peft read it, with config, tokenizer and metadata.

    The folder is there as a whole or not at all; what was fitted beside a former one goes along.

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
    box_space : {"relative", "resized"}
        How it has learnt to write boxes.
    """
    begun, called = find_checkpoint(start)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as draft:
        model.config.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        copy_processor(described_in(begun, find_base(begun, called)), draft)
        write_metadata(draft, name, metadata, box_space)
        config, matrices = _adapter_of(model, state)
        config.save_pretrained(str(draft))
        save_matrices(draft, matrices)
        write_base(draft, base_of(begun, called) or start)  # both lie at one depth
        copy_beside(folder, draft)
