"""The checkpoint that a run begins with, as a whole or under LoRA, and how it is written.

The reference of reinforcement learning is a second adapter on the same frozen weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from napari_pathreason import models
from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.files import atomic_folder, write_json
from napari_pathreason.training.recipe import LoraRecipe, Recipe
from napari_pathreason.types import BoxSpace, Metadata

LEARNING, REFERENCE = "default", "reference"
"""Names of the two adapters: what is trained, and what the distance is measured from."""
EMBEDDINGS = False
"""Linear layers alone have adapters; where peft is not set so, it asks the hub for the base."""
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def starting_model(recipe: Recipe) -> str:
    """``embedded``, folder or hub id of the model that a run begins with.

    Raises
    ------
    QueryError
        If the recipe names none.
    """
    if recipe.model.start is None:
        raise QueryError(
            "the recipe names no model to train; set model.start to embedded, a folder or a hub id"
        )
    return recipe.model.start


def start_model(recipe: Recipe) -> tuple[Any, Any]:
    """The model that a recipe begins with, under LoRA or as a whole, and its tokenizer.

    Raises
    ------
    QueryError
        If the recipe names none.
    ModelError
        If it is not there, or cannot be read.
    """
    start = starting_model(recipe)
    if recipe.lora is not None:
        return start_lora(start, recipe.lora, recipe.seed)
    return _merged(start, torch.float32)


def start_lora(start: str, lora: LoraRecipe, seed: int) -> tuple[Any, Any]:
    """A frozen checkpoint with adapters that learn, and its tokenizer.

    A folder that holds an adapter goes on learning from it, at that adapter's own rank.

    Parameters
    ----------
    start : str
        ``embedded``, a folder or a hub id.
    lora : LoraRecipe
    seed : int
        Of new adapters.

    Raises
    ------
    ModelError
        If the checkpoint cannot be read, or names of ``lora.targets`` are not in it.
    """
    model, tokenizer, folder, name = _base(start, _dtype(lora))
    if not (folder / models.CONFIG).is_file():
        return _with_adapter(model, _new(model, lora), lora, seed), tokenizer
    config, matrices = models.read_adapter(model, folder, name)
    model = _with_adapter(model, config, lora, seed)
    models.fill_adapter(model, matrices, LEARNING, name)
    return model, tokenizer


def start_second_lora(start: str, lora: LoraRecipe, seed: int) -> tuple[Any, Any]:
    """A checkpoint as it answers, frozen, with new adapters on top, and its tokenizer.

    An adapter that the folder holds is added into the weights first. Parameters and errors as in
    `start_lora`.
    """
    model, tokenizer = _merged(start, _dtype(lora))
    return _with_adapter(model, _new(model, lora), lora, seed), tokenizer


def _base(start: str, dtype: torch.dtype) -> tuple[Any, Any, Path, str]:
    """Base model and tokenizer of a checkpoint, its folder and its name."""
    folder, name = models.find_checkpoint(start)
    base = models.find_base(folder, name)
    about = models.described_in(folder, base)
    info = models.read_info(about, name, folder)
    family = models.FAMILIES[info.family]
    if family.loader != "decoder" or family.hybrid:  # rollouts pad rows, see `Family.hybrid`
        raise ModelError(
            f"models of the family {family.name} answer here but cannot be trained; "
            "start from a Qwen3-VL or Qwen2.5-VL, or train by --engine trl"
        )
    if models.read_normalisation(about, info) != family.normalisation:  # training knows that alone
        raise ModelError(
            f"the model {info.name} prepares pictures otherwise than others of its family "
            f"{family.name}; it answers here but cannot be trained"
        )
    models.check_whole(folder, info.name, base)
    tokenizer = models.load_tokenizer(about, info)
    return models.load_weights(base, info, dtype), tokenizer, folder, info.name


def _merged(start: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """A checkpoint as a whole, an adapter that its folder holds added in, and its tokenizer."""
    model, tokenizer, folder, name = _base(start, dtype)
    if (folder / models.CONFIG).is_file():
        model = models.merge_adapter(model, folder, name)
    return model, tokenizer


def _dtype(lora: LoraRecipe) -> torch.dtype:
    if lora.weights == "4bit":
        raise QueryError(
            "lora.weights: 4bit needs TRL as the engine; train by --engine trl, or set bf16"
        )
    return DTYPES[lora.weights]


def _new(model: Any, lora: LoraRecipe) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=linear_layers(model, lora.targets),
    )


def _with_adapter(model: Any, config: Any, lora: LoraRecipe, seed: int) -> Any:
    from peft import inject_adapter_in_model

    config.inference_mode = False
    torch.manual_seed(seed)
    model = inject_adapter_in_model(config, model, LEARNING)
    _in_full_precision(model, LEARNING)
    if lora.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def linear_layers(model: Any, targets: tuple[str, ...] | None) -> list[str]:
    """Full names of a model's linear layers but for the vocabulary's.

    Raises
    ------
    ModelError
        If a name of ``targets`` is that of no layer.
    """
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
    ]
    if targets is None:
        return names
    chosen = {target: [n for n in names if n.rsplit(".", 1)[-1] == target] for target in targets}
    if missing := [target for target, found in chosen.items() if not found]:
        raise ModelError(f"no linear layer is called {missing[0]!r}; correct lora.targets")
    return [name for found in chosen.values() for name in found]


def add_reference(model: Any) -> None:
    """Keep the adapters as they are now, frozen, beside those that learn."""
    from peft import (
        get_peft_model_state_dict,
        inject_adapter_in_model,
        set_peft_model_state_dict,
    )

    state = get_peft_model_state_dict(
        model, adapter_name=LEARNING, save_embedding_layers=EMBEDDINGS
    )
    config = model.peft_config[LEARNING]
    inject_adapter_in_model(config, model, REFERENCE)
    _in_full_precision(model, REFERENCE)
    set_peft_model_state_dict(model, state, REFERENCE)
    _activate(model, LEARNING)


@contextmanager
def as_reference(model: Any) -> Iterator[None]:
    """Let the model speak as it did when `add_reference` was called; without gradient."""
    _activate(model, REFERENCE)
    try:
        yield
    finally:
        _activate(model, LEARNING)


@contextmanager
def gradient_checkpointing(model: Any) -> Iterator[None]:
    """Checkpoint the layers of a model that is in evaluation mode: they compute again going back.

    Transformers checkpoints layers in training mode alone, and training mode would bring dropout.
    Only the layers' own flag is raised, which nothing but checkpointing reads.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [
        module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)
    ]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def _in_full_precision(model: Any, adapter: str) -> None:
    """New adapters take after the weights below; in half precision small steps are rounded away."""
    for name, parameter in model.named_parameters():
        if f".{adapter}." in name:
            parameter.data = parameter.data.float()


