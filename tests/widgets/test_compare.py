"""Compare: one question at several budgets, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray

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
        assert [layer.name for layer in layers] == [
            "compared, 64: slide",
            "compared, native: slide",
        ]
    for layer, color in zip(layers, BUDGET_COLORS, strict=False):
        assert layer.edge_color == pytest.approx(np.repeat(transform_color(color), 2, axis=0))
        assert layer.features["label"].tolist() == ["region", "marker"]
        assert layer.data_to_world((0, 0)) == pytest.approx((0, 0))
        x1, y1 = layer.data[1].min(axis=0)[::-1] + 0.5
        assert (x1, y1) == pytest.approx((320, 160), abs=12)  # a budget of 54 tokens is coarse
    table = view.table
    assert [table.horizontalHeaderItem(i).text() for i in range(2)] == ["64", "native"]
    assert table.item(0, 0).text() == "Uncertain"
    assert "does not say what it was trained on" in table.item(0, 0).toolTip()
    assert "magenta" in table.item(2, 0).text()
    assert [table.item(5, i).text() for i in range(2)] == ["70", "228"]  # a zoom at 54
    assert len(factory.made) == 1  # the model is loaded once
    assert len(ask.session.entries) == 4
    table.cellClicked.emit(0, 1)
    assert ask.history.currentRow() == 3


def test_layers_that_the_user_worked_on_stay(docks: Docks, qtbot: Any) -> None:
    viewer, _, view = docks
    check(view, 64, "native")
    view.compare()
    wait(view, qtbot)
    kept, replaced = (layer for layer in viewer.layers if is_overlay(layer))
    kept.add_rectangles([[(10, 10), (10, 50), (50, 50), (50, 10)]])
    view.compare()
    wait(view, qtbot)
    assert kept in viewer.layers
    assert kept.nshapes == 3
    assert replaced not in viewer.layers
    assert len([layer for layer in viewer.layers if is_overlay(layer)]) == 3


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
    assert view.table.columnCount() == 0
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
    assert "A question is running" in messages[-1][1]
    ask.cancel()
    finish(ask)
    view.compare()
    ask.ask()
    assert "The model is at a comparison" in ask.answer.toPlainText()
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
