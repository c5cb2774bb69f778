"""Keyboard shortcuts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QApplication

from napari_pathreason.viewer import session_of
from napari_pathreason.widgets import ALL, BudgetWidget, SlideRunWidget

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]


def activate(window: Any, qtbot: Any) -> None:
    """Make it the active window; on some platforms, a window that napari closes leaves none so."""
    window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is window, timeout=5000)


@pytest.fixture
def shown(make_dock: Make, qtbot: Any, marked_image: NDArray[Any]) -> tuple[Any, Any, Any]:
    """Window on the screen with an image and both docks, the keyboard in the question."""
    viewer, dock = make_dock(show=True)
    viewer.add_image(marked_image, rgb=True)
    budget = BudgetWidget(viewer)
    viewer.window.add_dock_widget(budget, name="Token budget")
    dock.form.region_box.choose("layer")
    dock.form.question_edit.setPlainText("Is it magenta?")
    activate(dock.window(), qtbot)
    dock.form.question_edit.setFocus()
    qtbot.waitUntil(dock.form.question_edit.hasFocus, timeout=5000)
    return viewer, dock, budget


def test_ctrl_enter_in_the_question_asks(shown: Any, finish: Wait, qtbot: Any) -> None:
    _, dock, _ = shown
    for key in (Qt.Key_Return, Qt.Key_Enter):
        qtbot.keyClick(dock.form.question_edit, key, Qt.ControlModifier)
        assert dock.busy
        finish(dock)
    assert len(dock.session.entries) == 2
    assert dock.form.question_edit.toPlainText() == "Is it magenta?"  # no line was broken


def test_escape_cancels_and_is_napari_s_otherwise(
    shown: Any, factory: Any, finish: Wait, qtbot: Any
) -> None:
    _, dock, _ = shown
    assert not any(key.isEnabled() for key in dock._escape)
    factory.behaviour = "slow"
    dock.ask()
    qtbot.keyClick(dock.form.question_edit, Qt.Key_Escape)
    finish(dock)
    assert dock.session.entries == []
    assert "Cancelled." in dock.answer.toPlainText()
    assert not any(key.isEnabled() for key in dock._escape)


def test_budgets_are_pinned_one_by_one(shown: Any, qtbot: Any) -> None:
    _, dock, budget = shown
    window = budget.window()
    seen = []
    for key in (Qt.Key_Left, Qt.Key_Right, Qt.Key_Right, Qt.Key_Left):
        qtbot.keyClick(window, key, Qt.AltModifier)
        seen.append(dock.form.budget_box.value)
    assert seen == ["auto", 4, 8, 4]
    dock.form.budget_box.choose("native")
    qtbot.keyClick(window, Qt.Key_Right, Qt.AltModifier)
    assert dock.form.budget_box.value == "native"


def test_preview_and_grid(shown: Any, qtbot: Any) -> None:
    viewer, _, budget = shown
    both = Qt.ControlModifier | Qt.ShiftModifier
    qtbot.keyClick(budget.window(), Qt.Key_V, both)
    assert len(viewer.layers) == 1  # no budget is pinned yet
    budget.pin(64)
    qtbot.keyClick(budget.window(), Qt.Key_V, both)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=10_000)
    grid = viewer.layers[-1]
    assert not grid.visible
    activate(budget.window(), qtbot)
    qtbot.keyClick(budget.window(), Qt.Key_G, both)
    assert grid.visible


def test_in_compare_they_compare(shown: Any, qtbot: Any, finish: Wait) -> None:
    _, dock, budget = shown
    budget.tabs.setCurrentWidget(budget.compare)
    button = budget.compare.boxes[16]
    button.setFocus()
    qtbot.keyClick(button, Qt.Key_Return, Qt.ControlModifier)
    assert budget.compare.runner.running
    qtbot.waitUntil(lambda: not budget.compare.runner.running, timeout=20_000)
    assert len(dock.session.entries) == 2


@pytest.fixture
def slide_dock(
    make_napari_viewer_proxy: Make,
    factory: Any,
    messages: list[Any],
    marked_image: NDArray[Any],
    tmp_path: Any,
    qtbot: Any,
) -> Iterator[Any]:
    """Slide run dock on the screen, the keyboard in one of its fields."""
    viewer = make_napari_viewer_proxy(show=True)
    session = session_of(viewer)
    session.models_factory, session.describe = factory, lambda model_id: None
    viewer.add_image(marked_image, rgb=True, scale=(0.5, 0.5), units="um")
    dock = SlideRunWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Slide run")
    dock.form.mpp_box.setValue(0.5)
    dock.form.tile_box.setValue(192)
    dock.form.options_edit.setText("marker")
    dock.form.tissue_box.setValue(0)
    dock.form.folder_edit.setText(str(tmp_path))
    activate(dock.window(), qtbot)
    dock.form.options_edit.setFocus()
    qtbot.waitUntil(dock.form.options_edit.hasFocus, timeout=5000)
    yield dock
    dock.stop()


def test_a_slide_run_by_keys(slide_dock: Any, factory: Any, qtbot: Any) -> None:
    dock, field = slide_dock, slide_dock.form.options_edit
    both = Qt.ControlModifier | Qt.ShiftModifier
    factory.behaviour = "gated"
    assert not any(key.isEnabled() for key in dock._escape)
    qtbot.keyClick(field, Qt.Key_Return, Qt.ControlModifier)
    assert dock.runner.running
    qtbot.keyClick(dock.window(), Qt.Key_Space, both)
    assert dock.runner.paused
    qtbot.keyClick(dock.window(), Qt.Key_Space, both)
    assert dock.runner.running
    assert not dock.runner.paused
    qtbot.keyClick(field, Qt.Key_Escape)
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=5000)
    assert "Cancelled" in dock.progress.label.text()
    assert not any(key.isEnabled() for key in dock._escape)


def test_tiles_are_picked_and_run_again_by_keys(
    slide_dock: Any, factory: Any, finish: Wait, qtbot: Any
) -> None:
    dock = slide_dock
    dock.start()
    finish(dock)
    dock.tabs.setCurrentWidget(dock.map_view)
    qtbot.keyClick(dock.window(), Qt.Key_K, Qt.ControlModifier | Qt.ShiftModifier)
    picks = dock._viewer().layers.selection.active
    assert picks.mode == "add_rectangle"
    dock.map_view.pick([0])
    dock.map_view.refresh(False)
    dock.map_view.buttons.ban.click()
    dock.map_view.run_button.setFocus()
    qtbot.waitUntil(dock.map_view.run_button.hasFocus, timeout=5000)
    qtbot.keyClick(dock.map_view.run_button, Qt.Key_Return, Qt.ControlModifier)
    assert dock.runner.running
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=20_000)
    assert [one.tile for one in dock.runner.so_far.plan.settings.overrides] == [0]


def test_deleted_answers_come_back(shown: Any, finish: Wait, qtbot: Any) -> None:
    """Ctrl+Z on the canvas, as the layer's own key."""
    viewer, dock, _ = shown
    dock.ask()
    finish(dock)
    overlay = viewer.layers[-1]
    viewer.layers.selection.active = overlay
    before = [points.tolist() for points in overlay.data]
    overlay.selected_data = set(range(overlay.nshapes))
    overlay.remove_selected()
    canvas = viewer.window._qt_window._qt_viewer.canvas.native
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key_Z, Qt.ControlModifier)
    assert [points.tolist() for points in overlay.data] == before
    assert overlay.features["label"].tolist() == ["region"]


