"""A new small Qwen3-VL model and its tokenizer, both sized by the recipe."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError
from napari_pathreason.models import (
    CONTROL_TOKENS,
    NORMALISATION,
    TEMPORAL_PATCH,
    read_dims,
    write_metadata,
)
from napari_pathreason.tasks import DETECTION_FORMAT
from napari_pathreason.training.recipe import ModelRecipe
from napari_pathreason.types import Metadata

FRAME = ("<think>", "</think>", "<answer>", "</answer>", "<think></think><answer>")
BOX_JSON = ('[{"bbox_2d":[', '],"label":"', '"},{"bbox_2d":[', '"}]', "[]")
PROMPT = ("user\n", "assistant\n", DETECTION_FORMAT)
"""Parts of every prompt; as single tokens they make it a third shorter."""
NUMBERS = tuple(str(n) for n in range(1001))

CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.role != 'system' %}"
    "<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen's turns without the system message: a model of this size is always told the same."""


def tell_tokens(template: str) -> str:
    """A chat template that tells, behind a picture, how many visual tokens show it.

    Attention has means: a model sees how dense things lie, and a count asks how much there is to
    see. Where nobody passes the number, as in transformers alone, the template is as it was.

    Raises
    ------
    QueryError
        If the template has no ``<|vision_end|>``.
    """
    if (end := "<|vision_end|>") not in template:
        raise QueryError(
            f"model.tell_tokens needs a chat template with {end}; leave it out, or start from a "
            "model of the Qwen-VL family"
        )
    if "visual_tokens" in template:  # told already
        return template
    told = "{% if visual_tokens %}{{ visual_tokens }}\n{% endif %}"
    return template.replace(end, end + told)


def mini_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Byte-level BPE learnt on ``texts``; numbers to 1000 and what always recurs are one token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    whole = [*FRAME, *BOX_JSON, *PROMPT]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocabulary - len(CONTROL_TOKENS) - len(whole) - len(NUMBERS), 256),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=5,
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_tokens([AddedToken(text, normalized=False) for text in whole])
    core.add_tokens([AddedToken(n, normalized=False, single_word=True) for n in NUMBERS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(CONTROL_TOKENS),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def mini_config(recipe: ModelRecipe, tokenizer: Any) -> Any:
    """Transformers config of a model sized by ``recipe`` that speaks ``tokenizer``."""
    from transformers import Qwen3VLConfig

    def token(name: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(f"<|{name}|>"))

    head_dim = recipe.text_hidden // recipe.text_heads
    height = width = head_dim // 2 // 3  # rotary pairs of rows and columns; time takes the rest
    return Qwen3VLConfig(
        text_config={
            "vocab_size": math.ceil(len(tokenizer) / 64) * 64,
            "hidden_size": recipe.text_hidden,
            "intermediate_size": recipe.text_mlp,
            "num_hidden_layers": recipe.text_depth,
            "num_attention_heads": recipe.text_heads,
            "num_key_value_heads": recipe.text_kv_heads,
            "head_dim": head_dim,
            "max_position_embeddings": 8192,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [head_dim // 2 - height - width, height, width],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": recipe.vision_depth,
            "hidden_size": recipe.vision_hidden,
            "intermediate_size": recipe.vision_mlp,
            "num_heads": recipe.vision_heads,
            "out_hidden_size": recipe.text_hidden,
            "patch_size": 16,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": list(recipe.deepstack),
        },
        image_token_id=token("image_pad"),
        video_token_id=token("video_pad"),
        vision_start_token_id=token("vision_start"),
        vision_end_token_id=token("vision_end"),
        tie_word_embeddings=True,
    )


def order_embeddings(model: Any, tokenizer: Any) -> None:
    """Give positions of patches and number tokens a start in which neighbours are alike.

    Random ones are learnt too slowly for a model of this size to write where a thing is: position
    embeddings become two-dimensional sines, and half of each number's embedding becomes sines of
    its value (the other half stays random, so that small counts can be told apart).
    """
    import torch

    from ._sines import on_grid, sines

    with torch.no_grad():
        places = model.model.visual.pos_embed.weight
        side = math.isqrt(places.shape[0])
        steps = sines(torch.arange(side) / side, places.shape[1] // 2, side / 4)
        places.copy_(0.3 * on_grid(steps))
        words = model.get_input_embeddings().weight
        ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(NUMBERS)))
        half = words.shape[1] // 2
        scale = words.std() * math.sqrt(2)
        words[ids, :half] = scale * sines(torch.arange(len(ids)) / len(ids), half, 64)


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
