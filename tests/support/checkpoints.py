"""Random-weight checkpoints of Qwen's families, made in code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

Family = Literal["qwen3_vl", "qwen2_5_vl", "qwen2_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"]
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "router_aux_loss_coef": 0.0,
}

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The image and language model of Qwen's own template."""

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def byte_tokenizer() -> Any:
    """Tokenizer of the 256 bytes and Qwen's special tokens: any text has an encoding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_config(family: Family, tokenizer: Any) -> Any:
    """Transformers config of a model below 1 M parameters that speaks ``tokenizer``."""
    from transformers import CONFIG_MAPPING

    made = CONFIG_MAPPING[family]
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in _ID_NAMES}
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
    }
    vision: dict[str, Any] = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 4,
        "out_hidden_size": 64,
    }
    shared: dict[str, Any] = {
        "image_token_id": ids["image_pad"],
        "video_token_id": ids["video_pad"],
        "vision_start_token_id": ids["vision_start"],
        "vision_end_token_id": ids["vision_end"],
        "tie_word_embeddings": True,
    }
    if family == "qwen2_vl":
        vision = {"depth": 2, "embed_dim": 64, "hidden_size": 64, "num_heads": 4, "mlp_ratio": 2}
        return made(text_config=text, vision_config=vision, **shared)
    if family == "qwen2_5_vl":
        vision |= {"patch_size": 14, "window_size": 112, "fullatt_block_indexes": [1]}
        return made(text_config=text, vision_config=vision, **shared)
    text |= {"head_dim": 16}
    text["rope_parameters"]["mrope_interleaved"] = True
    vision |= {"patch_size": 16, "num_position_embeddings": 64}
    if family in ("qwen3_vl", "qwen3_vl_moe"):
        vision["deepstack_visual_indexes"] = [0]
    else:
        text["rope_parameters"]["partial_rotary_factor"] = 1.0
        text |= {"num_hidden_layers": 4, "linear_conv_kernel_dim": 4}
        text |= {f"linear_{part}_head_dim": 16 for part in ("key", "value")}
        text |= {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
    if family.endswith("moe"):
        text |= EXPERTS
    if family == "qwen3_5_moe":
        text["shared_expert_intermediate_size"] = 32
    return made(text_config=text, vision_config=vision, **shared)


_ID_NAMES = ("image_pad", "video_pad", "vision_start", "vision_end")


def make_tiny_checkpoint(folder: str | Path, family: Family = "qwen3_vl", seed: int = 0) -> Path:
    """Write a random-weight checkpoint of under 1 M parameters.

    Parameters
    ----------
    folder : str or Path
        Made if missing.
    family : Family
    seed : int
        Of the weights; the caller's own random state is left as it was.

    Returns
    -------
    Path
        ``folder``, with config, tokenizer, chat template, preprocessor config and safetensors.
    """
    import torch
    import transformers

    from napari_pathreason.models import FAMILIES, TEMPORAL_PATCH

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_tokenizer()
    config = tiny_config(family, tokenizer)
    made = getattr(transformers, FAMILIES[family].architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = made(config)
        # initial weights give near-constant text; wider ones make every token depend on its past
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pixels = FAMILIES[family].normalisation
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "image_mean": list(pixels.mean),
        "image_std": list(pixels.std),
        "patch_size": config.vision_config.patch_size,
        "merge_size": config.vision_config.spatial_merge_size,
        "temporal_patch_size": TEMPORAL_PATCH,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
    return folder
