"""Any region at any size: the right place, the right level, white outside, and what it cost."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from napari_pathreason.errors import RegionError, SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import Slide, open_slide, slide_from_arrays
from tests.support import coded_pixels

WIDTH, HEIGHT = 1500, 1100
WHOLE = coded_pixels(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)


@pytest.fixture(scope="module")
def slide(coded: Path):
    with open_slide(coded, cache=0) as opened:  # tests/slides/test_cache.py has the rest
        yield opened


@st.composite
def regions(draw: st.DrawFn) -> Region:
    x = draw(st.integers(-300, WIDTH - 1))
    y = draw(st.integers(-300, HEIGHT - 1))
    width = draw(st.integers(max(1, 1 - x), 1900))
    height = draw(st.integers(max(1, 1 - y), 1500))
    return Region(x, y, width, height)


def window(region: Region) -> np.ndarray:
    """Level-0 pixels of a region, white outside."""
    out = np.full((region.height, region.width, 3), 255, np.uint8)
    part = region.clipped(WIDTH, HEIGHT)
    out[
        part.y - region.y : part.y - region.y + part.height,
        part.x - region.x : part.x - region.x + part.width,
    ] = WHOLE[part.y : part.y + part.height, part.x : part.x + part.width]
    return out


@settings(max_examples=60, deadline=None)
@given(region=regions())
def test_native_size_is_exact_with_white_outside(slide: Slide, region: Region):
    image = slide.read_region(region, (region.width, region.height))
    assert image.level == 0
    assert image.unreadable == 0
    np.testing.assert_array_equal(image.pixels, window(region))


@settings(max_examples=150, deadline=None)
@given(region=regions(), width=st.integers(1, 400), height=st.integers(1, 400))
def test_colours_tell_the_place(slide: Slide, region: Region, width: int, height: int):
    image = slide.read_region(region, (width, height))
    assert image.pixels.shape == (height, width, 3)
    assert image.pixels.dtype == np.uint8
    zoom = max(
        WIDTH / slide.level_sizes[image.level][0], HEIGHT / slide.level_sizes[image.level][1]
    )
    for axis, (start, extent, count, length) in enumerate(
        [(region.x, region.width, width, WIDTH), (region.y, region.height, height, HEIGHT)]
    ):
        step = extent / count
        centres = start + (np.arange(count) + 0.5) * step
        other = (np.arange((height, width)[axis]) + 0.5) / (height, width)[axis]
        across = (region.y, region.x)[axis] + other * (region.height, region.width)[axis]
        threshold = 4 * max(step, zoom)  # the kernel rings and mixes in white near an edge
        near = (centres > threshold) & (centres < length - threshold)
        across_reach = 4 * max(zoom, (region.height / height, region.width / width)[axis])
        across_near = (across > across_reach) & (across < (HEIGHT, WIDTH)[axis] - across_reach)
        colours = image.pixels[..., axis].astype(float)
        colours = colours if axis == 0 else colours.T
        inside = colours[across_near][:, near]
        if inside.size:
            error = np.abs(inside * 8 + 4 - centres[near])
            assert error.max() <= 8 + 2 * max(step, zoom)


@settings(max_examples=100, deadline=None)
@given(region=regions(), width=st.integers(1, 900), height=st.integers(1, 900))
def test_the_coarsest_level_with_the_detail(slide: Slide, region: Region, width: int, height: int):
    enough = [
        level
        for level, (columns, rows) in enumerate(slide.level_sizes)
        if region.width * columns / WIDTH >= width - 0.5
        and region.height * rows / HEIGHT >= height - 0.5
    ]
    assert slide.read_region(region, (width, height)).level == (enough[-1] if enough else 0)


@settings(max_examples=60, deadline=None)
@given(region=regions())
def test_decoded_counts_the_native_tiles(slide: Slide, region: Region):
    image = slide.read_region(region, (region.width, region.height))
    part = region.clipped(WIDTH, HEIGHT)
    columns = math.ceil((part.x + part.width) / 128) - part.x // 128
    rows = math.ceil((part.y + part.height) / 128) - part.y // 128
    assert image.pixels_decoded == columns * rows * 128 * 128


def test_an_overview_decodes_far_less_than_native(slide: Slide):
    whole = Region(0, 0, WIDTH, HEIGHT)
    image = slide.read_region(whole, (150, 110))
    assert image.level == 2
    assert image.pixels_decoded <= 4 * 128 * 128


def test_the_rest_of_a_resized_region_is_white(slide: Slide):
    image = slide.read_region(Region(-WIDTH, 0, 2 * WIDTH, HEIGHT), (200, 80))
    assert (image.pixels[:, :99] == 255).all()
    assert (image.pixels[10:-10, 110:190, 2] < 200).all()


def test_a_vast_region_around_the_slide_costs_no_more_than_its_picture(slide: Slide):
    image = slide.read_region(Region(-(10**8), -(10**8), 2 * 10**8, 2 * 10**8), (64, 64))
    assert (image.pixels == 255).mean() > 0.99
    assert image.unreadable == 0


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_an_empty_picture_is_refused(slide: Slide, size: tuple[int, int]):
    with pytest.raises(RegionError, match="ask for more"):
        slide.read_region(Region(0, 0, 10, 10), size)


@pytest.mark.parametrize(
    "region", [Region(0, 0, 0, 5), Region(WIDTH, 0, 5, 5), Region(-9, 0, 9, 9)]
)
def test_a_region_off_the_slide_is_refused(slide: Slide, region: Region):
    with pytest.raises(RegionError, match=r"choose|give"):
        slide.read_region(region, (5, 5))


def test_many_threads_read_the_same_as_one(coded: Path):
    rng = np.random.default_rng(0)
    wanted = [Region(*map(int, rng.integers(0, 900, 2)), 150, 130) for _ in range(60)]
    with open_slide(coded) as slide, ThreadPoolExecutor(12) as pool:
        levels = slide.display_levels()
        images = pool.map(lambda region: slide.read_region(region, (150, 130)).pixels, wanted)
        coarse = list(pool.map(lambda _: np.asarray(levels[-1][:, ::-1]), range(12)))
        for region, pixels in zip(wanted, images, strict=True):
            np.testing.assert_array_equal(pixels, window(region))
    assert all((picture == coarse[0]).all() for picture in coarse)


def test_a_closed_slide_says_so(coded: Path):
    slide = open_slide(coded)
    slide.close()
    for size in (5, 1000):  # one tile, and many in threads
        with pytest.raises(SlideError, match="open it again"):
            slide.read_region(Region(0, 0, size, size), (size, size))


def test_one_large_level_is_reduced_while_it_is_read(monkeypatch: pytest.MonkeyPatch):
    """Without coarse levels memory must not grow with the slide; blocks are reduced at once."""
    asked = []

    class Watched:
        shape, dtype = WHOLE.shape, WHOLE.dtype

        def __getitem__(self, key):
            asked.append((key[0].stop - key[0].start) * (key[1].stop - key[1].start))
            return WHOLE[key]

    monkeypatch.setattr("napari_pathreason.slides._resample.BLOCK", 600**2)
    with slide_from_arrays([Watched()], "watched") as slide:
        image = slide.read_region(Region(0, 0, WIDTH, HEIGHT), (70, 50))
    assert max(asked) <= 600**2
    assert len(asked) > 4
    assert image.pixels_decoded == WIDTH * HEIGHT
    assert rmse(image.pixels, area_average(Region(0, 0, WIDTH, HEIGHT), (70, 50))) <= 4


@settings(max_examples=60, deadline=None)
@given(
    x=st.integers(0, 400),
    y=st.integers(0, 400),
    width=st.integers(60, 1000),
    height=st.integers(60, 700),
    shrink=st.floats(1.0, 20.0),
)
def test_a_smaller_picture_is_the_average_of_its_area(x, y, width, height, shrink):
    region = Region(x, y, width, height)
    size = (max(1, int(width / shrink)), max(1, int(height / shrink)))
    with slide_from_arrays([NOISE], "noise") as slide:
        pixels = slide.read_region(region, size).pixels
    average = area_average(region, size, NOISE)
    assert rmse(pixels, average) <= 0.5 * np.std(average) + 2
    assert abs(float(pixels.mean()) - float(average.mean())) <= 2


NOISE = np.random.default_rng(3).integers(0, 256, (1100, 1400, 3), dtype=np.uint8)


def rmse(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


def area_average(region: Region, size: tuple[int, int], of: np.ndarray = WHOLE) -> np.ndarray:
    """Exact mean over the area of each target pixel, float (height, width, 3)."""
    part = of[region.y : region.y + region.height, region.x : region.x + region.width].astype(float)
    for axis, count in enumerate((size[1], size[0])):
        sums = np.insert(np.cumsum(part, axis), 0, 0, axis)
        edges = np.linspace(0, part.shape[axis], count + 1)
        low = np.minimum(edges.astype(int), part.shape[axis] - 1)
        share = (edges - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        below, above = np.take(sums, low, axis), np.take(sums, low + 1, axis)
        part = np.diff(below + share * (above - below), axis=axis)
        part *= count / (sums.shape[axis] - 1)
    return part
