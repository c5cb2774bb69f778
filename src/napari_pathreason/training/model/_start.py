"""The checkpoint that a run begins with, and the one that it leaves where all weights learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError
from napari_pathreason.models import NORMALISATION, TEMPORAL_PATCH, read_dims, write_metadata
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.types import Metadata

from ._lora import start_lora, start_whole


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
    return (
        start_whole(start) if recipe.lora is None else start_lora(start, recipe.lora, recipe.seed)
    )


def save_checkpoint(
    folder: Path, model: Any, tokenizer: Any, name: str, metadata: Metadata | None = None
) -> None:
    """Write weights in half precision, tokenizer and configs as `load_models` reads them.

    Parameters
    ----------
    folder : Path
    model : transformers model
    tokenizer : transformers tokenizer
    name : str
        What to call the model.
    metadata : Metadata, optional
        What it shall say of its training.
    """
    import torch

    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    half = {
        key: value.to(torch.float16)
        for key, value in model.state_dict().items()
        if not (tied and key == "lm_head.weight")
    }
    model.save_pretrained(folder, state_dict=half)
    tokenizer.save_pretrained(folder)
    dims = read_dims(model.config.to_dict())
    pixels = NORMALISATION[model.config.model_type]
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "image_mean": list(pixels.mean),
        "image_std": list(pixels.std),
        "patch_size": dims.patch,
        "merge_size": dims.merge,
        "temporal_patch_size": TEMPORAL_PATCH,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
    write_metadata(folder, name, metadata, "relative")  # training writes boxes so
