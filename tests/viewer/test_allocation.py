"""The allocation map of small and of large runs, and the boxes of many lesions."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_pathreason.exports import read_geojson, reliability_in
from napari_pathreason.geometry import Box, Region
from napari_pathreason.slide_run import (
    Lesion,
    RunFailed,
    RunPlan,
    RunStarted,
    TileDone,
    TileRecord,
    overrides_of,
)
from napari_pathreason.types import Allocation, Detection, Reliability, TokenReport
from napari_pathreason.viewer import (
    MOST_BOXES,
    STYLES,
    BoxLayer,
    RunLayers,
    RunSoFar,
    TileMap,
    box_layer_attributes,
    kind_colours,
    most_confident,
)


def record(index: int, budget: int | None, **more: Any) -> TileRecord:
    tokens = TokenReport(4, budget, budget or 64, 64, 64, 256, 90, 20, 1.0, 1.0, 1.0)
    allocation = Allocation(budget, "policy", 4, (0, 0, 0.1, 0.25, 0.6, 0, 0, 0, 0, 0.05))
    return TileRecord(index, allocation=allocation, tokens=tokens, **more)


def kinds(shown: TileMap, changes: Any = None) -> list[int]:
    return [int(value) for value in (shown.labels(changes or {}).ravel() - 1) % STYLES]


def test_each_tile_has_the_colour_of_its_budget(plan: RunPlan) -> None:
    shown = TileMap(plan)
    assert shown.shape == (4, 5)
    assert kinds(shown)[:4] == [0, 0, 1, 0]  # waiting, waiting, skipped, waiting
    shown.take(record(0, 4))
    shown.take(record(1, 32))
    shown.take(record(3, None))
    shown.take(record(4, 64))  # all that a tile has at this mpp: native
    shown.take(record(6, 10))  # no budget: that of the next one
    shown.take(TileRecord(7, unreadable=True))
    last = len(kind_colours()) - 1
    native = last - 1
    assert kinds(shown)[:8] == [2, 5, 1, native, native, 1, 4, last]
    assert kinds(shown, {0: 0, 1: "native", 2: None})[:3] == [1, native, 0]
    assert len(set(kind_colours())) == last + 1


def test_why_names_tokens_probabilities_and_tissue(plan: RunPlan) -> None:
    shown = TileMap(plan)
    assert shown.explain(0) == "Tile 0: waiting, tissue 90 %"
    assert shown.explain(2) == "Tile 2: skipped: tissue 1 %, less than 2 %"
    doubt = Reliability("uncertain", ("low confidence",))
    spot = (Detection("spot", Box(0, 0, 9, 9)),)
    shown.take(record(0, 16, answer="1 spot", detections=spot, reliability=doubt))
    assert shown.explain(0) == (
        "Tile 0: 16 visual tokens by the allocator (64: 60 %, 32: 25 %, 16: 10 %), "
        "tissue 90 %, 1 box. Uncertain: low confidence"
    )
    unread = Reliability("none", ("the model's reply could not be read",))
    shown.take(record(3, 16, reliability=unread))
    assert shown.explain(3).endswith(
        "what is there is unknown. No reliable answer: the model's reply could not be read"
    )
    shown.take(TileRecord(1, unreadable=True))
    assert "damaged" in shown.explain(1)
    changed = TileMap(plan.with_overrides(overrides_of({0: 0, 1: 16, 2: 8}), "run"))
    changed.take(record(2, 8, override=8))
    assert changed.explain(0) == "Tile 0: left out by you, tissue 90 %"
    assert changed.explain(1) == "Tile 1: waiting, 16 set by you, tissue 90 %"
    assert "8 visual tokens by you" in changed.explain(2)
    table = changed.features({1: "native", 2: None})
    assert table["why"][1].startswith("will be native; now waiting")
    assert table["why"][2].startswith("will be auto; now ")


def test_every_pixel_lies_within_its_tile(make_plan: Callable[..., RunPlan], plan: RunPlan) -> None:
    for large in (plan, make_plan(10_007, 5_003, 300, overlap=0.1)):
        shown = TileMap(large)
        rows, columns = shown.shape
        width, height = large.slide.width / columns, large.slide.height / rows
        for tile in large.tiles:
            x1, y1, x2, y2 = tile.region.box.corners
            assert x1 - 1 <= tile.column * width
            assert (tile.column + 1) * width <= x2 + 1
            assert y1 - 1 <= tile.row * height
            assert (tile.row + 1) * height <= y2 + 1
            middle = ((tile.column + 0.5) * width, (tile.row + 0.5) * height)
            assert shown.at(*middle) == tile.index


def test_tiles_under_a_rectangle(plan: RunPlan) -> None:
    shown = TileMap(plan)  # pixels of 200 x 200
    assert shown.touched(Box(10, 10, 20, 20)) == [0]
    assert shown.touched(Box(150, 150, 100, 100)) == [0, 1, 5, 6]
    assert shown.touched(Box(0, 0, 200, 200)) == [0]
    assert shown.touched(Box(-500, -500, 9000, 9000)) == list(range(20))
    assert shown.touched(Box(-50, -50, 20, 20)) == []
    assert shown.at(999, 799) == 19
    assert shown.at(1001, 10) is None


@pytest.fixture
def layers(make_napari_viewer_proxy: Callable[..., Any]) -> tuple[Any, Any]:
    viewer = make_napari_viewer_proxy()
    image = viewer.add_image(np.zeros((800, 1000, 3), np.uint8), rgb=True, name="slide")
    return viewer, image


@pytest.mark.slow
def test_a_hundred_thousand_tiles(
    make_plan: Callable[..., RunPlan], layers: tuple[Any, Any]
) -> None:
    viewer, _ = layers
    viewer.layers.clear()
    pixels = np.zeros((100, 100, 3), np.uint8)
    image = viewer.add_image(pixels, rgb=True, name="slide", scale=(600, 600))
    large = make_plan(60_000, 60_000, 250)
    assert len(large.tiles) > 100_000
    so_far = RunSoFar()
    so_far.take(RunStarted(large, 0, len(large.to_read)))
    shown = RunLayers(image)
    while shown.step(viewer, so_far, {}):
        pass
    tiles = shown.map(viewer)
    before = tiles.data
    for index in (0, 100_000):
        so_far.take(TileDone(large.tiles[index], record(index, 16)))
    while shown.step(viewer, so_far, {}):
        pass
    assert tiles.data is before  # changed in place
    colours = tiles.get_color(int(tiles.data.ravel()[100_000]))
    assert np.allclose(colours, kind_colours()[4], atol=0.01)
    tiles.visible = True
    place = np.unravel_index(100_000, tiles.data.shape)
    status = tiles.get_status(np.asarray(place, dtype=float))["value"]
    assert "tile: 100000" in status
    assert "16 visual tokens by the allocator" in status


def lesions(count: int, start: int = 0) -> list[Lesion]:
    return [
        Lesion(Detection("tumour", Box(i % 900, i // 900, 5, 5), 1 - i / 10_000), (0,))
        for i in range(start, start + count)
    ]


def test_boxes_follow_in_small_steps(layers: tuple[Any, Any], plan: RunPlan) -> None:
    viewer, image = layers
    layer = viewer.add_shapes(None, **box_layer_attributes(image))
    boxes = BoxLayer(layer)
    wanted = lesions(80)
    assert boxes.step(wanted, plan)
    assert 0 < len(layer.data) < 80
    while boxes.step(wanted, plan):
        pass
    assert len(layer.data) == 80
    joined = [*lesions(60), *lesions(1, 500)]  # twenty have become one
    while boxes.step(joined, plan):
        pass
    assert len(layer.data) == 61
    assert np.allclose(layer.features["confidence"][:2], (1, 0.9999))
    assert layer.data[-1].min(axis=0)[1] == pytest.approx(499.5)
    assert set(layer.features["tiles"]) == {1}


def test_boxes_that_may_not_be_relied_on_are_greyed(layers: tuple[Any, Any], plan: RunPlan) -> None:
    viewer, image = layers
    layer = viewer.add_shapes(None, **box_layer_attributes(image))
    boxes, levels = BoxLayer(layer), ("reliable", "uncertain", "none")
    wanted = [
        replace(one, reliability=Reliability(level))  # type: ignore[arg-type]
        for one, level in zip(lesions(3), levels, strict=True)
    ]
    boxes.step(wanted, plan)
    assert layer.features["reliability"].tolist() == list(levels)
    assert list(layer.face_color[:, 3] > 0) == [False, False, True]
    assert np.allclose(layer.edge_color[0], layer.edge_color[1])
    assert not np.allclose(layer.edge_color[0], layer.edge_color[2])


def test_guesses_are_the_last_to_be_shapes() -> None:
    guess, *others = lesions(3)
    reliable = [replace(one, reliability=Reliability("reliable")) for one in others]
    assert most_confident([guess, *reliable]) == [*reliable, guess]


def test_each_lesion_is_saved_with_its_own_reliability(
    layers: tuple[Any, Any], plan: RunPlan, make_result: Callable[..., Any], tmp_path: Path
) -> None:
    viewer, image = layers
    layer = viewer.add_shapes(None, **box_layer_attributes(image))
    boxes = BoxLayer(layer)
    assessed = (
        Reliability("reliable"),
        Reliability("none", ("unlike the training images", "low confidence; look for yourself")),
    )
    wanted = [replace(one, reliability=how) for one, how in zip(lesions(2), assessed, strict=True)]
    boxes.step(wanted, plan)
    result = make_result(Region(0, 0, 1000, 800), *(one.detection.box for one in wanted))
    boxes.finish(replace(result, reliability=Reliability("uncertain", ("half of the tiles",))))
    layer.save(str(tmp_path / "a.geojson"), plugin="napari-pathreason")
    features = list(read_geojson(tmp_path / "a.geojson"))
    assert [reliability_in(one.metadata) for one in features] == list(assessed)
    assert [one.measurements["Reliability"] for one in features] == [2, 0]
    assert features[1].metadata["answer"] == "No reliable answer (guess: 2 tumour)"
    layer.save(str(tmp_path / "a.csv"), plugin="napari-pathreason")
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [row["reliability"] for row in rows] == ["reliable", "none"]
    assert rows[1]["reasons"] == " | ".join(assessed[1].reasons)


def test_of_very_many_boxes_the_most_confident_are_shown(
    layers: tuple[Any, Any], plan: RunPlan
) -> None:
    many = lesions(MOST_BOXES + 100)[::-1]
    assert len(most_confident(many)) == MOST_BOXES
    assert most_confident(many)[0] == many[-1]
    silent = Lesion(Detection("tumour", Box(0, 0, 1, 1)), (0,))
    assert most_confident([*many, silent])[:2] == [many[-1], silent]


def test_a_run_that_fails_shows_the_lesions_so_far(plan: RunPlan) -> None:
    so_far = RunSoFar()
    so_far.take(RunStarted(plan, 0, 13))
    tumour = (Detection("tumour", Box(10, 10, 50, 50), 0.5),)
    so_far.take(TileDone(plan.tiles[0], record(0, 16, answer="1 tumour", detections=tumour)))
    so_far.take(TileDone(plan.tiles[1], record(1, 16)))  # its reply could not be read
    assert not so_far.lesions
    assert so_far.heat().max() == pytest.approx(0.5)
    so_far.take(RunFailed("why", RuntimeError()))
    assert [lesion.detection for lesion in so_far.lesions] == list(tumour)
    assert (so_far.boxes, so_far.tokens, so_far.changes) == (1, 32, 2)
