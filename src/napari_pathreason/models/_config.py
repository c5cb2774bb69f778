"""A checkpoint's config as the plain values that the rest of the plugin knows."""

from __future__ import annotations

from typing import Any

from napari_pathreason._types import ModelDims


def read_dims(config: dict[str, Any]) -> ModelDims:
    """Dimensions out of ``config.json``, nested (transformers 5) or flat (hub, older).

    Raises
    ------
    KeyError
        If the config lacks one of them.
    """
    vision, text = config["vision_config"], config.get("text_config", config)
    gated = config["model_type"] == "qwen2_5_vl"
    heads = text["num_attention_heads"]
    return ModelDims(
        patch=vision["patch_size"],
        merge=vision["spatial_merge_size"],
        vision_depth=vision["depth"],
        vision_hidden=vision["hidden_size"],
        vision_mlp=vision["intermediate_size"],
        text_depth=text["num_hidden_layers"],
        text_hidden=text["hidden_size"],
        text_mlp=text["intermediate_size"],
        text_heads=heads,
        text_kv_heads=text.get("num_key_value_heads", heads),
        head_dim=text.get("head_dim") or text["hidden_size"] // heads,
        vocabulary=text["vocab_size"],
        vision_gated=gated,
    )
