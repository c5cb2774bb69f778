"""Windows over a region, and what a cheap look says of each."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, strategies as st

from napari_pathreason.engine import (
    Scene,
    covered_shares,
    is_large,
    lay_grid,
    overview_size,
    window_side,
)
from napari_pathreason.geometry import Region
from napari_pathreason.types import Metadata

sides = st.integers(32, 9000)


def scene_of(grid, paint=lambda overview: None, outline=()):
    width, height = overview_size(grid)
    rng = np.random.default_rng(0)
    overview = rng.integers(150, 170, (height, width, 3), dtype=np.uint8)
    paint(overview)
    return Scene(grid, overview, outline)


@given(st.integers(0, 500), st.integers(0, 500), sides, sides, st.integers(32, 1200))
def test_windows_cover_the_region_and_stay_in_it(x, y, width, height, side):
    region = Region(x, y, width, height)
    grid = lay_grid(region, side, 32)
    windows = [grid.window(int(place)) for place in grid.cover]
    for window in (*windows, grid.window(len(grid) - 1)):
        assert region.x <= window.x <= window.x + window.width <= region.x + region.width
        assert region.y <= window.y <= window.y + window.height <= region.y + region.height
    across = sorted({(window.x, window.x + window.width) for window in windows})
    assert across[0][0] == region.x
    assert across[-1][1] == region.x + region.width
    assert all(b[0] <= a[1] for a, b in pairwise(across))  # no gap
    # no overlap but for what whole pixels need
    assert all(a[1] - b[0] <= len(across) for a, b in pairwise(across))


@given(st.integers(1, 5), st.integers(2, 9))
def test_a_thing_on_a_border_lies_whole_in_a_window_between(rows, columns):
    side = 512
    grid = lay_grid(Region(0, 0, columns * side, rows * side), side, 32)
    assert (grid.rows, grid.columns) == (2 * rows - 1, 2 * columns - 1)
    between = grid.window(1)
    assert between.x <= side - side // 4 <= side + side // 4 <= between.x + between.width


def test_neighbours_share_half_and_diagonals_a_quarter():
    grid = lay_grid(Region(0, 0, 2048, 2048), 512, 32)
    row = grid.columns
    assert grid.overlap(0, 1) == grid.overlap(0, row) == 0.5
    assert grid.overlap(0, row + 1) == 0.25
    assert grid.overlap(0, 2) == grid.overlap(0, 2 * row) == 0
    assert grid.overlap(3, 3) == 1


def test_glass_is_not_worth_reading():
    grid = lay_grid(Region(0, 0, 2048, 1024), 512, 32)

    def half(overview):
        overview[:, : overview.shape[1] // 2] = 250

    scene = scene_of(grid, half)
    assert {grid.window(int(place)).x for place in scene.cover} == {1024, 1536}
    assert scene.tissue[0] == 0
    assert scene.surprise[~scene.worth].max() == 0


def test_what_is_unlike_the_others_is_the_most_surprising():
    grid = lay_grid(Region(0, 0, 4096, 4096), 512, 32)

    def spot(overview):
        cell = overview.shape[0] // (grid.rows + 1)
        overview[4 * cell : 6 * cell, 10 * cell : 12 * cell, 1] -= 60

    scene = scene_of(grid, spot)
    best = grid.window(int(scene.surprise.argmax()))
    assert (best.x, best.y) == (10 * 256, 4 * 256)
    assert np.array_equal(scene.thumbnail(0), scene.overview[:64, :64])


def pink(overview):
    overview[...] = np.clip(overview + np.array([60, -20, 30]), 0, 255)


@pytest.mark.parametrize("glass", [250, 221])
@pytest.mark.parametrize("across", [70, 77, 90])
def test_glass_and_its_straight_borders_do_not_go_first(glass, across):
    grid = lay_grid(Region(0, 0, 4096, 4096), 512, 32)

    def stitched(overview):
        pink(overview)
        overview[96:128, 320:352, 1] -= 25  # a quarter of another stain
        overview[:, across : across + 150] = glass  # a gap, its borders within quarters
        overview[400:450] = glass

    scene = scene_of(grid, stitched)
    first = [grid.window(int(place)) for place in np.argsort(-scene.surprise)[:4]]
    assert all(w.x <= 2560 and w.x + w.width >= 2816 for w in first), first
    assert all(w.y <= 768 and w.y + w.height >= 1024 for w in first), first


@given(st.integers(0, 31), st.sampled_from([250, 221]))
def test_glass_within_a_window_does_not_make_it_surprising(share, glass):
    grid = lay_grid(Region(0, 0, 2048, 2048), 512, 32)

    def cut(overview):
        pink(overview)
        overview[:, 64 : 64 + share] = glass

    whole, less = scene_of(grid, pink).surprise, scene_of(grid, cut).surprise
    assert less.max() < whole.max() + 0.5


def test_a_region_that_is_alike_all_over_surprises_nowhere():
    grid = lay_grid(Region(0, 0, 2048, 2048), 512, 32)
    assert scene_of(grid).surprise.max() < 1


def test_windows_follow_an_outline():
    grid = lay_grid(Region(0, 0, 2048, 2048), 512, 32)
    triangle = ((0.0, 0.0), (2048.0, 0.0), (0.0, 2048.0))
    scene = scene_of(grid, outline=triangle)
    places = {(w.x, w.y) for w in (grid.window(int(place)) for place in scene.cover)}
    assert (0, 0) in places
    assert (1536, 1536) not in places
    assert (512, 1024) in places  # half of it lies inside
    tiny = ((10.0, 10.0), (40.0, 10.0), (10.0, 40.0))
    assert scene_of(grid, outline=tiny).worth.sum() == 1


def test_the_overview_of_a_whole_slide_stays_small():
    grid = lay_grid(Region(0, 0, 100_000, 80_000), 512, 32)
    width, height = overview_size(grid)
    assert max(width, height) <= 4096
    assert width % (grid.columns + 1) == height % (grid.rows + 1) == 0


@pytest.mark.parametrize(
    ("window", "region", "side", "large"),
    [
        (512, (1024, 1024), 512, False),
        (512, (1025, 400), 512, True),
        (None, (2048, 2048), 448, False),
        (None, (4096, 4096), 512, True),
        (None, (40_000, 40_000), 1024, True),
    ],
)
def test_a_model_says_which_windows_suit_it(performer, window, region, side, large):
    model = performer.info
    if window is not None:
        model = replace(model, metadata=Metadata(window=window))
    whole = Region(0, 0, *region)
    assert window_side(whole, model) == side
    assert is_large(whole, model) is large


def test_no_window_has_more_tokens_than_replies_hold_up_to(performer):
    assert window_side(Region(0, 0, 5000, 5000), performer.info, most=50) == 7 * 32


BOXES = st.lists(
    st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 20)] * 2), min_size=1, max_size=6
)


@given(BOXES, BOXES)
def test_shares_that_boxes_cover_are_those_of_their_union(own, others):
    a, b = (
        np.array([(x, y, x + w, y + h) for x, y, w, h in each], float) for each in (own, others)
    )
    union = shapely.union_all(shapely.box(*b.T))
    boxes = shapely.box(*a.T)
    expected = shapely.area(shapely.intersection(boxes, union)) / shapely.area(boxes)
    np.testing.assert_allclose(covered_shares(a, b), expected, atol=1e-8)
