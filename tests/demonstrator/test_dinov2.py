"""A vision encoder that begins as DINOv2 computes what DINOv2 computes."""

import pytest
import torch
from torch.nn import functional

from demonstrator.dinov2 import IMAGENET_MEAN, IMAGENET_STD, load_dinov2
from napari_pathreason.errors import ModelError
from napari_pathreason.models import NORMALISATION, patchify

WIDTH, HEADS, MLP, SIDE = 32, 2, 64, 4


@pytest.fixture(scope="module")
def state():
    """Random weights in DINOv2's own naming; patches of 16 px, so that nothing is resampled."""
    torch.manual_seed(0)
    made = {
        "pos_embed": torch.randn(1, 1 + SIDE * SIDE, WIDTH),
        "patch_embed.proj.weight": torch.randn(WIDTH, 3, 16, 16) / 30,
        "patch_embed.proj.bias": torch.randn(WIDTH),
    }
    shapes = {
        "norm1": (WIDTH,),
        "norm2": (WIDTH,),
        "attn.qkv": (3 * WIDTH, WIDTH),
        "attn.proj": (WIDTH, WIDTH),
        "mlp.fc1": (MLP, WIDTH),
        "mlp.fc2": (WIDTH, MLP),
    }
    for name, shape in shapes.items():
        made[f"blocks.0.{name}.weight"] = torch.randn(shape) / 6
        made[f"blocks.0.{name}.bias"] = torch.randn(shape[0]) / 6
    made["blocks.0.ls1.gamma"] = torch.rand(WIDTH)
    made["blocks.0.ls2.gamma"] = torch.rand(WIDTH)
    return made


@pytest.fixture(scope="module")
def path(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("dinov2") / "state.pt"
    torch.save(state, path)
    return path


def _tower(patch=16, theta=1e30, width=WIDTH):
    from transformers import Qwen3VLConfig
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

    config = Qwen3VLConfig(
        vision_config={
            "depth": 1,
            "hidden_size": width,
            "intermediate_size": MLP,
            "num_heads": HEADS,
            "out_hidden_size": 16,
            "patch_size": patch,
            "num_position_embeddings": SIDE * SIDE,
            "deepstack_visual_indexes": [],
            "hidden_act": "gelu",
            "rope_parameters": {"rope_type": "axial", "rope_theta": theta},
        }
    )
    return Qwen3VLVisionModel(config.vision_config).eval()


def _dinov2(state, pixels):
    """One pre-norm block with LayerScale over ImageNet-normalised patches, written out."""
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    picture = ((torch.from_numpy(pixels) / 255 - mean) / std).permute(2, 0, 1)[None]
    x = functional.conv2d(
        picture.float(),
        state["patch_embed.proj.weight"],
        state["patch_embed.proj.bias"],
        stride=16,
    )
    x = x.flatten(2).transpose(1, 2) + state["pos_embed"][:, 1:]

    def part(name, value):
        return functional.linear(
            value, state[f"blocks.0.{name}.weight"], state[f"blocks.0.{name}.bias"]
        )

    def norm(name, value):
        weight, bias = state[f"blocks.0.{name}.weight"], state[f"blocks.0.{name}.bias"]
        return functional.layer_norm(value, (WIDTH,), weight, bias, 1e-6)

    qkv = part("attn.qkv", norm("norm1", x)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    seen = functional.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2)
    x = x + state["blocks.0.ls1.gamma"] * part("attn.proj", seen)
    inner = functional.gelu(part("mlp.fc1", norm("norm2", x)))
    return x + state["blocks.0.ls2.gamma"] * part("mlp.fc2", inner)


def test_the_tower_computes_what_the_vit_computes(state, path):
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    vision_encoder = _tower()
    load_dinov2(vision_encoder, path)
    vision_encoder.rotary_pos_emb.inv_freq.zero_()  # the ViT has no rotary positions
    values, grid = patchify(pixels, 16, 2, NORMALISATION["qwen3_vl"])
    with torch.no_grad():
        ours = vision_encoder(values, torch.tensor([grid])).last_hidden_state
    theirs = _dinov2(state, pixels)[0].view(2, 2, 2, 2, WIDTH).transpose(1, 2).reshape(16, WIDTH)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_resampled_patches_see_a_resized_picture_alike(state, path):
    """A smooth picture at another patch size gives nearly the same embedding."""
    large, small = _tower(16), _tower(14)
    load_dinov2(large, path)
    load_dinov2(small, path)
    fine = torch.linspace(-1, 1, 16)
    coarse = functional.interpolate(fine[None, None], 14, mode="linear")[0, 0]
    frames = [
        v[None].expand(len(v), -1).expand(3, 2, -1, -1).reshape(1, -1) for v in (fine, coarse)
    ]
    with torch.no_grad():
        a, b = large.patch_embed(frames[0]), small.patch_embed(frames[1])
    assert (a - b).norm() < 0.05 * a.norm()


def test_a_missing_file_and_a_wrong_width_name_the_remedy(path, tmp_path):
    with pytest.raises(ModelError, match=r"demonstrator\.fetch"):
        load_dinov2(_tower(), tmp_path / "none.pt")
    with pytest.raises(ModelError, match="--vision-hidden"):
        load_dinov2(_tower(width=64), path)
