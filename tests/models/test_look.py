import threading

import numpy as np
import pytest
import torch

from napari_pathreason.models import Look, colours, load_performer
from napari_pathreason.types import Completion, GenerationSettings

MESSAGES = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Tumour?"}]}]


@pytest.fixture(scope="module")
def performers(checkpoints):
    return {family: load_performer(folder, "cpu") for family, folder in checkpoints.items()}


@pytest.fixture
def performer(performers, family):
    return performers[family]


@pytest.fixture
def look(performer):
    look = Look(performer.model.model.visual)
    yield look
    look.close()


def picture(performer, seed=0, rows=2, columns=3):
    cell = performer.info.dims.cell
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows * cell, columns * cell, 3), dtype=np.uint8)


def at(look, performer, pixels):
    dims = performer.info.dims
    return look.at(pixels, dims.patch, dims.merge, performer.normalisation)


def test_an_answer_leaves_what_its_own_pass_saw(performer, look, monkeypatch):
    pixels = picture(performer)
    expected = at(look, performer, pixels)
    passes = []
    handle = performer.model.model.visual.register_forward_hook(lambda *a: passes.append(1))
    try:
        *_, done = performer.generate(pixels, MESSAGES, GenerationSettings(4), threading.Event())
    finally:
        handle.remove()
    assert isinstance(done, Completion)
    assert len(passes) == 1
    seen = look.take()
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    assert seen.shape == (2 * performer.info.dims.vision_hidden,)
    assert look.take() is None  # taken once


def test_another_picture_is_seen_otherwise(performer, look):
    one, other = (at(look, performer, picture(performer, seed)) for seed in (0, 1))
    assert np.abs(one - other).max() > 1e-3


def test_a_closed_look_sees_nothing_more(performer):
    look = Look(performer.model.model.visual)
    look.close()
    with pytest.raises(RuntimeError):
        at(look, performer, picture(performer))


def test_each_thread_takes_its_own(performer, look):
    thread = threading.Thread(target=lambda: look._keep(None, None, torch.ones(4, 8)))
    thread.start()
    thread.join()
    assert look.take() is None


def test_the_signature_tells_towers_apart(performers):
    looks = [Look(p.model.model.visual) for p in performers.values()]
    try:
        one, other = (look.signature() for look in looks)
        assert one.dtype == np.float32
        assert one.shape != other.shape or not np.allclose(one, other)
    finally:
        for look in looks:
            look.close()


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
