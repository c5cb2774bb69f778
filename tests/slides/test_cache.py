"""What was decoded lately is not decoded again, and changes nothing of what is read."""

from __future__ import annotations

import os
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings, strategies as st

from napari_pathreason import slides
from napari_pathreason.geometry import Region
from napari_pathreason.slides import Slide, open_slide

WIDTH, HEIGHT = 1500, 1100
TILE = 128 * 128 * 3
"""Bytes of a decoded tile of the coded slide."""
NOISE = np.random.default_rng(0).integers(0, 256, (1000, 1300, 3), dtype=np.uint8)


@pytest.fixture
def preads(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often the file was read at each place; a tile is read once for each decode."""
    places: Counter[int] = Counter()
    pread = os.pread

    def counted(file: int, count: int, offset: int) -> bytes:
        places[offset] += 1
        return pread(file, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    return places


def write_strips(path: Path, rows: int) -> Path:
    """The noise in strips as wide as the slide."""
    tifffile.imwrite(path, NOISE, photometric="rgb", rowsperstrip=rows, compression="zlib")
    return path


READS = st.lists(
    st.tuples(
        st.integers(-100, WIDTH - 1),
        st.integers(-100, HEIGHT - 1),
        st.integers(101, 700),
        st.sampled_from((1.0, 1.2, 2.0, 2.7, 6.3)),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(reads=READS, tiles=st.integers(0, 30))
def test_whatever_was_read_before_a_region_is_the_same(coded: Path, reads, tiles: int):
    with (
        open_slide(coded, cache=tiles * TILE) as slide,
        open_slide(coded, cache=0) as plain,
    ):
        for x, y, side, shrink in reads:
            region, size = Region(x, y, side, side), (int(side / shrink), int(side / shrink))
            image, expected = slide.read_region(region, size), plain.read_region(region, size)
            np.testing.assert_array_equal(image.pixels, expected.pixels)
            assert image.pixels_decoded <= expected.pixels_decoded
            again = slide.read_region(region, size)
            np.testing.assert_array_equal(again.pixels, expected.pixels)
            if expected.pixels_decoded * 3 <= tiles * TILE:
                assert again.pixels_decoded == 0


def test_the_caller_may_change_what_was_read(coded: Path):
    for region in (Region(0, 0, 128, 128), Region(10, 10, 40, 40), Region(50, 50, 400, 300)):
        with open_slide(coded) as slide:
            first = slide.read_region(region, (region.width, region.height)).pixels
            expected = first.copy()
            first[:] = 7
            again = slide.read_region(region, (region.width, region.height))
        assert again.pixels_decoded == 0
        np.testing.assert_array_equal(again.pixels, expected)


def test_the_answer_decodes_nothing_of_what_the_overview_did():
    """A slide of one level: the overview has to decode level 0."""
    sample = Path(slides.__file__).parents[1] / "sample_data/CMU-1-Small-Region.svs"
    with open_slide(sample) as slide:
        overview = slide.read_region(Region(200, 300, 1000, 1000), (112, 112))
        assert overview.pixels_decoded > 1_000_000
        assert slide.read_region(Region(400, 500, 336, 336), (336, 336)).pixels_decoded == 0


def test_a_step_of_the_viewer_decodes_the_new_margin_alone(coded: Path, preads: Counter[int]):
    with open_slide(coded) as slide:
        level = slide.display_levels()[0]
        level[128:640, 128:640]
        assert preads.total() == 16
        level[128:640, 256:768]
        assert preads.total() == 20
        image = slide.read_region(Region(256, 128, 512, 512), (512, 512))
        assert image.pixels_decoded == 0
    assert set(preads.values()) == {1}


def test_no_more_is_kept_than_was_allowed(coded: Path):
    def read(slide: Slide, column: int) -> int:
        where = Region(column * 128, 0, 128, 128)
        return slide.read_region(where, (128, 128)).pixels_decoded

    with open_slide(coded, cache=3 * TILE) as slide:
        assert [read(slide, column) for column in (0, 1, 2)] == [128 * 128] * 3
        assert [read(slide, column) for column in (0, 1, 2, 0)] == [0] * 4
        assert read(slide, 3) == 128 * 128  # in place of 1, which was used least lately
        assert [read(slide, column) for column in (2, 0, 3)] == [0] * 3
        assert read(slide, 1) == 128 * 128


def test_a_walk_over_more_than_fits_keeps_what_was_there(tmp_path: Path):
    """A region of 5,000 px is 75 MB; what was read before it is worth more than its last tiles."""
    path = tmp_path / "large.tif"
    flat = np.full((5120, 5120, 3), 90, np.uint8)
    tifffile.imwrite(path, flat, photometric="rgb", tile=(512, 512), compression="zlib")
    near = Region(0, 0, 600, 600)
    with open_slide(path) as slide:
        slide.read_region(near, (600, 600))
        whole = slide.read_region(Region(0, 0, 5120, 5120), (64, 64))
        assert whole.pixels_decoded == 5120 * 5120 - 4 * 512 * 512
        assert slide.read_region(near, (600, 600)).pixels_decoded == 0
        far = slide.read_region(Region(4700, 4700, 100, 100), (100, 100))
        assert far.pixels_decoded == 512 * 512


def test_a_walk_holds_a_few_blocks_at_a_time(tmp_path: Path):
    path = tmp_path / "large.tif"
    flat = np.full((5120, 5120, 3), 90, np.uint8)
    tifffile.imwrite(path, flat, photometric="rgb", tile=(128, 128), compression="zlib")
    tracemalloc.start()
    try:
        with open_slide(path) as slide:
            tracemalloc.reset_peak()
            slide.read_region(Region(0, 0, 5120, 5120), (100, 100))
            assert tracemalloc.get_traced_memory()[1] < flat.nbytes / 2
    finally:
        tracemalloc.stop()


def test_a_closed_slide_lets_its_memory_go(tmp_path: Path):
    path = tmp_path / "noise.tif"
    tifffile.imwrite(path, NOISE, photometric="rgb", tile=(256, 256), compression="zlib")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        slide = open_slide(path)
        slide.read_region(Region(0, 0, 1300, 1000), (1300, 1000))
        assert tracemalloc.get_traced_memory()[0] - before > NOISE.nbytes
        slide.close()
        assert tracemalloc.get_traced_memory()[0] - before < NOISE.nbytes / 2
    finally:
        tracemalloc.stop()


def test_many_threads_share_what_is_kept(coded: Path):
    rng = np.random.default_rng(1)
    wanted = [Region(*map(int, rng.integers(0, 700, 2)), 300, 280) for _ in range(80)]
    with open_slide(coded, cache=20 * TILE) as slide, open_slide(coded, cache=0) as plain:
        with ThreadPoolExecutor(12) as pool:
            images = list(pool.map(lambda region: slide.read_region(region, (300, 280)), wanted))
        for region, image in zip(wanted, images, strict=True):
            expected = plain.read_region(region, (300, 280)).pixels
            np.testing.assert_array_equal(image.pixels, expected)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_strip_is_decoded_once(
    tmp_path: Path, rows: int, preads: Counter[int], monkeypatch: pytest.MonkeyPatch
):
    """Also where it is as wide as many blocks, and nothing is kept."""
    monkeypatch.setattr("napari_pathreason.slides._resample.BLOCK", 200**2)
    whole = Region(0, 0, 1300, 1000)
    with open_slide(write_strips(tmp_path / "strips.tif", rows), cache=0) as slide:
        part = slide.read_region(Region(500, 300, 80, 3), (80, 3))
        np.testing.assert_array_equal(part.pixels, NOISE[300:303, 500:580])
        assert part.pixels_decoded == preads.total() * 1300 * rows
        preads.clear()
        small = slide.read_region(whole, (130, 100))
        assert set(preads.values()) == {1}
        assert len(preads) == -(-1000 // rows)
        assert small.pixels_decoded == 1300 * 1000  # the last strip ends with the level
        preads.clear()
        np.testing.assert_array_equal(slide.read_region(whole, (1300, 1000)).pixels, NOISE)
        assert set(preads.values()) == {1}


@pytest.mark.parametrize("tile", [(16, 16), (240, 240), (256, 112), (512, 32)])
@pytest.mark.parametrize("shrink", [4, 9, 40])
def test_a_tile_that_two_blocks_might_share_is_decoded_once(
    tmp_path: Path,
    preads: Counter[int],
    monkeypatch: pytest.MonkeyPatch,
    tile: tuple[int, int],
    shrink: int,
):
    monkeypatch.setattr("napari_pathreason.slides._resample.BLOCK", 300**2)
    path = tmp_path / "tiled.tif"
    tifffile.imwrite(path, NOISE, photometric="rgb", tile=tile[::-1], compression="zlib")
    with open_slide(path, cache=0) as slide:
        slide.read_region(Region(70, 90, 1100, 900), (1100 // shrink, 900 // shrink))
    assert len(preads) >= (1100 // tile[0]) * (900 // tile[1])
    assert set(preads.values()) == {1}


def test_halved_levels_of_strips_decode_each_once(tmp_path: Path, preads: Counter[int]):
    path = tmp_path / "wide.tif"
    wide = np.tile(NOISE, (1, 4, 1))
    tifffile.imwrite(path, wide, photometric="rgb", rowsperstrip=16, compression="zlib")
    with open_slide(path, cache=0) as slide:
        native, half, quarter = slide.display_levels()
        assert native.chunks == (16, 4096, 3)
        np.testing.assert_array_equal(np.asarray(native[5:50, 4000:5000]), wide[5:50, 4000:5000])
        preads.clear()
        np.asarray(half)
        assert len(preads) == 63
        assert set(preads.values()) == {1}
        preads.clear()
        assert quarter.shape == (250, 1300, 3)
        np.asarray(quarter)  # of what the half keeps
    assert not preads
