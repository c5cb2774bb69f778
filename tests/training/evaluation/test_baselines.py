"""The colour-and-texture baseline on pictures that colour tells apart."""

import numpy as np
import pytest

from napari_pathreason.errors import QueryError
from napari_pathreason.training import read_samples
from napari_pathreason.training.evaluation import (
    Scorer,
    baseline_items,
    check_installed,
    features,
    grid_of,
)
from napari_pathreason.training.samples import Pictures

COLOURS = 6 * 32
"""Bins of the six channels, which come first among the features."""


@pytest.fixture(scope="module")
def answered(converted):
    train = read_samples(converted / "train.jsonl")
    asked = read_samples(converted / "test.jsonl")
    pictures = Pictures(converted)
    return asked, list(baseline_items(Scorer(asked, pictures, 32), train, pictures))


def test_features_tell_colour_and_texture():
    flat = np.full((64, 64, 3), 128, np.uint8)
    red = flat.copy()
    red[..., 0] = 220
    noise = np.random.default_rng(0).integers(100, 156, (64, 64, 3)).astype(np.uint8)
    sizes = {features(picture).shape for picture in (flat, red, noise, flat[:40, :50])}
    assert sizes == {(COLOURS + 12 + 10 + 18 + 26,)}
    assert np.isfinite(features(flat)).all()
    texture = slice(COLOURS + 12, None)
    assert np.abs(features(flat) - features(red))[:COLOURS].sum() > 1
    assert np.abs(features(flat) - features(noise))[texture].sum() > 1


def test_it_answers_choices_counts_and_boxes_on_grids(answered):
    asked, items = answered
    assert items
    assert {item.condition for item in items} == {"baseline"}
    for item in items:
        sample = asked[item.index]
        assert item.topic == sample.kind
        if item.task == "detection":
            assert grid_of(sample)
            continue
        assert item.answer in sample.choices if sample.choices else item.answer.isdecimal()


def test_colour_tells_the_tiles_apart(answered):
    scores = [item.score for item in answered[1] if item.topic == "tumour in a tile"]
    assert scores
    assert np.mean(scores) == 1.0
    boxes = [item.score for item in answered[1] if item.topic == "boxes of tumour"]
    assert boxes
    assert np.mean(boxes) > 0.99  # sides are told in thousandths


def test_a_missing_library_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *_: None if name == "sklearn" else 1,
    )
    with pytest.raises(QueryError, match="pip install scikit-image scikit-learn"):
        check_installed()
