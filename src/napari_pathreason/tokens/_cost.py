"""Floating-point FLOPs of one answer, from the model's dimensions alone."""

from __future__ import annotations

from napari_pathreason.types import ModelDims


def flops(dims: ModelDims, visual_tokens: int, text_tokens: int, new_tokens: int) -> float:
    """FLOPs of encoder, prefill and decode for one picture and one answer.

    A multiply-add counts as two. Norms, softmax and positions are left out (below 1 %).

    Parameters
    ----------
    dims : ModelDims
    visual_tokens : int
        Realised visual tokens; the encoder sees ``merge ** 2`` patches for each.
    text_tokens : int
        Prompt tokens that are not visual.
    new_tokens : int
        Tokens written.
    """
    if visual_tokens == 0:
        encoder = 0.0
    else:
        patches = visual_tokens * dims.merge**2
        v = dims.vision_hidden
        linear = 4 * v * v + (3 if dims.vision_gated else 2) * v * dims.vision_mlp
        attention = 2 * patches * v
        embed = 3 * 2 * dims.patch**2 * v
        merged = v * dims.merge**2
        merger = merged * merged + merged * dims.text_hidden
        encoder = 2.0 * (
            patches * (dims.vision_depth * (linear + attention) + embed) + visual_tokens * merger
        )
    width = dims.text_heads * dims.head_dim
    keys = dims.text_kv_heads * dims.head_dim
    t = dims.text_hidden
    layer = 2 * t * width + 2 * t * keys + 3 * t * dims.text_mlp
    head = t * dims.vocabulary
    prompt = visual_tokens + text_tokens
    # causal attention: position i looks back on i keys, twice (scores and values)
    prefill = dims.text_depth * (prompt * layer + width * prompt * (prompt + 1)) + head
    steps = max(new_tokens - 1, 0)  # the first new token comes out of the prefill
    looked_at = steps * prompt + steps * (steps + 1) // 2
    decode = dims.text_depth * (steps * layer + 2 * width * looked_at) + steps * head
    return encoder + 2.0 * (prefill + decode)
