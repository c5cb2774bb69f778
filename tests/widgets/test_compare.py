"""Compare: one question at several budgets, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication

from napari_pathreason.engine import result_to_dict
from napari_pathreason.viewer import BUDGET_COLORS, is_overlay

Docks = tuple[Any, Any, Any]


@pytest.fixture
def docks(make_dock: Callable[..., tuple[Any, Any]], marked_image: NDArray[np.uint8]) -> Docks:
    from napari_pathreason.widgets import BudgetWidget

    viewer, ask = make_dock()
    budget = BudgetWidget(viewer)
    viewer.window.add_dock_widget(budget, name="Token budget")
    viewer.add_image(marked_image, rgb=True, scale=(0.5, 0.5), name="slide")
    ask.form.task_box.choose("detection")
    ask.form.options_edit.setText("marker")
    ask.form.region_box.choose("layer")
    return viewer, ask, budget.compare


def check(view: Any, *budgets: Any) -> None:
    for budget, box in view.boxes.items():
        box.setChecked(budget in budgets)


def wait(view: Any, qtbot: Any) -> None:
    qtbot.waitUntil(view.compare_button.isEnabled, timeout=20_000)


def test_budgets_side_by_side(docks: Docks, qtbot: Any, factory: Any) -> None:
    viewer, ask, view = docks
    check(view, 64, "native")
    for _ in range(2):  # the second comparison takes the place of the first
        view.compare()
        wait(view, qtbot)
        layers = [layer for layer in viewer.layers if is_overlay(layer)]
        assert [layer.name for layer in layers] == ["compared: slide"]
    (layer,) = layers
    wanted = [BUDGET_COLORS[0], BUDGET_COLORS[0], BUDGET_COLORS[1]]
    assert layer.edge_color == pytest.approx(np.vstack([transform_color(c) for c in wanted]))
    assert layer.features["label"].tolist() == ["region", "marker", "marker"]
    assert layer.features["caption"].tolist() == ["", "64: marker?", "native: marker?"]
    assert layer.data_to_world((0, 0)) == pytest.approx((0, 0))
    for box in layer.data[1:]:
        assert box.min(axis=0)[::-1] + 0.5 == pytest.approx((320, 160), abs=12)  # 54 are coarse
    table = view.table
    assert [table.item(row, 0).text() for row in range(2)] == ["64", "native"]
    assert table.item(0, 1).data(Qt.AccessibleTextRole).startswith("Uncertain: ")
    tip = table.item(0, 1).toolTip()
    assert "does not say what it was trained on" in tip
    assert "magenta" in tip
    assert [table.item(row, 4).text() for row in range(2)] == ["70", "228"]  # a zoom at 54
    assert len(factory.made) == 1  # the model is loaded once
    assert len(ask.session.entries) == 4
    table.cellClicked.emit(1, 1)
    assert ask.history.currentRow() == 3


def test_the_answer_that_is_shown_stays_and_is_what_is_saved_and_copied(
    docks: Docks, qtbot: Any, finish: Callable[[Any], None]
) -> None:
    _, ask, view = docks
    ask.ask()
    finish(ask)
    check(view, 64, "native")
    view.compare()
    wait(view, qtbot)
    assert len(ask.session.entries) == 3
    assert ask.session.inquiry.shown.id == 1
    assert ask.history.currentRow() == 0
    ask.copy_json()
    copied = json.loads(QGuiApplication.clipboard().text())
    assert copied == json.loads(json.dumps(result_to_dict(ask.session.entries[0].result)))


def test_layers_that_the_user_worked_on_stay(docks: Docks, qtbot: Any) -> None:
    viewer, _, view = docks
    check(view, 64, "native")
    view.compare()
    wait(view, qtbot)
    (kept,) = (layer for layer in viewer.layers if is_overlay(layer))
    kept.add_rectangles([[(10, 10), (10, 50), (50, 50), (50, 10)]])
    view.compare()
    wait(view, qtbot)
    assert kept in viewer.layers
    assert kept.nshapes == 4
    assert len([layer for layer in viewer.layers if is_overlay(layer)]) == 2


def test_cancel_keeps_what_is_answered(docks: Docks, qtbot: Any, factory: Any) -> None:
    viewer, ask, view = docks
    factory.behaviour = "slow"
    check(view, 4, 16, 64)
    view.compare()
    qtbot.waitUntil(lambda: "Writing" in view.progress.label.text())
    assert ask.session.asking
    view.cancel()
    wait(view, qtbot)
    assert not ask.session.asking
    assert view.table.rowCount() == 0
    assert not ask.session.entries
    assert [layer.name for layer in viewer.layers] == ["slide"]


def test_one_question_at_a_time(
    docks: Docks, qtbot: Any, factory: Any, messages: list[Any], finish: Callable[[Any], None]
) -> None:
    _, ask, view = docks
    factory.behaviour = "slow"
    ask.ask()
    view.compare()
    assert messages[-1][0] == "info"
    assert "The model is busy" in messages[-1][1]
    ask.cancel()
    finish(ask)
    view.compare()
    ask.ask()
    assert "The model is busy" in ask.answer.toPlainText()
    assert not ask.runner.running
    view.cancel()
    wait(view, qtbot)


def test_a_failure_ends_the_comparison(
    docks: Docks, qtbot: Any, factory: Any, messages: list[Any]
) -> None:
    _, ask, view = docks
    factory.behaviour = "die"
    view.compare()
    wait(view, qtbot)
    ((severity, text),) = messages
    assert severity == "error"
    assert "ask again" in text
    assert not ask.session.asking


def test_two_budgets_are_needed(docks: Docks) -> None:
    _, _, view = docks
    check(view, 64)
    assert not view.compare_button.isEnabled()
