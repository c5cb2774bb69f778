"""The model that a run begins with: new and small, or a checkpoint that is continued."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from napari_pathreason.tasks import TASKS
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.samples import (
    CROWDED,
    PLACES,
    SMALL,
    SPARSE,
    THROUGHOUT,
    WHOLE,
    Sample,
)

from ._dinov2 import load_dinov2
from ._lora import start_lora, start_whole
from ._mini import mini_config, mini_tokenizer, order_embeddings, tell_tokens


def start_model(recipe: Recipe, samples: Sequence[Sample]) -> tuple[Any, Any]:
    """Model and tokenizer; a new tokenizer is learnt on the prompts and answers of ``samples``.

    Raises
    ------
    ModelError
        If there is no such model to continue from, or it cannot be read.
    """
    from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

    if recipe.lora is not None and recipe.model.start is not None:
        return start_lora(recipe.model.start, recipe.lora, recipe.seed)
    if recipe.model.start is not None:
        model, tokenizer = start_whole(recipe.model.start)
        if recipe.model.tell_tokens:
            tokenizer.chat_template = tell_tokens(tokenizer.chat_template)
        return model, tokenizer
    kept = Path(recipe.output) / "tokenizer"
    if kept.is_dir():  # a resumed run must not learn another one
        tokenizer = PreTrainedTokenizerFast.from_pretrained(kept, local_files_only=True)
    else:
        tokenizer = mini_tokenizer(_texts(samples), recipe.model.vocabulary)
        tokenizer.save_pretrained(kept)
    torch.manual_seed(recipe.seed)
    model = Qwen3VLForConditionalGeneration(mini_config(recipe.model, tokenizer))
    order_embeddings(model, tokenizer)
    if recipe.model.tell_tokens:
        tokenizer.chat_template = tell_tokens(tokenizer.chat_template)
    if recipe.model.vision_encoder is not None:
        load_dinov2(model.model.visual, Path(recipe.model.vision_encoder))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _texts(samples: Sequence[Sample]) -> Iterator[str]:
    for sample in samples:
        yield str(TASKS[sample.task].messages(sample.query)[-1]["content"][-1]["text"])
        yield sample.answer
    for place in (*PLACES, THROUGHOUT):
        for what in ("tumour", "no tumour", "no nuclei", CROWDED, SPARSE, *SMALL, *WHOLE):
            yield from [f"{place}: {what}; {place}: {what}"] * 20
