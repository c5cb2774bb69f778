from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID

Docks = tuple[Any, Any, Any]


@pytest.fixture
def docks(make_dock: Callable[..., tuple[Any, Any]], marked_image: NDArray[np.uint8]) -> Docks:
    from napari_pathreason.widgets import BudgetWidget

    viewer, ask = make_dock()
    budget = BudgetWidget(viewer)
    viewer.window.add_dock_widget(budget, name="Token budget")
    viewer.add_image(marked_image, rgb=True, scale=(0.5, 0.5), name="slide")
    ask.form.region_box.choose("layer")
    ask.form.question_edit.setPlainText("Is it magenta?")
    budget.look()
    return viewer, ask, budget


def test_the_budget_grid_is_shown_before_anything_is_spent(docks: Docks, factory: Any) -> None:
    _, _, dock = docks
    assert [cost.budget for cost in dock.costs] == [*BUDGET_GRID, "native"]
    assert "assumed" in dock.note.text()
    assert dock.table.item(len(BUDGET_GRID), 1).text() == str(19 * 12)
    assert {dock.table.item(row, 5).text() for row in range(dock.table.rowCount())} == {"–"}
    assert not factory.made


def test_click_pins_and_auto_releases(docks: Docks) -> None:
    _, ask, dock = docks
    assert not dock.preview_button.isEnabled()
    dock.table.cellClicked.emit(4, 0)
    assert ask.form.budget_box.value == 64
    assert dock.table.selectionModel().selectedRows()[0].row() == 4
    assert dock.preview_button.isEnabled()
    dock.auto_button.click()
    assert ask.form.budget_box.value == "auto"
    assert not dock.table.selectionModel().selectedRows()


def test_click_on_a_bar_pins(docks: Docks) -> None:
    _, ask, dock = docks
    dock.chart.draw()
    (axes,) = dock.chart.figure.axes  # no probabilities, no second row of bars
    x, y = axes.transData.transform((2, 8))
    from matplotlib.backend_bases import MouseButton, MouseEvent

    event = MouseEvent("button_press_event", dock.chart, x, y, MouseButton.LEFT)
    dock.chart.callbacks.process("button_press_event", event)
    assert ask.form.budget_box.value == 16


def test_seconds_of_past_answers(docks: Docks, finish: Callable[[Any], None]) -> None:
    _, ask, dock = docks
    ask.ask()
    finish(ask)
    dock.look()
    known = [cost.budget for cost in dock.costs if cost.seconds is not None]
    assert known == [64]
    assert "no probabilities" in dock.note.text()
    assert "1 question, 54 visual tokens" in dock.totals.text()
    assert "64 planned, 54 of 228 realised" in dock.totals.text()


def test_preview_lies_over_the_slide(docks: Docks, qtbot: Any) -> None:
    viewer, ask, dock = docks
    slide = ask.form.image_box.image
    dock.pin(16)
    dock.grid_box.setChecked(True)
    for _ in range(2):  # a second one takes the place of the first
        dock.preview()
        qtbot.waitUntil(dock.preview_button.isEnabled)
        assert len(viewer.layers) == 3
    picture, grid = list(viewer.layers)[1:]
    cost = dock.costs[2]
    assert picture.data.shape[:2] == cost.plan.size[::-1]
    height, width = picture.data.shape[:2]
    edge = picture.data_to_world((height - 0.5, width - 0.5))
    assert edge == pytest.approx(slide.data_to_world((399.5, 599.5)))
    assert grid.visible
    dock.grid_box.setChecked(False)
    assert not grid.visible
    assert ask.form.image_box.image is slide
    ask.reset_choices()
    assert ask.form.image_box.image is slide
    assert ask.form.image_box.choices == (slide,)


def test_a_preview_that_cannot_be_read(
    docks: Docks, qtbot: Any, messages: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_pathreason.errors import SlideError

    def broken(*_: Any) -> None:
        raise SlideError("the slide is damaged; copy it again")

    viewer, _, dock = docks
    monkeypatch.setattr("napari_pathreason.slides.Slide.read_region", broken)
    dock.pin(16)
    dock.preview()
    qtbot.waitUntil(dock.preview_button.isEnabled)
    assert messages == [("error", "the slide is damaged; copy it again")]
    assert len(viewer.layers) == 1


def test_history_lists_exports_and_chooses(
    docks: Docks, finish: Callable[[Any], None], messages: list[Any], tmp_path: Path
) -> None:
    viewer, ask, dock = docks
    assert not dock.history.export_button.isEnabled()
    for question in ("Is it magenta?", "Is it green?"):
        ask.form.question_edit.setPlainText(question)
        ask.ask()
        finish(ask)
    table = dock.history.table
    first = [table.item(0, column).text() for column in range(table.columnCount())]
    assert first[1:4] == ["64", "54", "174"]
    assert first[5:] == ["Is it magenta?", "yes (uncertain)"]
    tip = table.item(0, 5).toolTip().splitlines()
    assert tip[0] == "Question: Is it magenta? \N{RIGHTWARDS ARROW} yes (uncertain)"
    assert tip[1].startswith("Uncertain: this model does not say what it was trained on")
    assert not table.item(0, 0).icon().isNull()
    dock.history.export(str(tmp_path / "a.csv"))
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert len(lines) == 3
    assert messages == [("info", "a.csv was saved.")]
    assert "Is it green?" in ask.answer.toPlainText()
    table.cellClicked.emit(0, 5)
    assert "Is it magenta?" in ask.answer.toPlainText()
    assert ask.history.currentRow() == 0
    assert viewer.layers.selection.active.name.startswith("answers")
    dock.history.export(str(tmp_path / "none" / "b.csv"))
    assert "b.csv cannot be written" in messages[-1][1]
    assert str(tmp_path) not in messages[-1][1]


def test_history_without_an_ask_dock(docks: Docks, finish: Callable[[Any], None]) -> None:
    viewer, ask, dock = docks
    ask.ask()
    finish(ask)
    ask.close()
    dock.history.table.cellClicked.emit(0, 3)
    assert viewer.layers.selection.active.selected_data == {0}


def test_the_budget_grid_waits_until_the_view_holds_still(docks: Docks) -> None:
    viewer, ask, dock = docks
    ask.form.region_box.choose("view")
    dock.look()
    before = [cost.plan.native for cost in dock.costs]
    for zoom in (4, 6, 8):
        viewer.scene.camera.zoom = zoom
        dock.look()
        assert [cost.plan.native for cost in dock.costs] == before
    dock.look()
    assert [cost.plan.native for cost in dock.costs] < before
