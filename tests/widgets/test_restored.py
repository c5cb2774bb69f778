"""Docks that are opened again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_pathreason.viewer import Session
from napari_pathreason.widgets import AskWidget, BudgetWidget

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]


def change(dock: Any, budget: Any) -> None:
    form = dock.form
    form.task_box.choose("subtyping")
    form.question_edit.setPlainText("Which of them?\nReally")
    form.options_edit.setText("a, b")
    form.region_box.choose("view")
    form.budget_box.choose(128)
    form.model_box.model_id = "nobody/model"
    budget.tabs.setCurrentWidget(budget.history)
    budget.grid_box.setChecked(True)
    budget.compare.check([4, "native"])


def check(dock: Any, budget: Any) -> None:
    form = dock.form
    assert form.task_box.value == "subtyping"
    assert form.question_edit.toPlainText() == "Which of them?\nReally"
    draft = dock.session.inquiry.resolve()
    assert draft.query.options == ("a", "b")
    assert (draft.source, draft.budget, draft.model_id) == ("view", 128, "nobody/model")
    assert budget.tabs.currentWidget() is budget.history
    assert budget.grid_box.isChecked()
    assert budget.compare.checked == [4, "native"]


def open_budget(viewer: Any, session: Any = None) -> Any:
    budget = BudgetWidget(viewer, session)
    viewer.window.add_dock_widget(budget, name="Token budget")
    return budget


def test_in_the_same_session_and_in_the_next(make_dock: Make, config_folder: Path) -> None:
    viewer, dock = make_dock()
    budget = open_budget(viewer)
    change(dock, budget)
    viewer.window.remove_dock_widget(dock)
    viewer.window.remove_dock_widget(budget)
    again = AskWidget(viewer)
    viewer.window.add_dock_widget(again, name="Ask")
    check(again, open_budget(viewer))
    next_session = Session()  # reads what another process left
    later = AskWidget(viewer, next_session)
    viewer.window.add_dock_widget(later, name="Ask later")
    check(later, open_budget(viewer, next_session))


def test_asking_keeps_it_even_if_napari_is_killed_then(
    make_dock: Make, finish: Wait, config_folder: Path, marked_image: NDArray[Any], tmp_path: Path
) -> None:
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True, name="Jane Doe 1947.svs")
    dock.form.region_box.choose("layer")
    dock.form.question_edit.setPlainText("Is it magenta?")
    dock.ask()
    finish(dock)
    text = (config_folder / "napari-pathreason-docks.json").read_text()
    assert json.loads(text)["ask"]["question"] == "Is it magenta?"
    assert json.loads(text)["ask"]["model"] == ""  # the preferred one, whichever that will be
    assert "Jane" not in text


def test_a_damaged_file_is_one_warning_for_both_docks(
    make_dock: Make, config_folder: Path, messages: list[tuple[str, str]]
) -> None:
    (config_folder / "napari-pathreason-docks.json").write_text('{"ask": {"task": 3}')
    viewer, dock = make_dock()
    open_budget(viewer)
    assert [severity for severity, _ in messages] == ["warning"]
    assert dock.form.task_box.value == "vqa"


def test_what_is_no_longer_offered_is_left_aside(make_dock: Make, config_folder: Path) -> None:
    kept = {"ask": {"budget": 100}, "budget": {"tab": "Gone", "compared": [100, 64]}}
    (config_folder / "napari-pathreason-docks.json").write_text(json.dumps(kept))
    viewer, dock = make_dock()
    budget = open_budget(viewer)
    assert dock.form.budget_box.value == "auto"
    assert budget.tabs.currentIndex() == 0
    assert budget.compare.checked == [64]
