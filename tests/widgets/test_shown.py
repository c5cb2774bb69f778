"""Which answer is shown: never that of another slide or question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.utils.task_status import TaskStatusItem
from numpy.typing import NDArray

from napari_pathreason.viewer import RunState

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]
Array = NDArray[np.uint8]


def ask(dock: Any, question: str = "Is it magenta?") -> None:
    dock.form.region_box.choose("layer")
    dock.form.question_edit.setPlainText(question)
    dock.ask()


def says_nothing(dock: Any) -> bool:
    return (
        dock.session.inquiry.shown is None
        and "yes" not in dock.answer.toPlainText()
        and not dock.reliability.text
        and not dock.save_button.isEnabled()
        and not dock.copy_button.isEnabled()
    )


def test_beside_another_slide_stands_its_own_answer_or_none(
    make_dock: Make, finish: Wait, marked_image: Array
) -> None:
    viewer, dock = make_dock()
    first = viewer.add_image(marked_image, rgb=True, name="first")
    ask(dock)
    finish(dock)
    assert dock.save_button.isEnabled()
    assert "yes" in dock.answer.toPlainText()
    viewer.add_image(marked_image, rgb=True, name="second")
    assert says_nothing(dock)
    assert dock.history.count() == 1
    viewer.layers.selection.active = first
    assert "yes" in dock.answer.toPlainText()
    assert dock.history.currentRow() == 0
    viewer.add_image(marked_image, rgb=True, name="third")
    dock.history.itemClicked.emit(dock.history.item(0))  # brings its slide
    assert dock.form.image_box.image.name == "first"
    assert "yes" in dock.answer.toPlainText()


def test_after_an_error_no_older_answer_is_shown(
    make_dock: Make, finish: Wait, marked_image: Array, factory: Any, messages: list[Any]
) -> None:
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    ask(dock)
    finish(dock)
    dock.session.close_models()
    factory.behaviour = "die"
    ask(dock, "Is it green?")
    finish(dock)
    assert says_nothing(dock)
    assert "Failed" in dock.answer.toPlainText()
    assert "Is it magenta?" not in dock.answer.toPlainText()
    assert dock.runner.run.state is RunState.FAILED
    dock.history.itemClicked.emit(dock.history.item(0))
    assert "yes" in dock.answer.toPlainText()
    dock.form.task_box.choose("detection")
    dock.form.options_edit.setText("")
    dock.ask()  # no lesion is named: a hint
    assert says_nothing(dock)


def test_of_a_stack_the_plane_that_is_shown_is_asked(
    make_dock: Make, finish: Wait, marked_image: Array, factory: Any, messages: list[Any]
) -> None:
    viewer, dock = make_dock()
    stack = np.stack([np.full((96, 128), 200, np.uint8), marked_image[140:236, 300:428, 1]])
    viewer.add_image(stack, name="stack", scale=(1, 0.5, 0.5))
    dock.form.region_box.choose("layer")
    dock.look()
    assert "is a stack" in dock.form.region_note.text()
    viewer.dims.set_current_step(0, 1)
    for _ in range(2):
        viewer.layers.selection.active = viewer.layers["stack"]
        ask(dock)
        finish(dock)
    assert messages == []
    assert [layer.name for layer in viewer.layers][:2] == ["stack", "stack, plane 2"]
    assert [entry.result.slide.name for entry in dock.session.entries] == ["stack, plane 2"] * 2
    assert len(factory.made[0][1].performer.seen) == 2
    assert dock.form.image_box.image.name == "stack, plane 2"


def test_napari_names_what_still_runs(
    make_dock: Make, finish: Wait, marked_image: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []  # what napari lists before it closes
    monkeypatch.setattr(TaskStatusItem, "update", lambda _, __, words: said.append(words))
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    ask(dock)
    finish(dock)
    assert "Executing a question to the model" in said
    assert not any("function" in words for words in said)
