"""What the docks tell before a question is asked: what the model can answer, and what it costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.types import Calibration, Metadata, ModelInfo, Query, Topic
from napari_pathreason.viewer import Session

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]
ASKED = Query("vqa", "Is it magenta?", ("yes", "no"))
FIND = Query("detection", "", ("marker",))
METADATA = Metadata(
    topics=(
        Topic("presence", "yes/no", frozenset({"magenta"}), ASKED),
        Topic("markers", "boxes", frozenset({"marker"}), FIND),
    ),
    labels=("marker",),
    max_visual_tokens=64,
)


@pytest.fixture
def info(factory: Any) -> ModelInfo:
    factory.info = replace(factory.info, calibration=Calibration(), metadata=METADATA)
    return factory.info


@pytest.fixture
def docked(make_dock: Make, info: ModelInfo, marked_image: NDArray[np.uint8]) -> tuple[Any, Any]:
    viewer, dock = make_dock(show=True)
    dock.session.describe = lambda model_id: info if model_id == "embedded" else None
    viewer.add_image(marked_image, rgb=True, name="slide")
    dock.form.region_box.choose("layer")
    dock.form.settled.emit()
    return viewer, dock


def wait_settled(dock: Any, qtbot: Any, change: Callable[[], None]) -> str:
    """What the line says once the user has stopped typing."""
    with qtbot.waitSignal(dock.form.settled, timeout=5000):
        change()
    return str(dock.form.outlook_line.words)


def test_a_line_tells_while_one_types_and_a_click_fills_the_form(
    docked: Any, qtbot: Any, factory: Any
) -> None:
    _, dock = docked
    form, line = dock.form, dock.form.outlook_line
    assert line.words == ""
    assert "Is it magenta?" in line.text()
    words = wait_settled(dock, qtbot, lambda: form.question_edit.setPlainText("Is there necrosis?"))
    assert words == "Not trained on: necrosis. An answer would be a guess."
    assert not line.isHidden()
    assert line.examples == (ASKED, FIND)
    line.linkActivated.emit("0")
    assert (dock.session.inquiry.resolve().query, line.words) == (
        ASKED,
        "Trained on questions like this.",
    )
    words = wait_settled(dock, qtbot, lambda: form.question_edit.setPlainText("What is this?"))
    assert words.startswith("The question names nothing that the model was trained on.")
    line.linkActivated.emit("1")
    assert dock.session.inquiry.resolve().query == FIND
    assert line.words == "Trained on questions like this."
    assert not factory.made  # nothing was loaded for it


def test_words_that_are_still_being_typed_are_not_judged(docked: Any, qtbot: Any) -> None:
    _, dock = docked
    form = dock.form
    for end in range(1, len("Is there necrosis?")):
        form.question_edit.setPlainText("Is there necrosis?"[:end])
    assert form.outlook_line.words == ""
    qtbot.waitUntil(lambda: "necrosi" in form.outlook_line.words, timeout=5000)


def test_labels_that_the_model_cannot_look_for_are_told_and_refused(
    docked: Any, finish: Wait, messages: list[Any], factory: Any
) -> None:
    _, dock = docked
    dock.form.fill(Query("detection", "", ("mitosis",)))
    line = dock.form.outlook_line
    assert line.words == "Cannot look for mitosis."
    assert "It can look for: " in line.text()
    dock.ask()
    finish(dock)
    refused = "Cannot look for mitosis; it can look for: marker."
    assert dock.answer.toPlainText() == refused
    assert not messages
    assert not factory.made  # no model is loaded to say so
    assert not dock.session.entries
    line.linkActivated.emit("0")
    assert dock.session.inquiry.resolve().query == FIND
    dock.ask()
    finish(dock)
    assert dock.session.entries[0].result.answer.text == "1 marker"


def test_what_a_hub_model_says_is_known_once_it_is_loaded(
    docked: Any, finish: Wait, messages: list[Any]
) -> None:
    _, dock = docked
    dock.form.model_box.model_id = "some/body"
    dock.form.fill(Query("detection", "", ("mitosis",)))
    assert dock.form.outlook_line.words.startswith("What this model was trained on is known once")
    dock.ask()  # is refused, by a model that was loaded for it
    finish(dock)
    assert dock.form.outlook_line.words == "Cannot look for mitosis."
    assert "Cannot look for mitosis; it can look for: marker." in dock.answer.toPlainText()
    assert not messages


def test_the_embedded_models_own_words_are_read_without_torch(
    make_dock: Make, marked_image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would fail
    viewer, dock = make_dock()
    dock.session.describe = Session().describe
    viewer.add_image(marked_image, rgb=True)
    dock.form.fill(Query("vqa", "Is there necrosis?", ("yes", "no")))
    info = dock.session.info_of("embedded")
    assert info is not None
    assert info.metadata is not None
    assert dock.form.outlook_line.words.startswith("Not trained on: necrosis.")


def offered(box: Any) -> list[Any]:
    return [box.itemData(i) for i in range(box.count()) if box.model().item(i).isEnabled()]


def test_a_larger_budget_than_one_picture_holds_becomes_windows(
    docked: Any, finish: Wait, messages: list[Any]
) -> None:
    viewer, dock = docked
    viewer.layers["slide"].data[...] = (230, 170, 200)  # tissue
    box = dock.form.budget_box
    assert offered(box) == [box.itemData(place) for place in range(box.count())]
    dock.form.fill(ASKED)
    box.choose(64)
    dock.look()
    assert "Read as windows" not in dock.form.region_note.text()
    box.choose(128)
    dock.look()
    assert "Read as windows." in dock.form.region_note.text()
    dock.ask()
    finish(dock)
    result = dock.session.entries[0].result
    windows = [view for view in result.views.views if view.role == "window"]
    assert len(windows) > 1
    assert max(view.tokens for view in windows) <= 64
    assert not messages


def test_the_token_budget_dock_says_which_budgets_become_windows(docked: Any) -> None:
    from napari_pathreason.widgets import BudgetWidget

    viewer, ask = docked
    dock = BudgetWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Token budget")
    dock.look()
    more = [cost.budget for cost in dock.costs if cost.windows]
    assert more == [*(cost for cost in BUDGET_GRID if cost > 64), "native"]
    last = len(BUDGET_GRID)
    assert "read as windows" in dock.table.item(last, 0).toolTip()
    assert dock.table.item(BUDGET_GRID.index(64), 0).toolTip() == ""
    assert "More than the 64" in dock.compare.boxes[256].toolTip()
    assert dock.compare.checked == [16, 256]
    dock.chart.draw()
    (axes,) = dock.chart.figure.axes
    filled = [bar.get_facecolor()[3] > 0 for bar in axes.patches]
    assert filled == [cost.budget not in more for cost in dock.costs]
    assert dock.pages.currentWidget() is dock.grid
    dock.table.cellClicked.emit(BUDGET_GRID.index(128), 0)
    assert ask.form.budget_box.value == 128
    assert dock.pages.currentWidget() is dock.views
    dock.pin(64)
    assert dock.pages.currentWidget() is dock.grid
    assert dock.preview_button.isEnabled()


def test_the_slide_run_dock_tells_the_same(docked: Any, qtbot: Any, messages: list[Any]) -> None:
    from napari_pathreason.widgets import SlideRunWidget

    viewer, _ = docked
    dock = SlideRunWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Slide run")
    form = dock.form
    with qtbot.waitSignal(form.settled, timeout=5000):
        form.options_edit.setText("mitosis")
    assert form.outlook_line.words == "Cannot look for mitosis."
    form.outlook_line.linkActivated.emit("0")
    assert form.options_edit.text() == "marker"
    assert form.outlook_line.words == "Trained on questions like this."
    form.tile_box.setValue(256)
    assert offered(form.budget_box) == ["auto", *(r for r in BUDGET_GRID if r <= 64), "native"]
    form.tile_box.setValue(384)
    assert "native" not in offered(form.budget_box)
