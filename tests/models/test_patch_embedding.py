"""The matrix product gives what the convolution gives."""

import pytest
import torch

from napari_pathreason.models import embed_by_product


def _towers():
    from transformers import Qwen2_5_VLConfig, Qwen3VLConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
        Qwen2_5_VisionTransformerPretrainedModel,
    )
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2}
    yield Qwen3VLVisionModel(
        Qwen3VLConfig(vision_config=vision | {"deepstack_visual_indexes": []}).vision_config
    )
    yield Qwen2_5_VisionTransformerPretrainedModel(
        Qwen2_5_VLConfig(vision_config=vision | {"out_hidden_size": 32}).vision_config
    )


@pytest.mark.parametrize("vision_encoder", _towers(), ids=["qwen3_vl", "qwen2_5_vl"])
def test_the_product_equals_the_convolution(vision_encoder):
    patches = torch.randn(12, vision_encoder.patch_embed.proj.weight[0].numel())
    with torch.no_grad():
        convolved = vision_encoder.patch_embed(patches)
        embed_by_product(vision_encoder)
        torch.testing.assert_close(
            vision_encoder.patch_embed(patches), convolved, atol=1e-5, rtol=1e-4
        )
