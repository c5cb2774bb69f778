from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from napari.layers import Image, Shapes

from napari_pathreason.geometry import Box, Region
from napari_pathreason.viewer import LayerFrame, box_to_data, data_to_slide, slide_to_data

coordinate = st.floats(-1e5, 1e5)
step = st.floats(0.05, 20.0)
shift = st.floats(-5e3, 5e3)
angle = st.floats(-180, 180)


def test_half_pixel_and_axis_order() -> None:
    # centre of the pixel in row 2, column 5 lies at x 5.5, y 2.5 of the slide
    assert data_to_slide([(2, 5)]).tolist() == [[5.5, 2.5]]
    assert slide_to_data([(5.5, 2.5)]).tolist() == [[2, 5]]
    # leading axes of a layer in a viewer with sliders do not count
    assert data_to_slide([(9, 2, 5)]).tolist() == [[5.5, 2.5]]


def test_box_outlines_whole_pixels() -> None:
    # one pixel, column 3 and row 7: its outline runs half a pixel around its centre
    assert box_to_data(Box(3, 7, 1, 1)).tolist() == [
        [6.5, 2.5],
        [6.5, 3.5],
        [7.5, 3.5],
        [7.5, 2.5],
    ]


@settings(deadline=None, max_examples=30)
@given(x=coordinate, y=coordinate, sy=step, sx=step, ty=shift, tx=shift, turn=angle)
def test_round_trip_through_world(
    x: float, y: float, sy: float, sx: float, ty: float, tx: float, turn: float
) -> None:
    layer = Image(
        np.zeros((4, 6, 3), np.uint8),
        rgb=True,
        scale=(sy, sx),
        translate=(ty, tx),
        rotate=turn,
        affine=[[1.1, 0.2, 3.0], [-0.1, 0.9, -7.0], [0, 0, 1]],
    )
    frame = LayerFrame.of(layer)
    assert frame.world_to_slide(frame.slide_to_world([(x, y)]))[0] == pytest.approx(
        (x, y), abs=1e-5
    )


@settings(deadline=None, max_examples=30)
@given(sy=step, sx=step, ty=shift, tx=shift)
def test_agrees_with_napari(sy: float, sx: float, ty: float, tx: float) -> None:
    layer = Image(
        np.zeros((40, 60, 3), np.uint8),
        rgb=True,
        scale=(sy, sx),
        translate=(ty, tx),
        affine=[[0.5, 0.5, 1.0], [-0.5, 0.5, 2.0], [0, 0, 1]],
    )
    expected = layer.data_to_world((11.0, 23.0))
    assert LayerFrame.of(layer).slide_to_world([(23.5, 11.5)])[0] == pytest.approx(expected)


def test_units_of_length_are_converted() -> None:
    image = Image(np.zeros((8, 8)), scale=(0.5, 0.5), units=("um", "um"))
    shapes = Shapes(scale=(1e-3, 1e-3), units=("mm", "mm"))
    world = LayerFrame.of(shapes, image.units).data_to_world([(2.0, 3.0)])
    assert world[0] == pytest.approx((2.0, 3.0))  # 2 and 3 um
    assert LayerFrame.of(image, image.units).world_to_slide(world)[0] == pytest.approx((6.5, 4.5))


def test_pixels_and_micrometres_are_not_mixed_up() -> None:
    shapes = Shapes(scale=(2, 2))  # plain pixels: numbers count as they are
    units = Image(np.zeros((2, 2)), units=("um", "um")).units
    assert LayerFrame.of(shapes, units).data_to_world([(1.0, 1.0)])[0] == pytest.approx((2, 2))


def test_region_survives_the_way_out_and_back() -> None:
    layer = Image(np.zeros((300, 400)), scale=(0.25, 0.7), translate=(-8, 3))
    frame = LayerFrame.of(layer)
    region = Region(17, 41, 133, 59)
    world = frame.data_to_world(box_to_data(region.box))
    points = frame.world_to_slide(world)
    assert points.min(axis=0) == pytest.approx((17, 41))
    assert points.max(axis=0) == pytest.approx((150, 100))