def _activate(model: Any, adapter: str) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(adapter, inference_mode=adapter == REFERENCE)


def save_checkpoint(
    folder: Path,
    model: Any,
    tokenizer: Any,
    name: str,
    metadata: Metadata | None = None,
    begun: Path | None = None,
    state: dict[str, torch.Tensor] | None = None,
    box_space: BoxSpace = "relative",
) -> None:
    """Write weights in half precision, tokenizer and configs as `load_models` reads them.

    The folder is there as a whole or not at all; what was fitted beside a former one goes along.

    Parameters
    ----------
    folder : Path
    model : transformers model
    tokenizer : transformers tokenizer
    name : str
        What to call the model.
    metadata : Metadata, optional
        What it shall say of its training.
    begun : Path, optional
        Folder of the checkpoint that training began with, whose way to prepare pictures goes along;
        without it, that of the released checkpoints of one of Qwen's families.
    state : dict, optional
        Its weights, where the model itself holds a part of them alone.
    box_space : {"relative", "resized"}
        How it has learnt to write boxes; supervised fine-tuning teaches the former.
    """
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    half = {
        key: value.to(torch.float16)
        for key, value in (model.state_dict() if state is None else state).items()
        if not (tied and key == "lm_head.weight")
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as draft:
        _write(draft, model, half, tokenizer, name, metadata, begun, box_space)
        models.copy_beside(folder, draft)


def _write(
    folder: Path,
    model: Any,
    weights: dict[str, torch.Tensor],
    tokenizer: Any,
    name: str,
    metadata: Metadata | None,
    begun: Path | None,
    box_space: BoxSpace,
) -> None:
    model.save_pretrained(folder, state_dict=weights)
    models.write_index(folder)
    tokenizer.save_pretrained(folder)
    models.write_metadata(folder, name, metadata, box_space)
    if begun is not None:
        copy_processor(begun, folder)
        return
    dims = models.read_dims(model.config.to_dict())
    pixels = models.NORMALISATION[model.config.model_type]
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "image_mean": list(pixels.mean),
        "image_std": list(pixels.std),
        "patch_size": dims.patch,
        "merge_size": dims.merge,
        "temporal_patch_size": models.TEMPORAL_PATCH,
    }
    write_json(folder / "preprocessor_config.json", preprocessor)


def copy_processor(begun: Path, folder: Path) -> None:
    """Copy how a checkpoint's pictures are prepared, in whichever files it says so."""
    for name in models.PROCESSOR_FILES:
        if (begun / name).is_file():
            shutil.copy(begun / name, folder)
