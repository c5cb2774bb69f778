from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from napari.layers import Image, Layer

from napari_pathreason.geometry import Region
from napari_pathreason.viewer import LayerFrame, grid_layer_data, preview_layer_data

sides = st.integers(32, 5000)
steps = st.floats(0.01, 100)
shifts = st.floats(-1e4, 1e4)


@settings(max_examples=40, deadline=None)
@given(
    st.builds(Region, sides, sides, sides, sides),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(steps, steps),
    st.tuples(shifts, shifts),
    st.floats(-180, 180),
)
def test_corners_are_those_of_the_region(
    region: Region,
    grid: tuple[int, int],
    scale: tuple[float, float],
    translate: tuple[float, float],
    rotate: float,
) -> None:
    place = {"scale": scale, "translate": translate, "rotate": rotate, "units": ("um", "um")}
    slide = Image(np.zeros((64, 64, 3), np.uint8), rgb=True, **place)
    width, height = size = (grid[0] * 8, grid[1] * 8)
    pixels = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = region.box.corners
    wanted = LayerFrame.of(slide).slide_to_world([(x1, y1), (x2, y2), (x1, y2)])
    near = 1e-9 * (np.abs(wanted).max() + 1)
    for made in (
        preview_layer_data(slide, region, pixels),
        grid_layer_data(slide, region, size, 8),
    ):
        layer = Layer.create(*made)
        corners = LayerFrame.of(layer).slide_to_world([(0, 0), (width, height), (0, height)])
        assert corners == pytest.approx(wanted, abs=near)
        assert layer.units == slide.units


def test_grid_lines_border_the_tokens() -> None:
    slide = Image(np.zeros((64, 64, 3), np.uint8), rgb=True)
    lines, _, _ = grid_layer_data(slide, Region(0, 0, 64, 64), (64, 32), 32)
    assert lines[:, 0].tolist() == [
        [-0.5, -0.5], [-0.5, 31.5], [-0.5, 63.5], [-0.5, -0.5], [31.5, -0.5]
    ]  # fmt: skip
