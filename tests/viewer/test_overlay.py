from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer, Shapes

from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import Reliability, Request, Result
from napari_pathreason.viewer import (
    Session,
    append_to_overlay,
    draw_entry,
    marks_of_shapes,
    overlay_layer_data,
    shapes_of_result,
    show_entry,
)

Make = Callable[..., Result]


def test_layer_data_carries_the_place_of_the_image(make_result: Make) -> None:
    image = Image(
        np.zeros((30, 40, 3), np.uint8),
        rgb=True,
        scale=(0.5, 0.25),
        rotate=10,
        translate=(3, 4),
        affine=[[1, 0.1, 0], [0, 1, 7], [0, 0, 1]],
        units=("um", "um"),
        name="slide",
    )
    result = make_result(Region(2, 3, 20, 10), Box(4, 5, 6, 3))
    overlay = Layer.create(*overlay_layer_data(image, [(7, result)]))
    assert overlay.units == image.units
    for point in [(0, 0), (11, 23)]:
        assert overlay.data_to_world(point) == pytest.approx(image.data_to_world(point))
    assert overlay.features["label"].tolist() == ["region", "tumour"]
    assert overlay.features["result"].tolist() == [7, 7]
    assert overlay.features["tokens"].tolist() == [62, 62]  # the allocator's two counted
    assert overlay.data[1].tolist() == [[4.5, 3.5], [4.5, 9.5], [7.5, 9.5], [7.5, 3.5]]


def test_a_region_within_an_outline_is_that_outline(make_result: Make) -> None:
    image = Image(np.zeros((30, 40, 3), np.uint8), rgb=True)
    plain = make_result(Region(2, 3, 20, 10), Box(4, 5, 6, 3))
    corners = ((2.0, 3.0), (22.0, 3.0), (2.0, 13.0))
    asked = Request(plain.region, plain.query, outline=corners)
    outlined = replace(plain, request=asked)
    first = Layer.create(*overlay_layer_data(image, [(1, outlined)]))
    later = Layer.create(*overlay_layer_data(image, [(7, plain)]))
    append_to_overlay(later, 1, outlined)
    assert first.shape_type == ["polygon", "rectangle"]
    assert later.shape_type == ["rectangle", "rectangle", "polygon", "rectangle"]
    for overlay in (first, later):
        (place,) = shapes_of_result(overlay, 1) - {overlay.nshapes - 1}
        assert overlay.data[place].tolist() == [[2.5, 1.5], [2.5, 21.5], [12.5, 1.5]]
        marks = list(marks_of_shapes(overlay.data, layer_attributes(overlay), ""))
        assert marks[place].kind == "region"
        assert marks[place].shape.area == 100


def layer_attributes(layer: Layer) -> dict[str, Any]:
    """As napari hands a layer to a writer."""
    return dict(layer.as_layer_data_tuple()[1])


def test_no_results_give_an_empty_layer() -> None:
    overlay = Layer.create(*overlay_layer_data(Image(np.zeros((8, 8))), []))
    assert overlay.nshapes == 0


def test_captions_of_one_region_are_joined(make_result: Make) -> None:
    viewer, session = ViewerModel(), Session()
    image = viewer.add_image(np.zeros((300, 400, 3), np.uint8), rgb=True)
    here, there = Region(0, 0, 64, 64), Region(64, 0, 64, 64)
    for region in (here, there, here):
        overlay = draw_entry(viewer, session, session.add(make_result(region), image))
    assert overlay is not None
    assert overlay.features["caption"].tolist() == ["1, 3", "2", ""]


def test_what_the_user_removed_stays_away_until_chosen(make_result: Make) -> None:
    viewer, session = ViewerModel(), Session()
    image = viewer.add_image(np.zeros((300, 400, 3), np.uint8), rgb=True)
    first = session.add(make_result(Region(0, 0, 64, 64), Box(1, 2, 3, 4)), image)
    overlay = draw_entry(viewer, session, first)
    assert overlay is not None
    overlay.remove([0, 1])
    second = session.add(make_result(Region(64, 0, 64, 64)), image)
    assert draw_entry(viewer, session, second) is overlay
    assert overlay.features["result"].tolist() == [2]
    show_entry(viewer, session, first)
    assert shapes_of_result(overlay, 1) == {1, 2}
    assert overlay.selected_data == {1, 2}


def test_overlay_follows_an_image_that_was_moved(make_result: Make) -> None:
    viewer, session = ViewerModel(), Session()
    image = viewer.add_image(np.zeros((300, 400, 3), np.uint8), rgb=True)
    entry = session.add(make_result(Region(0, 0, 64, 64)), image)
    overlay = draw_entry(viewer, session, entry)
    assert overlay is not None
    image.scale, image.translate = (0.5, 0.5), (9, 8)
    draw_entry(viewer, session, entry)
    assert overlay.data_to_world((3, 4)) == pytest.approx(image.data_to_world((3, 4)))


def test_many_answers_about_one_region_are_counted(make_result: Make) -> None:
    region = Region(0, 0, 20, 10)
    levels = ["reliable", "none", "reliable", "reliable", "reliable"]
    results = [make_result(region, reliability=Reliability(level)) for level in levels]
    image = Image(np.zeros((30, 40, 3), np.uint8), rgb=True)
    data, attributes, _ = overlay_layer_data(image, enumerate(results[:3], 1))
    overlay = Shapes(data, **attributes)
    assert overlay.features["caption"].tolist() == ["1, 2 (unreliable), 3", "", ""]
    for number, result in enumerate(results[3:], 4):
        append_to_overlay(overlay, number, result)
    assert overlay.features["caption"].tolist() == ["5 answers (some unreliable)", *[""] * 4]
