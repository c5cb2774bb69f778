"""Display levels behave as arrays, shrink to a megapixel and decode nothing before a slice."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from napari_pathreason.slides import (
    ArraySource,
    Decoded,
    display_levels,
    open_slide,
    slide_from_arrays,
)
from tests.support import coded_pixels

PIXELS = coded_pixels(np.arange(61) * 30.0, np.arange(43) * 30.0)


def parts(length: int) -> st.SearchStrategy:
    edge = st.none() | st.integers(-length - 5, length + 5)
    step = st.none() | st.integers(-7, 7).filter(bool)
    return st.builds(slice, edge, edge, step) | st.integers(-length, length - 1)


KEYS = (
    st.tuples(parts(43), parts(61), parts(3))
    | st.tuples(parts(43), parts(61))
    | parts(43)
    | st.just(Ellipsis)
    | st.tuples(st.just(Ellipsis), parts(3))
    | st.tuples(parts(43), st.just(Ellipsis))
    | st.tuples(parts(43), st.just(Ellipsis), parts(3))
    | st.tuples(parts(43), parts(61), st.just(Ellipsis), parts(3))
)


@settings(max_examples=300, deadline=None)
@given(key=KEYS)
def test_any_key_slices_as_numpy_does(key):
    with slide_from_arrays([PIXELS], "small") as slide:
        level = slide.display_levels()[0]
        np.testing.assert_array_equal(level[key], PIXELS[key])


@pytest.mark.parametrize("key", [43, (0, -62), (0, 0, 0, 0), (..., ...), (0, 0, 3)])
def test_a_key_outside_is_an_index_error(key):
    with slide_from_arrays([PIXELS], "small") as slide, pytest.raises(IndexError):
        slide.display_levels()[0][key]


def test_a_level_describes_itself(coded: Path):
    with open_slide(coded) as slide:
        level = slide.display_levels()[1]
        whole = np.asarray(level)
        assert whole.shape == level.shape
        assert whole.dtype == level.dtype == np.uint8
        assert whole.size == level.size == level.nbytes
        assert len(level) == whole.shape[0]
        assert level.ndim == 3
        assert level.chunks == (128, 128, 3)
        assert np.asarray(level, np.float32).dtype == np.float32


@pytest.mark.parametrize(
    "shape", [(5000, 5001), (3, 40_000), (2048, 2048), (1, 5), (9001, 333), (20_000, 20_000)]
)
def test_levels_shrink_to_a_megapixel(shape: tuple[int, int]):
    flat = np.broadcast_to(np.uint8(7), (*shape, 3))
    with slide_from_arrays([flat], "flat") as slide:
        sizes = [level.shape[:2] for level in slide.display_levels()]
    assert sizes[0] == shape
    assert sizes[-1][0] * sizes[-1][1] <= 1_048_576
    for (height, width), (lower, narrower) in itertools.pairwise(sizes):
        assert lower < height
        assert narrower < width


def test_native_levels_that_do_not_shrink_are_left_out():
    levels = [np.zeros((size, size, 3), np.uint8) for size in (64, 64, 32, 48, 16)]
    with slide_from_arrays(levels, "odd") as slide:
        assert [level.shape[0] for level in slide.display_levels()] == [64, 32, 16]


@pytest.mark.parametrize("cached", [0, 10_000_000])
def test_appended_levels_show_the_same_place(cached: int):
    width, height = 1501, 1003  # odd at every halving
    pixels = coded_pixels(np.arange(width) + 0.5, np.arange(height) + 0.5)
    levels = display_levels(ArraySource([pixels]), small=10_000, cached=cached, block=64)
    assert len(levels) == 5
    for level in levels[1:]:
        rows, columns = level.shape[:2]
        xs = (np.arange(columns) + 0.5) * width / columns
        ys = (np.arange(rows) + 0.5) * height / rows
        allowed = 8 + 2 * width / columns
        shown = np.asarray(level).astype(float)
        assert np.abs(shown[..., 0] * 8 + 4 - xs)[:, :-1].max() <= allowed
        assert np.abs(shown[..., 1] * 8 + 4 - ys[:, None])[:-1].max() <= allowed


def test_a_computed_level_never_asks_for_much_at_once():
    asked = []

    class Counting:
        level_sizes, tile_sizes = ((20_000, 15_000),), ((512, 512),)

        def read(self, level, window, keep=True):
            x1, y1, x2, y2 = window
            asked.append((x2 - x1) * (y2 - y1))
            return Decoded(np.broadcast_to(np.uint8(9), (y2 - y1, x2 - x1, 3)), 0)

    levels = display_levels(Counting(), cached=10_000_000, block=1000)
    assert (levels[-1][100:200, 100:200] == 9).all()
    assert max(asked) <= 4 * 1000**2
    read = len(asked)
    assert levels[-1][0, 0, 0] == 9  # in memory by now
    assert len(asked) == read


def test_nothing_is_decoded_at_open(coded: Path, monkeypatch: pytest.MonkeyPatch):
    tiles = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *where: tiles.append(where) or pread(*where))
    with open_slide(coded) as slide:
        levels = slide.display_levels()
        assert [level.shape for level in levels]
        assert tiles == []
        levels[0][:5, :5]
        assert len(tiles) == 1
