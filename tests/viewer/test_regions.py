from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from napari.components import ViewerModel
from napari.layers import Image

from napari_pathreason.errors import RegionError
from napari_pathreason.geometry import Region
from napari_pathreason.types import Result
from napari_pathreason.viewer import (
    LayerFrame,
    Session,
    box_to_data,
    draw_entry,
    go_to,
    marked_region,
    region_in_view,
    region_of,
    show_entry,
    start_drawing,
)

Placed = dict[str, Any]
placements = st.fixed_dictionaries(
    {
        "scale": st.tuples(st.floats(0.05, 20), st.floats(0.05, 20)),
        "translate": st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
        "affine": st.sampled_from(
            [
                np.eye(3),
                np.array([[2.0, 0, 5], [0, 0.5, -3], [0, 0, 1]]),
                np.array([[0, 1.0, 0], [-1.0, 0, 4], [0, 0, 1]]),  # a quarter turn
            ]
        ),
    }
)
regions = st.builds(
    Region, st.integers(0, 300), st.integers(0, 200), st.integers(1, 99), st.integers(1, 99)
)


def image_in(viewer: ViewerModel, **placed: Any) -> Image:
    return viewer.add_image(np.zeros((300, 400, 3), np.uint8), rgb=True, **placed)


@settings(deadline=None, max_examples=30)
@given(image_at=placements, shapes_at=placements, region=regions)
def test_marked_region_whatever_the_layers_lie_like(
    image_at: Placed, shapes_at: Placed, region: Region
) -> None:
    viewer = ViewerModel()
    image = image_in(viewer, **image_at)
    shapes = viewer.add_shapes(ndim=2, **shapes_at)
    world = LayerFrame.of(image).data_to_world(box_to_data(region.box))
    drawn = [shapes.world_to_data(point) for point in world]
    shapes.add([np.array(drawn)], shape_type="polygon")
    shapes.selected_data = {0}
    assert marked_region(viewer, image) == region


def test_active_shapes_layer_goes_first(viewer: ViewerModel) -> None:
    image = image_in(viewer)
    first = viewer.add_shapes([box_to_data(Region(10, 20, 30, 40).box)])
    second = viewer.add_shapes([box_to_data(Region(50, 60, 70, 80).box)])
    first.selected_data, second.selected_data = {0}, {0}
    viewer.layers.selection.active = first
    assert marked_region(viewer, image) == Region(10, 20, 30, 40)
    viewer.layers.selection.active = second
    assert marked_region(viewer, image) == Region(50, 60, 70, 80)
    viewer.layers.selection.active = image  # then the upper one
    assert marked_region(viewer, image) == Region(50, 60, 70, 80)


def test_last_drawn_counts_where_none_is_selected(viewer: ViewerModel) -> None:
    image = image_in(viewer)
    boxes = [box_to_data(Region(10, 20, 30, 40).box), box_to_data(Region(50, 60, 70, 80).box)]
    viewer.add_shapes(boxes)
    assert marked_region(viewer, image) == Region(50, 60, 70, 80)


def test_region_is_clipped_to_the_image(viewer: ViewerModel) -> None:
    image = image_in(viewer)
    viewer.add_shapes([box_to_data(Region(-50, 250, 100, 100).box)])
    assert marked_region(viewer, image) == Region(0, 250, 50, 50)


@pytest.mark.parametrize("region", [Region(500, 10, 20, 20), Region(-90, -90, 20, 20)])
def test_region_outside_names_the_remedy(viewer: ViewerModel, region: Region) -> None:
    image = image_in(viewer)
    viewer.add_shapes([box_to_data(region.box)])
    with pytest.raises(RegionError, match=r"outside the image.*mark a place on it"):
        marked_region(viewer, image)


def test_nothing_marked_names_the_remedy(viewer: ViewerModel) -> None:
    image = image_in(viewer)
    with pytest.raises(RegionError, match="draw one in a Shapes layer"):
        region_of(viewer, image, "shape")


def test_shapes_of_a_viewer_with_sliders(viewer: ViewerModel) -> None:
    viewer.add_image(np.zeros((5, 30, 30)))
    image = image_in(viewer)
    square = box_to_data(Region(10, 20, 30, 40).box)
    viewer.add_shapes([np.column_stack([np.full(4, 2), square])])
    assert marked_region(viewer, image) == Region(10, 20, 30, 40)


def test_whole_layer_of_a_pyramid(viewer: ViewerModel) -> None:
    levels = [np.zeros((300, 400, 3), np.uint8), np.zeros((150, 200, 3), np.uint8)]
    image = viewer.add_image(levels, rgb=True, multiscale=True, scale=(0.5, 0.5))
    assert region_of(viewer, image, "layer") == Region(0, 0, 400, 300)


@settings(deadline=None, max_examples=30)
@given(placed=placements, region=regions)
def test_going_to_a_region_shows_it_and_little_else(placed: Placed, region: Region) -> None:
    viewer = ViewerModel()
    image = image_in(viewer, **placed)
    go_to(viewer, image, region)
    seen = region_in_view(viewer, image)
    assert seen.x <= region.x
    assert seen.y <= region.y
    assert seen.x + seen.width >= region.x + region.width
    assert seen.y + seen.height >= region.y + region.height


def test_view_is_camera_and_canvas(viewer: ViewerModel) -> None:
    image = image_in(viewer, scale=(0.5, 0.5), units=("um", "um"))
    viewer.canvas.size = (60, 100)  # height, width of the canvas
    viewer.scene.camera.zoom = 2.0  # canvas pixels per um
    viewer.scene.camera.center = (0, 70, 90)
    # 50 x 30 um around (90, 70) um; the outer edge of the first pixel lies at -0.25 um
    assert region_in_view(viewer, image) == Region(130, 110, 100, 60)


def test_view_in_3d_names_the_remedy(viewer: ViewerModel) -> None:
    image = image_in(viewer)
    viewer.dims.ndisplay = 3
    with pytest.raises(RegionError, match="switch to 2D"):
        region_of(viewer, image, "view")


def test_drawing_starts_on_a_layer_that_lies_as_the_image(viewer: ViewerModel) -> None:
    image = image_in(viewer, scale=(0.5, 0.7), translate=(3, 4), units=("um", "um"))
    shapes = start_drawing(viewer, image)
    assert viewer.layers.selection.active is shapes
    assert shapes.mode == "add_rectangle"
    assert shapes.scale.tolist() == [0.5, 0.7]
    assert start_drawing(viewer, image) is shapes  # no second layer


def test_chosen_answer_is_the_marked_region(
    viewer: ViewerModel, make_result: Callable[..., Result]
) -> None:
    image = image_in(viewer)
    session = Session()
    entries = [session.add(make_result(Region(10 * i, 20, 64, 64)), image) for i in (1, 2)]
    for entry in entries:
        draw_entry(viewer, session, entry)
    show_entry(viewer, session, entries[0])
    assert marked_region(viewer, image) == Region(10, 20, 64, 64)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()
