"""A vision encoder that multiplies in bfloat16, where the processor does that fast."""

import threading

import numpy as np
import pytest
import torch

from napari_pathreason.errors import ModelError
from napari_pathreason.models import load_performer, patchify, resolve_encoder
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
    exact, fast = (load_performer(checkpoint, "cpu", encoder=e) for e in ("exact", "fast"))
    side = 3 * exact.info.dims.token_px
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    one, other = _features(exact, pixels), _features(fast, pixels).float()
    assert torch.equal(one, other) != there
    assert float((one - other).norm() / one.norm()) < 0.03
    *_, done = fast.generate(Prompt((pixels,), MESSAGES), GenerationSettings(8), threading.Event())
    assert done.new_tokens == 8
    assert fast.model.dtype == torch.float32
    assert fast.info.encoder == ("fast" if there else "exact")
    assert len(fast.info.notes) == (not there)
    assert (exact.info.encoder, exact.info.notes) == ("exact", ())


@pytest.mark.parametrize(
    ("there", "device", "runs", "why"),
    [
        (True, "cpu", "fast", ""),
        (False, "cpu", "exact", "no units for bfloat16"),
        (True, "cuda:1", "exact", "the model is on cuda:1"),
    ],
)
def test_what_runs_is_said_where_it_is_not_what_was_chosen(monkeypatch, there, device, runs, why):
    _pretend(monkeypatch, there)
    assert resolve_encoder("exact", device) == ("exact", "")
    chosen, line = resolve_encoder("fast", device)
    assert chosen == runs
    assert why in line
    assert line.startswith("the vision encoder runs exact, not fast") == bool(why)


def test_an_encoder_that_is_none_is_refused(checkpoint):
    with pytest.raises(ModelError, match=r"'quick' is not understood; give exact, fast, openvino"):
        load_performer(checkpoint, "cpu", encoder="quick")
