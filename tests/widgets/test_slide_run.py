"""The Slide run dock with a model that finds magenta, on a slide of a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_pathreason._geometry import Box
from napari_pathreason.viewer import SLIDE_KEY, LayerFrame, picks_of, session_of

MARKERS = ((100, 90, 60, 40), (300, 250, 150, 30), (560, 20, 40, 40))
"""(x, y, w, h); the second one lies over a seam."""
PINK, GLASS = (230, 160, 200), 250


@pytest.fixture
def slide_file(tmp_path: Path) -> Path:
    """640 x 480 px of pink with magenta markers; the lower left corner is glass."""
    pixels = np.full((480, 640, 3), PINK, np.uint8)
    pixels[300:, :150] = GLASS
    for x, y, w, h in MARKERS:
        pixels[y : y + h, x : x + w] = (255, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "slide.png")
    return tmp_path / "slide.png"


@pytest.fixture
def dock(
    make_napari_viewer_proxy: Callable[..., Any],
    factory: Any,
    messages: list[tuple[str, str]],
    slide_file: Path,
    tmp_path: Path,
) -> Iterator[Any]:
    from napari_pathreason.widgets import SlideRunWidget

    viewer = make_napari_viewer_proxy()
    session_of(viewer).models_factory = factory
    (image,) = viewer.open(slide_file, plugin="napari-pathreason")
    dock = SlideRunWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Slide run")
    dock.form.slide_mpp_box.setValue(0.5)
    dock.form.mpp_box.setValue(0.5)
    dock.form.tile_box.setValue(192)
    dock.form.lesions_edit.setText("marker")
    dock.form.budget_box.setCurrentIndex(dock.form.budget_box.findData(16))
    dock.form.tissue_box.setValue(0.5)
    dock.form.folder_edit.setText(str(tmp_path / "dock"))
    yield dock
    dock.stop()
    image.metadata[SLIDE_KEY].close()


@pytest.fixture
def viewer(dock: Any) -> Any:
    return dock._viewer()


@pytest.fixture
def wait(dock: Any, qtbot: Any) -> Callable[[], None]:
    def until_shown() -> None:
        qtbot.waitUntil(lambda: not dock.busy, timeout=20_000)

    return until_shown


def files_of(folder: Path) -> dict[str, Any]:
    """Contents of the result files; of the manifest all but the time."""
    names = ("findings.geojson", "findings.csv", "tiles.csv", "heatmap.ome.tif")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["made"]
    return {"manifest": manifest, **{name: (folder / name).read_bytes() for name in names}}


def layer(viewer: Any, name: str) -> Any:
    (found,) = [layer for layer in viewer.layers if layer.name.startswith(name)]
    return found


def boxes(viewer: Any) -> list[tuple[float, ...]]:
    """(x, y, w, h) of the boxes shown, level-0 pixels."""
    told = []
    for shape in layer(viewer, "lesions").data:
        (y1, x1), (y2, x2) = shape.min(axis=0) + 0.5, shape.max(axis=0) + 0.5
        told.append((x1, y1, x2 - x1, y2 - y1))
    return sorted(told)


def outline(viewer: Any, shown: Any, image: Any) -> Box:
    """Outer edge of a picture layer in level-0 pixels of the image."""
    height, width = shown.data.shape[:2]
    frame, over = LayerFrame.of(shown), LayerFrame.of(image)
    points = over.world_to_slide(frame.data_to_world([(-0.5, -0.5), (height - 0.5, width - 0.5)]))
    return Box.from_corners(*points[0], *points[1])


def pick(dock: Any, viewer: Any, box: Box) -> None:
    """Draw a rectangle on the map, as the user does."""
    from napari_pathreason.viewer import box_to_data

    dock.pick()
    picks_of(viewer, dock.steering.image()).add_rectangles(box_to_data(box))
    dock._show()


def test_the_same_files_as_the_shell(
    dock: Any, wait: Any, slide_file: Path, tmp_path: Path, factory: Any, monkeypatch: Any
) -> None:
    from napari_pathreason.cli import main

    dock.start()
    wait()
    ((_, models),) = factory.made
    monkeypatch.setattr("napari_pathreason.models.load_models", lambda *_: models)
    words = ["detect", str(slide_file), "-o", str(tmp_path / "shell"), "--lesions", "marker"]
    words += ["--slide-mpp", "0.5", "--mpp", "0.5", "--tile", "192", "--budget", "16"]
    assert main([*words, "--min-tissue", "0.5"]) == 0
    assert files_of(tmp_path / "dock" / "slide.png") == files_of(tmp_path / "shell" / "slide.png")


def test_what_a_run_shows(dock: Any, viewer: Any, wait: Any, messages: list[Any]) -> None:
    image = viewer.layers[0]
    viewer.layers.selection.active = image
    assert "192 px a side" in dock.form.note.text()
    dock.start()
    wait()
    assert not messages
    assert np.allclose(boxes(viewer), sorted(MARKERS), atol=3)
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
    assert dock.result.text().startswith("3 marker; ")
    assert viewer.layers.selection.active is image
    assert dock.form.image is image  # the heat map is no slide


def test_hover_says_why(dock: Any, viewer: Any, wait: Any) -> None:
    dock.start()
    wait()
    dock.tabs.setCurrentWidget(dock.map_view)
    assert not layer(viewer, "heat map").visible
    tiles, shown = layer(viewer, "allocation map"), dock.runner.so_far.allocations
    assert tiles.visible
    assert viewer.layers.selection.active is tiles
    skipped = next(t for t in shown.plan.tiles if not t.is_read(0.5))
    told = tiles.get_status(np.array([skipped.row, skipped.column]))["value"]
    assert f"tile: {skipped.index}" in told
    assert "budget: 0" in told
    assert "less than 50 %" in told
    read = tiles.get_status(np.array([0, 0]))["value"]
    assert "budget: 16" in read
    assert "16 visual tokens by the run's budget" in read
    middle = skipped.region.box
    place = (middle.x + middle.w / 2, middle.y + middle.h / 2)
    ((row, column),) = LayerFrame.of(dock.steering.image()).slide_to_world([place])
    dock.steering.hover((row, column))
    assert dock.map_view.hover.text() == shown.told(skipped.index)


def test_a_finished_folder_says_so_and_shows_its_result(
    dock: Any, viewer: Any, wait: Any, factory: Any
) -> None:
    assert dock.start_button.text() == "Start"
    dock.start()
    wait()
    assert dock.start_button.text() == "Resume"
    made = len(factory.made)
    session_of(viewer).close_models()
    dock.start()
    wait()
    assert "Finished before" in dock.progress.label.text()
    assert len(factory.made) == made
    assert len(boxes(viewer)) == len(MARKERS)
    assert len(viewer.layers) == 4


def test_pause_takes_no_further_tile_and_resume_goes_on(
    dock: Any, viewer: Any, wait: Any, qtbot: Any, factory: Any
) -> None:
    factory.behaviour = "gated"
    dock.start()
    qtbot.waitUntil(lambda: bool(factory.made))
    performer = factory.made[0][1].performer
    performer.gate.release(2)
    qtbot.waitUntil(lambda: dock.runner.so_far.changes == 2)
    dock.pause()
    assert dock.pause_button.text() == "Resume"
    assert not dock.session.asking
    performer.gate.release(100)
    qtbot.waitUntil(lambda: dock.runner.so_far.changes == 3)  # it was in hand
    qtbot.wait(300)
    assert dock.runner.so_far.changes == 3
    assert "Paused" in dock.progress.label.text()
    dock.pause()
    assert dock.session.asking
    wait()
    assert "Done" in dock.progress.label.text()
    assert not dock.session.asking


def test_cancel_in_a_pause_and_start_again(
    dock: Any, wait: Any, qtbot: Any, factory: Any, messages: list[Any]
) -> None:
    factory.behaviour = "gated"
    dock.start()
    qtbot.waitUntil(lambda: bool(factory.made))
    performer = factory.made[0][1].performer
    performer.gate.release(3)
    qtbot.waitUntil(lambda: dock.runner.so_far.changes >= 2)
    dock.pause()
    dock.cancel()
    performer.gate.release(1)
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=5000)
    assert "are kept" in dock.progress.label.text()
    qtbot.waitUntil(lambda: dock.runner._worker is None)
    kept = dock.runner.so_far.changes
    performer.gate.release(1000)
    dock.start()
    wait()
    assert "Done" in dock.progress.label.text()
    assert len(performer.seen) <= len(dock.runner.so_far.records) + 1  # one was in hand
    assert kept >= 2
    assert not messages


def test_cancel_of_a_model_that_hears_nothing(
    dock: Any, qtbot: Any, factory: Any, messages: list[Any]
) -> None:
    factory.behaviour = "deaf"
    dock.start()
    qtbot.waitUntil(lambda: bool(factory.made and factory.made[0][1].performer.seen))
    dock.cancel()
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=3000)
    assert "Cancelled" in dock.progress.label.text()
    assert not messages
    qtbot.waitUntil(lambda: dock.runner._worker is None)


def test_a_model_that_fails_is_one_line_and_what_is_done_is_kept(
    dock: Any, wait: Any, factory: Any, messages: list[Any]
) -> None:
    factory.behaviour = "die"
    dock.start()
    wait()
    assert [severity for severity, _ in messages] == ["error"]
    assert "ended unexpectedly" in messages[0][1]
    assert "Failed" in dock.progress.label.text()
    assert dock.start_button.isEnabled()


def test_pinned_banned_and_raised_tiles_are_run_again(
    dock: Any, viewer: Any, wait: Any, factory: Any, tmp_path: Path
) -> None:
    dock.start()
    wait()
    performer = factory.made[0][1].performer
    first, heat = len(performer.seen), layer(viewer, "heat map")
    x, y, w, h = MARKERS[0]
    view = dock.map_view
    pick(dock, viewer, Box(x + w / 2, y + h / 2, 0, 0))  # a click
    assert len(view.picked) == 1
    (clicked,) = view.picked
    view.ban_button.click()
    assert not len(picks_of(viewer, dock.steering.image()).data)
    pick(dock, viewer, Box(300, 200, 10, 10))
    raised = [tile for tile in view.picked if tile != clicked]
    view.raise_button.click()
    pick(dock, viewer, Box(630, 470, 1, 1))
    pinned = view.picked
    view.rung_box.setCurrentIndex(view.rung_box.findData("native"))
    view.pin_button.click()
    wanted = {clicked: 0, **dict.fromkeys(raised, 32), **dict.fromkeys(pinned, "native")}
    assert view.budgets == view.changes == wanted
    assert view.run_button.isEnabled()
    view.run_button.click()
    wait()
    assert len(performer.seen) == first + len(raised) + len(pinned)
    assert layer(viewer, "heat map") is heat  # changed in place
    assert view.changes == {}
    assert view.budgets == wanted
    records = dock.runner.so_far.records
    assert clicked not in records
    assert {records[tile].allocation.budget for tile in raised} == {32}
    told = json.loads((tmp_path / "dock" / "slide.png" / "manifest.json").read_text())
    assert len(told["settings"]["overrides"]) == len(wanted)
    pick(dock, viewer, Box(x + w / 2, y + h / 2, 0, 0))
    view.release_button.click()
    assert set(view.changes.values()) == {None}
    view.run_button.click()
    wait()
    assert clicked in dock.runner.so_far.records
    assert len(performer.seen) == first + len(raised) + len(pinned)  # it had been answered


def test_changes_show_before_they_are_run(dock: Any, viewer: Any, wait: Any) -> None:
    dock.start()
    wait()
    dock.tabs.setCurrentWidget(dock.map_view)
    tiles, shown = layer(viewer, "allocation map"), dock.runner.so_far.allocations
    before = tiles.data.copy()
    pick(dock, viewer, Box(10, 10, 1, 1))
    dock.map_view.ban_button.click()
    wait()
    changed = np.flatnonzero(before != tiles.data)
    assert list(changed) == list(dock.map_view.changes)
    assert tiles.data.ravel()[changed[0]] == shown.labels({int(changed[0]): 0}).ravel()[changed[0]]
    assert "will be 0" in tiles.get_status(np.array([0, 0]))["value"]


def test_a_busy_model_and_wrong_settings_are_one_line_each(
    dock: Any, messages: list[Any], factory: Any
) -> None:
    dock.session.asking = True
    dock.start()
    dock.session.asking = False
    dock.form.lesions_edit.setText(" , ")
    dock.start()
    dock.form.lesions_edit.setText("marker")
    dock.form.folder_edit.setText("")
    dock.start()
    assert [severity for severity, _ in messages] == ["error"] * 3
    assert ["busy" in text or "answering" in text for _, text in messages] == [True, False, False]
    assert not factory.made


def test_other_settings_in_the_folder_are_refused_and_what_was_shown_stays(
    dock: Any, viewer: Any, wait: Any, messages: list[Any], qtbot: Any
) -> None:
    dock.start()
    wait()
    plan = dock.runner.so_far.plan
    dock.form.tile_box.setValue(256)
    dock.start()
    wait()
    assert "tile 192 (now 256)" in messages[0][1]
    assert dock.runner.so_far.plan is plan


def test_a_run_with_other_tiles_takes_the_same_layers(
    dock: Any, viewer: Any, wait: Any, tmp_path: Path
) -> None:
    dock.start()
    wait()
    before, image = list(viewer.layers), dock.steering.image()
    dock.form.tile_box.setValue(128)
    dock.form.folder_edit.setText(str(tmp_path / "other"))
    dock.start()
    wait()
    assert list(viewer.layers) == before
    heat, tiles = layer(viewer, "heat map"), layer(viewer, "allocation map")
    assert tiles.data.shape == dock.runner.so_far.allocations.shape
    assert heat.data.shape == dock.runner.so_far.heat().shape
    for shown in (heat, tiles):
        assert np.allclose(outline(viewer, shown, image).corners, (0, 0, 640, 480))
    assert len(boxes(viewer)) == len(MARKERS)


def test_a_slide_that_is_closed_ends_its_run(
    dock: Any, viewer: Any, qtbot: Any, factory: Any, messages: list[Any]
) -> None:
    factory.behaviour = "slow"
    dock.start()
    qtbot.waitUntil(lambda: bool(factory.made))
    viewer.layers.remove(dock.steering.image())
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=5000)
    assert "was closed" in messages[0][1]


def test_layers_that_the_user_closes_or_changes_stay_so(
    dock: Any, viewer: Any, wait: Any, qtbot: Any, factory: Any, messages: list[Any]
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
    dock: Any, viewer: Any, wait: Any, tmp_path: Path
) -> None:
    from napari_pathreason.exports import read_geojson

    dock.start()
    wait()
    layer(viewer, "lesions").save(str(tmp_path / "a.geojson"), plugin="napari-pathreason")
    found = list(read_geojson(tmp_path / "a.geojson"))
    assert {one.label for one in found} == {"marker"}
    assert {one.metadata["slide"] for one in found} == {"slide.png"}


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
