"""What a run shows: its layers and what they say, and the life of the dock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from napari_pathreason.viewer import LayerFrame


def test_what_a_run_shows(
    dock: Any,
    viewer: Any,
    wait: Any,
    messages: list[Any],
    markers: Any,
    layer: Any,
    boxes: Any,
    outline: Any,
) -> None:
    image = viewer.layers[0]
    viewer.layers.selection.active = image
    assert "96 \N{MULTIPLICATION SIGN} 96 \N{MICRO SIGN}m." in dock.form.note.text()
    dock.start()
    wait()
    assert not messages
    assert np.allclose(boxes(viewer), sorted(markers), atol=3)
    features = layer(viewer, "lesions").features
    assert set(features["label"]) == {"marker"}
    assert features["tiles"].max() > 1
    heat = layer(viewer, "heat map")
    assert np.allclose(outline(viewer, heat, image).corners, (0, 0, 640, 480))
    assert heat.data.max() == 1
    shown = dock.runner.so_far.allocations
    assert np.allclose(
        outline(viewer, layer(viewer, "allocation map"), image).corners, shown.box.corners
    )
    assert "Done" in dock.progress.label.text()
    assert dock.progress.bar.value() == 1000
    assert dock.result.text().startswith("3 marker (uncertain); ")
    assert viewer.layers.selection.active is image
    assert dock.form.image is image  # the heat map is no slide


def test_hover_says_why(dock: Any, viewer: Any, wait: Any, layer: Any) -> None:
    dock.start()
    wait()
    dock.tabs.setCurrentWidget(dock.map_view)
    assert not layer(viewer, "heat map").visible
    tiles, shown = layer(viewer, "allocation map"), dock.runner.so_far.allocations
    assert tiles.visible
    assert viewer.layers.selection.active is tiles
    skipped = next(t for t in shown.plan.tiles if not t.is_read(0.5))
    status = tiles.get_status(np.array([skipped.row, skipped.column]))["value"]
    assert f"tile: {skipped.index}" in status
    assert "budget: 0" in status
    assert "less than 50 %" in status
    read = tiles.get_status(np.array([0, 0]))["value"]
    assert "budget: 16" in read
    assert "16 visual tokens by the run's budget" in read
    middle = skipped.region.box
    place = (middle.x + middle.w / 2, middle.y + middle.h / 2)
    ((row, column),) = LayerFrame.of(dock.tile_selection.image()).slide_to_world([place])
    dock.tile_selection.hover((row, column))
    assert dock.map_view.hover.text() == shown.explain(skipped.index)


def test_layers_that_the_user_closes_or_changes_stay_so(
    dock: Any, viewer: Any, wait: Any, qtbot: Any, factory: Any, messages: list[Any], layer: Any
) -> None:
    factory.behaviour = "gated"
    dock.start()
    qtbot.waitUntil(lambda: bool(factory.made) and len(viewer.layers) == 4)
    viewer.layers.remove(layer(viewer, "heat map"))
    layer(viewer, "lesions").add_rectangles([[0, 0], [9, 9]])
    factory.made[0][1].performer.gate.release(100)
    wait()
    assert len(viewer.layers) == 3
    assert len(layer(viewer, "lesions").data) == 1
    assert "Done" in dock.progress.label.text()
    assert not messages


def test_boxes_are_saved_with_what_the_run_says(
    dock: Any, viewer: Any, wait: Any, tmp_path: Path, layer: Any
) -> None:
    from napari_pathreason.exports import read_geojson

    dock.start()
    wait()
    layer(viewer, "lesions").save(str(tmp_path / "a.geojson"), plugin="napari-pathreason")
    found = list(read_geojson(tmp_path / "a.geojson"))
    assert {one.label for one in found} == {"marker"}
    assert {one.metadata["slide"] for one in found} == {"slide.tif"}


def test_plugin_menu_opens_the_dock(make_napari_viewer_proxy: Callable[..., Any]) -> None:
    viewer = make_napari_viewer_proxy()
    _, dock = viewer.window.add_plugin_dock_widget("napari-pathreason", "Slide run")
    assert dock.start_button.isEnabled()
    assert "Open a slide" in dock.form.note.text()


def test_a_closed_dock_is_freed(make_napari_viewer_proxy: Callable[..., Any], qtbot: Any) -> None:
    import gc
    from weakref import ref

    from napari_pathreason.widgets import SlideRunWidget

    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros((80, 80, 3), np.uint8), rgb=True)
    dock = SlideRunWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Slide run")
    known = ref(dock)
    viewer.window.remove_dock_widget(dock)
    del dock
    qtbot.wait(50)
    gc.collect()
    assert known() is None
    viewer.add_image(np.zeros((80, 80, 3), np.uint8), rgb=True)
