"""Pictures drawn around a place for each kind, in numbers of which most say nothing."""

import numpy as np
import pytest

from napari_pathreason.models import Wording
from napari_pathreason.training.calibration import ImageFeatures, fit_detector

NUMBERS = 40
PLACES = {(0, 8): 0, (0, 64): 1, (1, 64): 2}
SIGNATURE = np.zeros(3, np.float32)


def draw(n, seed, places=PLACES, shift=0.0):
    rng = np.random.default_rng(seed)
    seen = []
    for (kind, tokens), axis in places.items():
        features = rng.normal(0, 1, (n, NUMBERS))
        features[:, 20:] *= 0.05  # numbers that hardly vary within a kind
        features[:, axis] += 6
        features[:, 39] += shift
        colours = rng.normal(kind, 0.1, (n, 6))
        seen += [
            ImageFeatures(kind, tokens, one.astype(np.float32), colour.astype(np.float32), 2.0)
            for one, colour in zip(features, colours, strict=True)
        ]
    return seen


@pytest.fixture(scope="module")
def detector():
    return fit_detector(draw(300, 0), draw(100, 1), ("a", "b"), Wording({}), SIGNATURE)


def is_ood(detector, seen, kind):
    return np.mean([detector.scores(one.features, one.tokens)[kind] > 1 for one in seen])


def test_pictures_of_the_kind_are_rarely_ood_and_others_always(detector):
    own = [one for one in draw(400, 2) if one.domain == 0]
    others = [one for one in draw(400, 2) if one.domain == 1]
    assert is_ood(detector, own, 0) < 0.06
    assert is_ood(detector, others, 0) > 0.98
    assert is_ood(detector, others, 1) < 0.06


def test_a_small_shift_of_what_hardly_varies_is_ood(detector):
    shifted = [one for one in draw(100, 3, shift=2.0) if one.domain == 0]
    assert is_ood(detector, shifted, 0) > 0.98


def test_a_size_that_was_not_seen_takes_the_nearest(detector):
    many = [
        ImageFeatures(1, 1024, one.features, one.colours, 2.0) for one in draw(50, 4, {(1, 64): 2})
    ]
    assert is_ood(detector, many, 1) < 0.15


def test_colours_of_the_kind_are_within_reach(detector):
    inside = [detector._colour_score(one.colours, one.domain) for one in draw(300, 5)]
    assert np.mean(np.array(inside) > 1) < 0.06
    assert detector._colour_score(np.full(6, 3, np.float32), 0) > 1


def test_a_repetition_gives_the_same(detector):
    again = fit_detector(draw(300, 0), draw(100, 1), ("a", "b"), Wording({}), SIGNATURE)
    for name in ("axes", "means", "whiten", "threshold"):
        np.testing.assert_array_equal(getattr(again, name), getattr(detector, name))


def test_a_handful_of_pictures_is_enough_to_fit_something():
    few = fit_detector(draw(3, 0), [], ("a", "b"), Wording({}), SIGNATURE)
    scores = few.scores(draw(1, 1)[0].features, 8)
    assert np.isfinite(scores).all()
