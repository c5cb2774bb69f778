"""What is changed between two runs: tiles pinned, banned or raised, and other settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from napari_pathreason.geometry import Box
from napari_pathreason.viewer import PICKED_TILES, picks_of


def pick(dock: Any, viewer: Any, box: Box) -> None:
    """Draw a rectangle on the map, as the user does."""
    from napari_pathreason.viewer import box_to_data

    dock.pick()
    picks_of(viewer, dock.tile_selection.image(), PICKED_TILES).add_rectangles(box_to_data(box))
    dock._show()


def test_pinned_banned_and_raised_tiles_are_run_again(
    dock: Any, viewer: Any, wait: Any, factory: Any, tmp_path: Path, markers: Any, layer: Any
) -> None:
    dock.start()
    wait()
    performer = factory.made[0][1].performer
    first, heat = len(performer.seen), layer(viewer, "heat map")
    x, y, w, h = markers[0]
    view = dock.map_view
    pick(dock, viewer, Box(x + w / 2, y + h / 2, 0, 0))  # a click
    assert len(view.picked) == 1
    (clicked,) = view.picked
    view.buttons.ban.click()
    assert not len(picks_of(viewer, dock.tile_selection.image(), PICKED_TILES).data)
    pick(dock, viewer, Box(300, 200, 10, 10))
    raised = [tile for tile in view.picked if tile != clicked]
    view.buttons.higher.click()
    pick(dock, viewer, Box(630, 470, 1, 1))
    pinned = view.picked
    view.budget_box.setCurrentIndex(view.budget_box.findData("native"))
    view.buttons.pin.click()
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
    manifest = json.loads((tmp_path / "dock" / "slide.tif" / "manifest.json").read_text())
    assert len(manifest["settings"]["overrides"]) == len(wanted)
    pick(dock, viewer, Box(x + w / 2, y + h / 2, 0, 0))
    view.buttons.release.click()
    assert set(view.changes.values()) == {None}
    view.run_button.click()
    wait()
    assert clicked in dock.runner.so_far.records
    assert len(performer.seen) == first + len(raised) + len(pinned)  # it had been answered


def test_changes_show_before_they_are_run(dock: Any, viewer: Any, wait: Any, layer: Any) -> None:
    dock.start()
    wait()
    dock.tabs.setCurrentWidget(dock.map_view)
    tiles, shown = layer(viewer, "allocation map"), dock.runner.so_far.allocations
    before = tiles.data.copy()
    pick(dock, viewer, Box(10, 10, 1, 1))
    dock.map_view.buttons.ban.click()
    wait()
    changed = np.flatnonzero(before != tiles.data)
    assert list(changed) == list(dock.map_view.changes)
    assert tiles.data.ravel()[changed[0]] == shown.labels({int(changed[0]): 0}).ravel()[changed[0]]
    assert "will be 0" in tiles.get_status(np.array([0, 0]))["value"]


def test_other_settings_in_the_folder_are_refused_and_what_was_shown_stays(
    dock: Any, viewer: Any, wait: Any, messages: list[Any], qtbot: Any
) -> None:
    dock.start()
    wait()
    plan = dock.runner.so_far.plan
    dock.form.tile_box.setValue(256)
    dock.start()
    wait()
    assert "tile 192 (now 256)" in dock.result.text()
    assert messages == []  # a hint, no error box
    assert dock.runner.so_far.plan is plan


def test_a_run_with_other_tiles_takes_the_same_layers(
    dock: Any,
    viewer: Any,
    wait: Any,
    tmp_path: Path,
    markers: Any,
    layer: Any,
    boxes: Any,
    outline: Any,
) -> None:
    dock.start()
    wait()
    before, image = list(viewer.layers), dock.tile_selection.image()
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
    assert len(boxes(viewer)) == len(markers)
