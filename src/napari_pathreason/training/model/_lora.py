"""Checkpoints that a run goes on from: as a whole, or under LoRA.

The reference of reinforcement learning is a second adapter on the same frozen weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from napari_pathreason.errors import ModelError
from napari_pathreason.models import (
    CONFIG,
    check_whole,
    described_in,
    find_base,
    find_checkpoint,
    load_tokenizer,
    load_weights,
    merge_adapter,
    read_info,
    read_matrices,
)
from napari_pathreason.training.recipe import LoraRecipe

LEARNING, REFERENCE = "default", "reference"
"""Names of the two adapters: what is trained, and what the distance is measured from."""
EMBEDDINGS = False
"""Linear layers alone have adapters; where peft is not told so, it asks the hub for the base."""
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


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
    from peft import LoraConfig, set_peft_model_state_dict

    model, tokenizer, folder, _ = _base(start, DTYPES[lora.weights])
    if not (folder / CONFIG).is_file():
        return _with_adapter(model, _new(model, lora), lora, seed), tokenizer
    model = _with_adapter(model, LoraConfig.from_pretrained(str(folder)), lora, seed)
    set_peft_model_state_dict(model, read_matrices(folder), LEARNING)
    return model, tokenizer


def start_second_lora(start: str, lora: LoraRecipe, seed: int) -> tuple[Any, Any]:
    """A checkpoint as it answers, frozen, with new adapters on top, and its tokenizer.

    An adapter that the folder holds is added into the weights first. Parameters and errors as in
    `start_lora`.
    """
    model, tokenizer, folder, name = _base(start, DTYPES[lora.weights])
    if (folder / CONFIG).is_file():
        model = merge_adapter(model, folder, name)
    return _with_adapter(model, _new(model, lora), lora, seed), tokenizer


def start_whole(start: str) -> tuple[Any, Any]:
    """A checkpoint that learns as a whole, in float32, and its tokenizer.

    An adapter that the folder holds is added into the weights first. Parameters and errors as in
    `start_lora`.
    """
    model, tokenizer, folder, name = _base(start, torch.float32)
    if (folder / CONFIG).is_file():
        model = merge_adapter(model, folder, name)
    return model, tokenizer


def _base(start: str, dtype: torch.dtype) -> tuple[Any, Any, Path, str]:
    """Base model and tokenizer of a checkpoint, its folder and its name."""
    folder, name = find_checkpoint(start)
    base = find_base(folder, name)
    about = described_in(folder, base)
    info = read_info(about, name, folder)
    check_whole(folder, info.name, base)
    tokenizer = load_tokenizer(about, info)
    return load_weights(base, info, dtype), tokenizer, folder, info.name


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
        raise ModelError(f"no linear layer is called {missing[0]!r}; mend lora.targets")
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