def test_a_closed_dock_hears_no_key(shown: Any, qtbot: Any) -> None:
    viewer, dock, budget = shown
    window = budget.window()
    qtbot.keyClick(window, Qt.Key_Right, Qt.AltModifier)
    assert dock.form.budget_box.value == 4
    viewer.window.remove_dock_widget(budget)
    qtbot.keyClick(window, Qt.Key_Right, Qt.AltModifier)
    assert dock.form.budget_box.value == 4


def test_tips_name_the_keys(shown: Any) -> None:
    viewer, dock, budget = shown
    slide = SlideRunWidget(viewer)
    assert slide.start_button.toolTip().endswith("(Ctrl+Return)")
    assert slide.pause_button.toolTip().endswith("(Ctrl+Shift+Space)")
    slide.form.changed.emit()  # what Start would do is looked at anew
    assert slide.start_button.toolTip().count("Ctrl") == 1
    slide.deleteLater()
    assert dock.ask_button.toolTip().endswith("(Ctrl+Return)")
    assert dock.cancel_button.toolTip().endswith("(Esc)")
    assert budget.preview_button.toolTip().endswith("(Ctrl+Shift+V)")
    assert budget.table.toolTip().endswith("(Alt+Left, Alt+Right)")


def test_no_key_is_napari_s_own(shown: Any) -> None:
    """Esc is shared: ours only in the dock, and only while a question runs."""
    from napari._app_model import get_app_model
    from napari.utils.shortcuts import default_shortcuts
    from qtpy.QtGui import QAction, QShortcut

    viewer, dock, budget = shown
    taken = {str(key) for keys in default_shortcuts.values() for key in keys}
    taken |= {str(rule.keybinding) for rule in get_app_model().keybindings}
    taken |= {str(key) for provider in (viewer, *viewer.layers) for key in provider.keymap}
    window = dock.window()
    native = {key.toString() for act in window.findChildren(QAction) for key in act.shortcuts()}
    own = {id(key) for widget in (dock, budget) for key in widget.findChildren(QShortcut)}
    native |= {key.key().toString() for key in window.findChildren(QShortcut) if id(key) not in own}
    assert "Ctrl+Shift+P" in taken | native  # the search for taken keys does find some
    assert len(taken) > 50
    names = {QKeySequence(key.replace("Meta", "Ctrl")).toString() for key in taken} | native
    assert not {QKeySequence(key).toString() for key in ALL if key != "Esc"} & names
