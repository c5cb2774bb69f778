import threading

import numpy as np
import pytest
import torch

from napari_pathreason.models import FeatureHook, colours, load_performer
from napari_pathreason.types import Completion, GenerationSettings, Prompt

MESSAGES = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Tumour?"}]}]


@pytest.fixture(scope="module")
def performers(checkpoints):
    return {family: load_performer(folder, "cpu") for family, folder in checkpoints.items()}


@pytest.fixture
def performer(performers, family):
    return performers[family]


@pytest.fixture
def features(performer):
    features = FeatureHook(performer.model.model.visual)
    yield features
    features.close()


def picture(performer, seed=0, rows=2, columns=3):
    token_px = performer.info.dims.token_px
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows * token_px, columns * token_px, 3), dtype=np.uint8)


def at(features, performer, pixels):
    dims = performer.info.dims
    return features.at(pixels, dims.patch, dims.merge, performer.normalisation)


def test_an_answer_leaves_what_its_own_pass_saw(performer, features, monkeypatch):
    pixels = picture(performer)
    expected = at(features, performer, pixels)
    passes = []
    handle = performer.model.model.visual.register_forward_hook(lambda *a: passes.append(1))
    try:
        *_, done = performer.generate(
            Prompt((pixels,), MESSAGES), GenerationSettings(4), threading.Event()
        )
    finally:
        handle.remove()
    assert isinstance(done, Completion)
    assert len(passes) == 1
    seen = features.take()
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    assert seen.shape == (2 * performer.info.dims.vision_hidden,)
    assert features.take() is None  # taken once


def test_another_picture_is_seen_otherwise(performer, features):
    one, other = (at(features, performer, picture(performer, seed)) for seed in (0, 1))
    assert np.abs(one - other).max() > 1e-3


def test_a_closed_look_sees_nothing_more(performer):
    features = FeatureHook(performer.model.model.visual)
    features.close()
    with pytest.raises(RuntimeError):
        at(features, performer, picture(performer))


def test_each_thread_takes_its_own(performer, features):
    thread = threading.Thread(target=lambda: features._keep(None, None, torch.ones(4, 8)))
    thread.start()
    thread.join()
    assert features.take() is None


def test_the_signature_tells_towers_apart(performers):
    looks = [FeatureHook(p.model.model.visual) for p in performers.values()]
    try:
        one, other = (features.signature() for features in looks)
        assert one.dtype == np.float32
        assert one.shape != other.shape or not np.allclose(one, other)
    finally:
        for features in looks:
            features.close()


def test_colours_are_optical_densities():
    white, dark = np.full((40, 60, 3), 255, np.uint8), np.full((40, 60, 3), 0, np.uint8)
    np.testing.assert_allclose(colours(white), 0, atol=1e-6)
    np.testing.assert_allclose(colours(dark)[:3], np.log(256), rtol=1e-4)
    half = white.copy()
    half[:, ::2] = 0
    np.testing.assert_allclose(colours(half)[3:], np.log(256) / 2, rtol=1e-4)


def test_a_large_picture_is_looked_at_in_part():
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (1500, 1600, 3), dtype=np.uint8)
    np.testing.assert_allclose(colours(large), colours(large[:400, :400]), rtol=0.02)
