"""A vision encoder that multiplies in bfloat16, where the processor does that fast."""

import threading

import numpy as np
import pytest
import torch

from napari_pathreason.models import has_fast_bfloat16, load_performer, patchify
from napari_pathreason.types import GenerationSettings, Prompt

MESSAGES = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Tumour?"}]}]


def _pretend(monkeypatch, there):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: there, raising=False)


def _features(performer, pixels):
    dims = performer.info.dims
    values, grid = patchify(pixels, dims.patch, dims.merge, performer.normalisation)
    with torch.inference_mode():
        visual = performer.model.model.visual(values, grid_thw=torch.tensor([grid]))
    return visual.pooler_output


@pytest.mark.parametrize("there", [True, False])
def test_it_is_near_where_it_is_fast_and_exact_elsewhere(checkpoint, monkeypatch, there):
    _pretend(monkeypatch, there)
    assert has_fast_bfloat16(torch.device("cpu")) == there
    assert not has_fast_bfloat16(torch.device("meta"))
    exact, fast = (load_performer(checkpoint, "cpu", encoder=e) for e in ("exact", "fast"))
    side = 3 * exact.info.dims.token_px
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    one, other = _features(exact, pixels), _features(fast, pixels).float()
    assert torch.equal(one, other) != there
    assert float((one - other).norm() / one.norm()) < 0.03
    *_, done = fast.generate(Prompt((pixels,), MESSAGES), GenerationSettings(8), threading.Event())
    assert done.new_tokens == 8
    assert fast.model.dtype == torch.float32
