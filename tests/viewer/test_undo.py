"""Undo of what happens to the plugin's shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from app_model.types import KeyBinding
from napari.layers import Image, Shapes

from napari_pathreason.geometry import Box, Region
from napari_pathreason.viewer import (
    REDO,
    UNDO,
    append_to_overlay,
    box_to_data,
    overlay_layer_data,
    undoable,
    was_changed,
)

REGION = Region(10, 20, 100, 80)
FIRST, SECOND = Box(20, 30, 10, 10), Box(60, 50, 20, 10)


@pytest.fixture
def overlay(make_result: Any) -> Shapes:
    source = Image(np.zeros((300, 400, 3), np.uint8), rgb=True)
    data, attributes, _ = overlay_layer_data(source, [(1, make_result(REGION, FIRST))])
    return undoable(Shapes(data, **attributes))


def press(layer: Shapes, key: int) -> None:
    """As napari does where the layer is active."""
    layer.keymap[KeyBinding.from_int(key)](layer)


def undo(layer: Shapes) -> None:
    press(layer, UNDO)


def redo(layer: Shapes) -> None:
    press(layer, REDO)


def state(layer: Shapes) -> Any:
    return (
        [points.tolist() for points in layer.data],
        list(layer.shape_type),
        layer.edge_color.tolist(),
        list(layer.edge_width),
        layer.features.to_dict("list"),
    )


def test_deleted_boxes_come_back_with_all_that_was_known(overlay: Shapes) -> None:
    before = state(overlay)
    overlay.selected_data = {0, 1}
    overlay.remove_selected()
    assert overlay.nshapes == 0
    after = state(overlay)
    undo(overlay)
    assert state(overlay) == before
    redo(overlay)
    assert state(overlay) == after
    undo(overlay)
    assert state(overlay) == before
    assert [str(text) for text in overlay.text.values] == ["1", "1: tumour"]


def test_steps_go_back_one_by_one_to_what_the_layer_was_made_with(
    overlay: Shapes, make_result: Any
) -> None:
    states = [state(overlay)]
    append_to_overlay(overlay, 2, make_result(REGION, SECOND, label="gland"))
    states.append(state(overlay))
    overlay.add_polygons(np.array([(1.0, 1.0), (9, 1), (5, 9)]), edge_color="red")
    states.append(state(overlay))
    moved = [points + (index == 1) * 7 for index, points in enumerate(overlay.data)]
    overlay.data = moved
    states.append(state(overlay))
    for expected in reversed(states[:-1]):
        assert was_changed(overlay)
        undo(overlay)
        assert state(overlay) == expected
    undo(overlay)  # there is no more
    assert state(overlay) == states[0]
    assert not was_changed(overlay)
    for expected in states[1:]:
        redo(overlay)
        assert state(overlay) == expected
    redo(overlay)
    assert state(overlay) == states[-1]


def test_a_shape_that_is_dragged_goes_back(overlay: Shapes) -> None:
    before = state(overlay)
    overlay._data_view.shift(1, np.array([5, 5]))  # napari tells of a drag when it has ended
    overlay.events.data(
        value=overlay.data, action="changed", data_indices=(1,), vertex_indices=((0, 1, 2, 3),)
    )
    assert state(overlay) != before
    undo(overlay)
    assert state(overlay) == before


def test_something_new_ends_what_could_be_done_again(overlay: Shapes) -> None:
    overlay.add_rectangles(box_to_data(FIRST))
    undo(overlay)
    overlay.add_rectangles(box_to_data(SECOND))
    now = state(overlay)
    redo(overlay)
    assert state(overlay) == now


def test_a_layer_of_very_many_shapes_remembers_nothing() -> None:
    overlay = undoable(Shapes([box_to_data(FIRST), box_to_data(SECOND)]), most_shapes=3)
    overlay.add_rectangles([box_to_data(FIRST), box_to_data(SECOND)])
    now = state(overlay)
    undo(overlay)
    assert state(overlay) == now
    assert was_changed(overlay)


def test_layers_of_others_are_left_alone() -> None:
    layer = Shapes()
    assert not was_changed(layer)
    assert KeyBinding.from_int(UNDO) not in layer.keymap
