"""Turns move pixels, boxes and places together; stain keeps white and order."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_pathreason.tasks import PLACES
from napari_pathreason.training.samples import (
    levels,
    place_of,
    sharpness,
    stain,
    turn_array,
    turn_corners,
    turn_place,
)

turns = st.tuples(st.integers(0, 3), st.booleans())


@given(turns, st.integers(0, 5), st.integers(0, 7))
def test_boxes_follow_their_pixels(turn, row, column):
    picture = np.zeros((6, 8))
    picture[row, column] = 1
    turned = turn_array(picture, turn)
    x1, y1, x2, y2 = turn_corners((column / 8, row / 6, (column + 1) / 8, (row + 1) / 6), turn)
    y, x = np.argwhere(turned == 1)[0]
    assert (x1 * turned.shape[1], y1 * turned.shape[0]) == pytest.approx((x, y), abs=1e-9)
    assert (x2 * turned.shape[1], y2 * turned.shape[0]) == pytest.approx((x + 1, y + 1))


@given(turns, st.sampled_from(PLACES))
def test_places_follow_their_boxes(turn, place):
    row, column = divmod(PLACES.index(place), 3)
    x1, y1, x2, y2 = turn_corners((column / 3, row / 3, (column + 1) / 3, (row + 1) / 3), turn)
    assert turn_place(place, turn) == place_of((x1 + x2) / 2, (y1 + y2) / 2)


def test_other_answers_stay():
    assert turn_place("adenocarcinoma", (1, True)) == "adenocarcinoma"
    assert turn_place("upper left", (0, False)) == "upper left"


@given(st.integers(0, 1000))
def test_stain_keeps_the_order_of_grey_values(seed):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    changed = stain(ramp, 0.2, Random(seed)).astype(int)
    assert (np.diff(changed, axis=1) >= 0).all()
    assert changed.shape == ramp.shape


def test_no_strength_no_change():
    picture = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    assert stain(picture, 0.0, Random(0)) is picture


@given(st.integers(0, 2**32))
def test_levels_keep_the_order_of_grey_values(seed):
    ramp = np.repeat(np.arange(100, 180, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(4, 0)
    changed = levels(ramp, Random(seed)).astype(int)
    assert (np.diff(changed, axis=1) >= 0).all()
    assert (changed[0] == changed[3]).all()


def test_dim_pictures_become_as_bright_as_scanned_ones():
    dim = np.random.default_rng(0).integers(60, 150, (64, 64, 3)).astype(np.uint8)
    changed = [levels(dim, Random(seed)) for seed in range(60)]
    assert max(c.max() for c in changed) > 230
    assert min(c.min() for c in changed) < 30
    assert all(c.shape == dim.shape and c.dtype == np.uint8 for c in changed)
    even = np.full((32, 32, 3), 120, np.uint8)  # nothing to stretch
    assert all(len(np.unique(levels(even, Random(seed)))) == 1 for seed in range(5))


@given(st.integers(0, 2**32))
def test_sharpness_leaves_even_pictures_and_the_mean(seed):
    even = np.full((16, 16, 3), 120, np.uint8)
    assert (sharpness(even, Random(seed)) == even).all()
    grey = np.random.default_rng(seed).integers(100, 140, (32, 32, 3)).astype(np.uint8)
    changed = sharpness(grey, Random(seed))
    assert changed.shape == grey.shape
    assert changed.mean() == pytest.approx(grey.mean(), abs=1.5)


def test_edges_become_softer_as_often_as_harder():
    edge = np.repeat(np.array([90] * 16 + [160] * 16, np.uint8)[None, :, None], 3, axis=2)
    edge = edge.repeat(32, axis=0)
    ranges = [
        float(np.ptp(np.diff(sharpness(edge, Random(s))[16, :, 0].astype(int)))) for s in range(60)
    ]
    softer, harder = sum(r < 70 for r in ranges), sum(r > 70 for r in ranges)
    assert softer > 15
    assert harder > 15
