"""The sizes that a model's cost depends on, out of its ``config.json``. No torch.

FLOPs reckon with a plain transformer. Of a mixture of experts those count that one token goes
through; layers with a running state in place of keys count as if they had keys, which they are
cheaper than by less than a tenth at the lengths here; what a resampler between the two parts costs
is taken for a merger's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from napari_pathreason.types import ModelDims

Config = Mapping[str, Any]

_GEMMA = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
}
_LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
_IDEFICS = {
    "hidden_size": 1152,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "image_size": 224,
    "patch_size": 32,
}
DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "gemma3": {
        "text": {**_GEMMA, "vocab_size": 262208, "num_hidden_layers": 26},
        "vision": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "image_size": 224,
            "patch_size": 16,
        },
    },
    "gemma4": {
        "text": {**_GEMMA, "vocab_size": 262144, "num_hidden_layers": 30},
        "vision": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 16,
            "patch_size": 16,
            "pooling_kernel_size": 3,
        },
    },
    "idefics3": {"text": _LLAMA, "vision": _IDEFICS},
    "smolvlm": {"text": _LLAMA, "vision": _IDEFICS},
}
"""What released configs leave out because it is the default of transformers."""


def read_dims(config: Config) -> ModelDims:
    """Dimensions out of a config, nested (transformers 5) or flat (older).

    Raises
    ------
    KeyError
        If the config lacks one of them.
    """
    usual = DEFAULTS.get(config["model_type"], {"text": {}, "vision": {}})
    vision = usual["vision"] | config["vision_config"]
    text = usual["text"] | config.get("text_config", config)
    config = {**config, "vision_config": vision}
    patch, merge = _TOKENS.get(config["model_type"], _of_qwen)(config)
    depth, hidden, mlp = _encoder(config["model_type"], vision)
    heads = text["num_attention_heads"]
    return ModelDims(
        patch=patch,
        merge=merge,
        vision_depth=depth,
        vision_hidden=hidden,
        vision_mlp=mlp,
        text_depth=text["num_hidden_layers"],
        text_hidden=text["hidden_size"],
        text_mlp=_active_mlp(text),
        text_heads=heads,
        text_kv_heads=text.get("num_key_value_heads") or heads,
        head_dim=text.get("head_dim") or text["hidden_size"] // heads,
        vocabulary=text["vocab_size"],
        vision_gated=config["model_type"] in ("qwen2_5_vl", "gemma4"),
    )


def _active_mlp(text: Config) -> int:
    """Width of the feed-forward part that one token goes through."""
    expert = text.get("moe_intermediate_size")
    if expert and text.get("enable_moe_block"):  # of Gemma 4, beside a plain one
        return int(text["intermediate_size"] + text["top_k_experts"] * expert)
    if expert and text.get("num_experts_per_tok"):
        shared = text.get("shared_expert_intermediate_size") or 0
        return int(text["num_experts_per_tok"] * expert + shared)
    return int(text["intermediate_size"])


def _encoder(model_type: str, vision: Config) -> tuple[int, int, int]:
    """Layers, width and feed-forward width of the vision encoder."""
    if model_type == "qwen2_vl":  # its `hidden_size` is that of the language model
        width = vision["embed_dim"]
        return vision["depth"], width, int(width * vision["mlp_ratio"])
    depth = vision["depth"] if "depth" in vision else vision["num_hidden_layers"]
    depth += vision.get("num_global_layers", 0)
    return depth, vision["hidden_size"], vision["intermediate_size"]


def _of_qwen(config: Config) -> tuple[int, int]:
    return config["vision_config"]["patch_size"], config["vision_config"]["spatial_merge_size"]


def _of_gemma3(config: Config) -> tuple[int, int]:
    vision = config["vision_config"]
    patches = vision["image_size"] // vision["patch_size"]
    return vision["patch_size"], _merged(patches, config.get("mm_tokens_per_image", 256))


def _merged(patches: int, tokens: int) -> int:
    """Patches a side of one visual token, of patches a side and tokens of a square picture.

    Raises
    ------
    ValueError
        If so many tokens make no square, or as many patches another number of tokens.
    """
    side = math.isqrt(tokens)
    merge = patches // side
    if side**2 != tokens or (merge and patches // merge != side):
        raise ValueError(tokens)
    return merge


def _of_gemma4(config: Config) -> tuple[int, int]:
    return config["vision_config"]["patch_size"], config["vision_config"]["pooling_kernel_size"]


def _of_internvl(config: Config) -> tuple[int, int]:
    vision = config["vision_config"]
    size, patch = _side(vision["image_size"]), _side(vision["patch_size"])
    return patch, _merged(size // patch, config.get("image_seq_length", 256))


def _of_idefics3(config: Config) -> tuple[int, int]:
    return config["vision_config"]["patch_size"], config.get("scale_factor", 2)


def _unmerged(config: Config) -> tuple[int, int]:
    return config["vision_config"]["patch_size"], 1


def _side(size: Any) -> int:
    """InternVL writes a side as a pair."""
    return int(size[0] if isinstance(size, list | tuple) else size)


_TOKENS: dict[str, Callable[[Config], tuple[int, int]]] = {
    "gemma3": _of_gemma3,
    "gemma4": _of_gemma4,
    "internvl": _of_internvl,
    "idefics3": _of_idefics3,
    "smolvlm": _of_idefics3,
    "llava_onevision": _unmerged,
    "mllama": _unmerged,
}
"""Side of a patch in pixels, and patches a side of one visual token."""
