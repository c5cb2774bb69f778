"""A vision encoder that begins as the first blocks of a DINOv2 ViT.

Qwen3-VL's encoder has the same pre-norm blocks. What differs is folded into the weights:
LayerScale into the projections, ImageNet's normalisation into the patch embedding, patches of 14
px resampled to the encoder's own, and the temporal axis halved. Class and register tokens are left
out; training has to make up for them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from napari_pathreason.errors import ModelError
from napari_pathreason.models import NORMALISATION, TEMPORAL_PATCH

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
State = dict[str, torch.Tensor]


def load_dinov2(visual: Any, path: Path) -> None:
    """Fill patch embedding, positions and blocks of an encoder; the merger stays as it is.

    Parameters
    ----------
    visual : Qwen3VLVisionModel
        Its hidden size, heads and MLP must be those of the checkpoint; it may have fewer blocks.
    path : Path
        State of a DINOv2 ViT in its original naming (``blocks.0.attn.qkv.weight``).

    Raises
    ------
    ModelError
        If the file is missing, or its shapes are not those of the encoder.
    """
    if not path.is_file():
        raise ModelError(f"{path.name} is not there; `python -m demonstrator.fetch` gets it")
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    width = visual.pos_embed.weight.shape[1]
    if state["patch_embed.proj.weight"].shape[0] != width:
        raise ModelError(f"{path.name} is not {width} wide; give its width as --vision-hidden")
    with torch.no_grad():
        _patches(visual.patch_embed.proj, state)
        _positions(visual.pos_embed.weight, state)
        for index, block in enumerate(visual.blocks):
            block.load_state_dict(_block(state, f"blocks.{index}."))


def _patches(projection: Any, state: State) -> None:
    """Resample the kernels so that a resized picture gives the same embedding (least squares)."""
    kernel = state["patch_embed.proj.weight"]
    old, new = kernel.shape[-1], projection.weight.shape[-1]
    # columns: how each pixel of a new patch moves the pixels of the same patch at the old size
    grow = torch.eye(old * old).reshape(old * old, 1, old, old)
    grown = functional.interpolate(grow, (new, new), mode="bicubic").reshape(old * old, -1)
    resampled = kernel.reshape(-1, old * old) @ torch.linalg.pinv(grown).T
    kernel = resampled.reshape(*kernel.shape[:2], new, new)
    ours = NORMALISATION["qwen3_vl"]
    scale = torch.tensor([o / i for o, i in zip(ours.std, IMAGENET_STD, strict=True)])
    shift = torch.tensor(
        [(o - i) / s for o, i, s in zip(ours.mean, IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    )
    bias = state["patch_embed.proj.bias"] + (kernel.sum((2, 3)) * shift).sum(1)
    frames = (kernel * scale[:, None, None])[:, :, None] / TEMPORAL_PATCH
    projection.weight.copy_(frames.expand_as(projection.weight))
    projection.bias.copy_(bias)


def _positions(places: torch.Tensor, state: State) -> None:
    table = state["pos_embed"][0, 1:]  # the first is the class token's
    old, new = math.isqrt(table.shape[0]), math.isqrt(places.shape[0])
    grid = table.T.reshape(1, -1, old, old)
    grid = functional.interpolate(grid, (new, new), mode="bicubic", antialias=new < old)
    places.copy_(grid[0].flatten(1).T)


def _block(state: State, prefix: str) -> State:
    own = {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    attention, mlp = own["ls1.gamma"], own["ls2.gamma"]
    return {
        "norm1.weight": own["norm1.weight"],
        "norm1.bias": own["norm1.bias"],
        "norm2.weight": own["norm2.weight"],
        "norm2.bias": own["norm2.bias"],
        "attn.qkv.weight": own["attn.qkv.weight"],
        "attn.qkv.bias": own["attn.qkv.bias"],
        "attn.proj.weight": attention[:, None] * own["attn.proj.weight"],
        "attn.proj.bias": attention * own["attn.proj.bias"],
        "mlp.linear_fc1.weight": own["mlp.fc1.weight"],
        "mlp.linear_fc1.bias": own["mlp.fc1.bias"],
        "mlp.linear_fc2.weight": mlp[:, None] * own["mlp.fc2.weight"],
        "mlp.linear_fc2.bias": mlp * own["mlp.fc2.bias"],
    }
