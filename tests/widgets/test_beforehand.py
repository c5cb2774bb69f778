"""What the docks tell before a question is asked: what the model can answer, and what it costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import Qt

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
    assert (form.draft().query, line.words) == (ASKED, "Trained on questions like this.")
    words = wait_settled(dock, qtbot, lambda: form.question_edit.setPlainText("What is this?"))
    assert words.startswith("The question names nothing that the model was trained on.")
    line.linkActivated.emit("1")
    assert form.draft().query == FIND
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
    assert dock.form.draft().query == FIND
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


def test_the_form_offers_no_larger_budget_than_replies_hold_at(docked: Any) -> None:
    _, dock = docked
    box = dock.form.budget_box
    assert offered(box) == ["auto", *(cost for cost in BUDGET_GRID if cost <= 64)]
    tips = {box.itemData(i): box.itemData(i, Qt.ToolTipRole) for i in range(box.count())}
    assert tips[128] == "more than the 64 up to which this model's replies hold"
    assert tips["native"].startswith("native size is 228 visual tokens, more than the 64")
    box.choose(1024)
    box.choose("native")
    assert dock.form.budget_box.value == "auto"


def test_native_size_is_offered_for_a_region_that_is_small_enough(
    docked: Any, finish: Wait, messages: list[Any]
) -> None:
    viewer, dock = docked
    viewer.add_image(np.full((200, 200, 3), 90, np.uint8), rgb=True, name="small")
    dock.look()
    box = dock.form.budget_box
    assert dock.form.image_box.image.name == "small"
    assert offered(box)[-1] == "native"
    box.choose("native")
    dock.form.image_box.image = viewer.layers["slide"].__wrapped__
    dock.look()
    assert box.value == "native"  # as chosen, but it is said that it cannot be asked
    assert "Native size is 228 visual tokens, more than the 64" in dock.form.region_note.text()
    dock.form.fill(ASKED)
    dock.ask()
    finish(dock)
    assert "visual tokens in 1 window" in dock.answer.toPlainText()  # the others show glass
    assert not messages


def test_a_budget_that_another_model_does_not_hold_at_gives_way(docked: Any) -> None:
    _, dock = docked
    dock.form.model_box.model_id = "some/body"
    dock.form.settled.emit()
    dock.form.budget_box.choose(1024)
    assert dock.form.budget_box.value == 1024
    dock.form.model_box.model_id = "embedded"
    dock.form.settled.emit()
    assert dock.form.budget_box.value == 64


def test_the_token_budget_dock_offers_the_same(docked: Any) -> None:
    from napari_pathreason.widgets import BudgetWidget

    viewer, ask = docked
    dock = BudgetWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Token budget")
    dock.look()
    refused = [cost.budget for cost in dock.costs if cost.refused]
    assert refused == [*(cost for cost in BUDGET_GRID if cost > 64), "native"]
    last = len(BUDGET_GRID)
    assert dock.table.item(last, 0).flags() == Qt.NoItemFlags
    assert "native size is 228" in dock.table.item(last, 0).toolTip()
    for row in (last, BUDGET_GRID.index(128)):
        dock.table.cellClicked.emit(row, 0)
        assert ask.form.budget_box.value == "auto"
    dock.pin(64)
    dock.step(1)
    assert ask.form.budget_box.value == 64  # there is none above it
    assert dock.preview_button.isEnabled()
    assert [b for b, box in dock.compare.boxes.items() if not box.isEnabled()] == refused
    assert "more than the 64" in dock.compare.boxes[256].toolTip()
    assert dock.compare.checked == [16]  # 256 was checked to begin with
    dock.chart.draw()
    (axes,) = dock.chart.figure.axes
    filled = [bar.get_facecolor()[3] > 0 for bar in axes.patches]
    assert filled == [cost.budget not in refused for cost in dock.costs]


def test_the_slide_run_dock_tells_the_same(docked: Any, qtbot: Any, messages: list[Any]) -> None:
    from napari_pathreason.widgets import SlideRunWidget

    viewer, _ = docked
    dock = SlideRunWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Slide run")
    form = dock.form
    with qtbot.waitSignal(form.settled, timeout=5000):
        form.lesions_edit.setText("mitosis")
    assert form.outlook_line.words == "Cannot look for mitosis."
    form.outlook_line.linkActivated.emit("0")
    assert form.lesions_edit.text() == "marker"
    assert form.outlook_line.words == "Trained on questions like this."
    form.tile_box.setValue(256)
    assert offered(form.budget_box) == ["auto", *(r for r in BUDGET_GRID if r <= 64), "native"]
    form.tile_box.setValue(384)
    assert "native" not in offered(form.budget_box)
