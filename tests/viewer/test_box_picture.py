"""Boxes as a picture that is drawn where one looks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathreason.geometry import Box
from napari_pathreason.slide_run import (
    Lesion,
    Progress,
    RunCancelled,
    RunPlan,
    RunStarted,
    TileDone,
    TileRecord,
)
from napari_pathreason.types import Detection, Reliability
from napari_pathreason.viewer import (
    MOST_BOXES,
    AllLesions,
    BoxPicture,
    RunLayers,
    RunSoFar,
    all_lesions_layer,
)

SIZE = 3000, 2000
SMALL = 63
"""Level-0 pixels: the longest side of a rectangle that is filled together with others."""


def corners(count: int, longest: float, seed: int = 0) -> NDArray[np.float64]:
    draw = np.random.default_rng(seed)
    first = draw.uniform((0, 0), SIZE, (count, 2))
    sides = draw.uniform(0.2, longest, (count, 2))
    return np.concatenate([first, np.minimum(first + sides, SIZE)], 1)


def by_hand(picture: BoxPicture, level: int) -> NDArray[np.int32]:
    """The whole level, one box after the other: insides first, then outlines."""
    height, width = picture.levels[level].shape
    out = np.zeros((height, width), np.int32)
    x_scale, y_scale = width / picture.size[0], height / picture.size[1]
    for inner in (True, False):
        for i in picture.order:
            x1, y1, x2, y2 = picture.corners[i]
            left, top = int(np.floor(x1 * x_scale)), int(np.floor(y1 * y_scale))
            right = max(int(np.ceil(x2 * x_scale)), left + 1)
            bottom = max(int(np.ceil(y2 * y_scale)), top + 1)
            line = 1 if min(right - left, bottom - top) < 5 else 2
            hole = (slice(top + line, bottom - line), slice(left + line, right - line))
            if inner:
                out[hole] = picture.insides[i]
            else:
                inside = out[hole].copy()
                out[top:bottom, left:right] = picture.outlines[i]
                out[hole] = inside
    return out


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_level_shows_every_box(level: int) -> None:
    boxes = corners(60, SMALL)
    picture = BoxPicture(SIZE, boxes, np.arange(len(boxes)) % 3)
    whole = np.asarray(picture.levels[level])
    outline = np.isin(whole, picture.outlines)
    assert np.array_equal(outline, np.isin(by_hand(picture, level), picture.outlines))
    apart = BoxPicture(
        SIZE,
        np.array([[10, 10, 500, 90], [600, 10, 604.5, 11], [40, 30, 60, 50]]),
        np.array([0, 1, 9]),
    )
    assert np.array_equal(np.asarray(apart.levels[level]), by_hand(apart, level))


def test_any_part_is_the_same_part_of_the_whole() -> None:
    picture = BoxPicture(SIZE, corners(400, 300), np.zeros(400, int))
    for level in picture.levels:
        whole = np.asarray(level)
        height = level.shape[0]
        parts = [
            np.s_[7:90, 11:300],
            np.s_[height - 20 :, ::3],
            np.s_[5],
            np.s_[:, 40],
            np.s_[3, 8],
        ]
        for part in parts:
            assert np.array_equal(level[part], whole[part])
        assert level[50:50, 3:9].shape == (0, 6)


def test_what_is_drawn_beforehand_is_what_is_drawn_in_parts() -> None:
    picture = BoxPicture((6000, 2000), corners(50, 300), np.zeros(50, int))
    before = [np.asarray(level) for level in picture.levels]
    picture.prepare()
    # only what is in memory is not drawn anew
    in_memory = [np.shares_memory(level[:9, :9], level[:9, :9]) for level in picture.levels]
    assert in_memory == [max(level.shape) <= 2048 for level in picture.levels]
    assert {*in_memory} == {True, False}
    for level, drawn in zip(picture.levels, before, strict=True):
        assert np.array_equal(level[10:200, 5:100], drawn[10:200, 5:100])


def test_the_coarsest_level_is_small_and_still_shows_the_smallest_box() -> None:
    picture = BoxPicture((100_000, 50_000), np.array([[70_000, 20_000, 70_003, 20_002]]), [0])
    last = picture.levels[-1]
    assert max(last.shape) <= 1024
    assert list(np.unique(np.asarray(last))) == [0, picture.outlines[0]]


def test_the_smallest_box_around_a_place() -> None:
    picture = BoxPicture(SIZE, np.array([[0, 0, 100, 100], [40, 40, 50, 50]]), [0, 0])
    assert [picture.box_at(*at) for at in ((45, 45), (5, 5), (200, 5))] == [1, 0, None]


def many(count: int) -> list[Lesion]:
    row = int(count**0.5) + 1
    return [
        Lesion(Detection("tumour", Box(i % row * 3, i // row * 3, 2, 2), 1 - i / count), (0, 1))
        for i in range(count)
    ]


def test_a_layer_of_very_many_lesions(
    make_napari_viewer_proxy: Callable[..., Any], plan: RunPlan
) -> None:
    viewer = make_napari_viewer_proxy()
    image = viewer.add_image(np.zeros((800, 1000, 3), np.uint8), rgb=True, scale=(2, 2))
    lesions = many(MOST_BOXES + 500)
    shown = AllLesions.of(lesions, plan)
    layer = viewer.add_layer(all_lesions_layer(image, shown))
    layer.features = shown.features
    assert np.allclose(layer.extent.world, image.extent.world)
    assert not layer.editable
    which = 1210
    box = lesions[which].detection.box
    middle = (2 * (box.y + 0.5), 2 * (box.x + 0.5))
    layer.refresh()
    status = layer.get_status(middle, world=True)["value"]
    assert "label: tumour" in status
    assert f"confidence: {lesions[which].detection.confidence:.5g}"[:14] in status
    assert np.allclose(layer.get_color(int(shown.picture.insides[which]))[3], 0)
    assert layer.get_color(int(shown.picture.outlines[which]))[3] == 1
    assert len({tuple(layer.get_color(int(v))) for v in shown.picture.outlines[:5]}) == 1


def test_guesses_among_very_many_lesions_have_a_colour_of_their_own(
    make_napari_viewer_proxy: Callable[..., Any], plan: RunPlan
) -> None:
    viewer = make_napari_viewer_proxy()
    image = viewer.add_image(np.zeros((800, 1000, 3), np.uint8), rgb=True)
    confident, guess = many(2)
    shown = AllLesions.of([replace(confident, reliability=Reliability("reliable")), guess], plan)
    layer = all_lesions_layer(image, shown)
    first, second = (tuple(layer.get_color(int(v))) for v in shown.picture.outlines)
    assert first != second
    assert shown.features["reliability"].tolist() == ["reliable", "none"] * 2


def click(layer: Any, box: Box, moved: int = 0) -> None:
    """Press on the middle of a box and let go; the image has a pixel a world unit."""
    place = (box.y + box.h / 2 - 0.5, box.x + box.w / 2 - 0.5)
    event = SimpleNamespace(type="mouse_press", pos=(5, 5), position=place)
    for callback in layer.mouse_drag_callbacks:
        if not inspect.isgeneratorfunction(callback):
            continue
        pressed = callback(layer, event)
        next(pressed)
        event.type, event.pos = "mouse_move", (5 + moved, 5)
        next(pressed)
        event.type = "mouse_release"
        next(pressed, None)


def test_what_is_no_shape_is_an_outline(
    make_napari_viewer_proxy: Callable[..., Any], plan: RunPlan
) -> None:
    viewer = make_napari_viewer_proxy()
    image = viewer.add_image(np.zeros((800, 1000, 3), np.uint8), rgb=True)
    layers = RunLayers(image, share=math.inf)  # nothing is put off
    so_far = RunSoFar(most_boxes=20, share=math.inf)
    boxes = [one.detection for one in many(50)]

    def find(tile: int, detections: list[Detection]) -> None:
        record = TileRecord(tile, answer="tumour", detections=tuple(detections))
        so_far.take(TileDone(plan.tiles[tile], record))
        so_far.take(Progress(1, 9, None))

    def show(now: RunSoFar) -> list[str]:
        for _ in range(12):
            layers.step(viewer, now, {})
        return [layer.name.split(":")[0] for layer in viewer.layers[1:]]

    so_far.take(RunStarted(plan, 0, 9))
    find(0, boxes[:20])
    assert show(so_far) == ["heat map", "allocation map", "lesions"]
    find(1, boxes[20:21])
    assert show(so_far) == ["heat map", "allocation map", "all lesions", "lesions"]
    every, shapes = viewer.layers[3:]
    assert len(shapes.data) == 20
    assert every.visible
    assert not len(every.features)
    every.visible = False
    find(3, boxes[21:49])
    show(so_far)
    assert list(every.data) == so_far.everything.picture.levels
    click(every, boxes[40].box)
    assert viewer.layers.selection.active.name == shapes.name
    assert shapes.selected_data == {20}
    assert shapes.features["confidence"][20] == boxes[40].confidence
    click(every, boxes[0].box)
    assert (len(shapes.data), shapes.selected_data) == (21, {0})
    click(every, Box(900, 700, 1, 1))
    click(every, boxes[30].box, moved=30)
    assert len(shapes.data) == 21
    find(4, [Detection("tumour", Box(900, 10, 9, 9), 1.0)])
    show(so_far)
    assert len(shapes.data) == 20  # the lesions have changed
    so_far.take(RunCancelled(1, 2))
    show(so_far)
    assert len(every.features) == 2 * 50
    assert {*every.features["label"]} == {"tumour"}
    assert not every.visible  # as the user wants it
    layers.begin(viewer)
    again = RunSoFar()
    again.take(RunStarted(plan, 0, 9))
    again.take(RunCancelled(1, 2))
    show(again)
    assert not np.asarray(every.data[-1]).any()
    assert not len(every.features)
