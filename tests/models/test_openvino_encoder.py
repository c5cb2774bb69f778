"""A vision encoder that OpenVINO computes."""

import sys
import threading
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from napari_pathreason.errors import ModelError
from napari_pathreason.models import load_performer, patchify, resolve_encoder
from napari_pathreason.types import GenerationSettings, Prompt

MESSAGES = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Tumour?"}]}]
NEAR = 0.02
"""Relative error of features: its products are of bfloat16 where the processor does that fast."""

installed = pytest.mark.skipif(
    find_spec("openvino") is None, reason="OpenVINO is not installed (the extra openvino)"
)


@pytest.fixture
def both(checkpoints):
    """Performers of one checkpoint, exact and by OpenVINO."""
    return [
        load_performer(checkpoints["qwen3_vl"], "cpu", encoder=one) for one in ("exact", "openvino")
    ]


def _pixels(rows, columns, px, seed=0):
    shape = (rows * px, columns * px, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _encode(performer, pictures):
    dims = performer.info.dims
    patches = [patchify(one, dims.patch, dims.merge, performer.normalisation) for one in pictures]
    values, grids = zip(*patches, strict=True)
    with torch.inference_mode():
        return performer.model.model.visual(torch.cat(values), grid_thw=torch.tensor(grids))


def _error(one, other):
    return float((one - other).norm() / one.norm())


@installed
@pytest.mark.parametrize("sides", [[(2, 3)], [(1, 1)], [(3, 2), (2, 2), (3, 2), (2, 3)]])
def test_pictures_of_any_sides_are_encoded_alike(both, sides):
    px = both[0].info.dims.token_px
    pictures = [_pixels(*side, px, seed) for seed, side in enumerate(sides)]
    exact, other = (_encode(performer, pictures) for performer in both)
    assert exact.pooler_output.shape == other.pooler_output.shape
    assert _error(exact.pooler_output, other.pooler_output) < NEAR
    assert _error(exact.last_hidden_state, other.last_hidden_state) < NEAR
    assert exact.deepstack_features
    for one, two in zip(exact.deepstack_features, other.deepstack_features, strict=True):
        assert _error(one, two) < NEAR
    turned = _encode(both[1], pictures[::-1]).pooler_output
    assert len(sides) == 1 or _error(exact.pooler_output, turned) > 10 * NEAR


@installed
def test_answers_batches_and_a_cancel(both):
    settings, performer = GenerationSettings(6), both[1]
    assert performer.info.encoder == "openvino"
    px = performer.info.dims.token_px
    prompts = [Prompt((_pixels(2, n, px, n),), MESSAGES) for n in (2, 3)]
    alone = [[*performer.generate(one, settings, threading.Event())][-1] for one in prompts]
    assert [one.new_tokens for one in alone] == [6, 6]
    batch = performer.generate_batch(prompts, settings, threading.Event())
    assert [one.new_tokens for one in batch] == [6, 6]
    cancelled = threading.Event()
    cancelled.set()
    (done,) = performer.generate(prompts[0], settings, cancelled)
    assert (done.finish, done.new_tokens) == ("cancelled", 0)


@installed
def test_threads_have_answers_of_their_own(both):
    px = both[1].info.dims.token_px
    pictures = [_pixels(3, 3, px, seed) for seed in range(8)]
    expected = [_encode(both[1], [one]).pooler_output for one in pictures]
    found = [None] * len(pictures)

    def encode(number):
        found[number] = _encode(both[1], [pictures[number]]).pooler_output

    threads = [threading.Thread(target=encode, args=(n,)) for n in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@installed
def test_a_picture_is_compared_with_the_training_images_as_before():
    scores = []
    pixels = _pixels(4, 4, 32)
    for encoder in ("exact", "openvino"):
        performer = load_performer("embedded", "cpu", encoder=encoder)
        prompt = Prompt((pixels,), MESSAGES)
        *_, done = performer.generate(prompt, GenerationSettings(2), threading.Event())
        scores.append(done.ood.score)
    assert scores[0] == pytest.approx(scores[1], rel=0.05)


@installed
def test_nobody_is_told(both):
    assert "openvino" in sys.modules
    assert "openvino_telemetry" not in sys.modules


@installed
def test_another_family_is_refused_with_the_remedy(checkpoints):
    with pytest.raises(ModelError, match=r"qwen2_5_vl.*cannot be converted.*--encoder exact"):
        load_performer(checkpoints["qwen2_5_vl"], "cpu", encoder="openvino")


def test_where_it_is_not_installed_the_exact_one_runs(checkpoint, monkeypatch):
    monkeypatch.setattr("napari_pathreason.models._runtime.find_spec", lambda name: None)
    info = load_performer(checkpoint, "cpu", encoder="openvino").info
    assert info.encoder == "exact"
    (line,) = info.notes
    assert "runs exact, not openvino: it is not installed; pip install" in line
    assert resolve_encoder("openvino", "cuda") == (
        "exact",
        "the vision encoder runs exact, not openvino: it is for processors, and the model is on "
        "cuda",
    )
