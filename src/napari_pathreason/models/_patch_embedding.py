"""The first layer of the vision encoder as what it is: one matrix product.

Both families write it as a convolution whose stride is its kernel; on a CPU the convolution costs
several times the product, and far more in a backward pass.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn import functional


def embed_by_product(visual: Any) -> None:
    """Let the vision encoder of a Qwen model embed its patches by a matrix product.

    Parameters
    ----------
    visual : Qwen3VLVisionModel or Qwen2_5_VisionTransformerPretrainedModel
    """
    embedding = visual.patch_embed
    embedding.forward = partial(_product, embedding.proj)


def _product(projection: Any, patches: torch.Tensor) -> torch.Tensor:
    weight = projection.weight.flatten(1)
    return functional.linear(patches.to(weight.dtype), weight, projection.bias)
