from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathreason.viewer import RunState, session_of

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]


@pytest.fixture
def asking(make_dock: Make, marked_image: NDArray[np.uint8]) -> Callable[..., tuple[Any, Any]]:
    def start(**options: Any) -> tuple[Any, Any]:
        viewer, dock = make_dock(**options)
        viewer.add_image(marked_image, rgb=True)
        dock.form.region_box.choose("layer")
        dock.form.question_edit.setPlainText("Is it magenta?")
        dock.ask()
        return viewer, dock

    return start


def test_cancel_while_writing(asking: Make, qtbot: Any, finish: Wait, factory: Any) -> None:
    factory.behaviour = "slow"
    _, dock = asking()
    qtbot.waitUntil(lambda: "Writing" in dock.progress.label.text())
    dock.cancel()
    finish(dock)
    assert "Cancelled" in dock.answer.toPlainText()
    assert dock.session.entries == []
    assert not factory.made[0][1].performer.closed.is_set()  # the model stays loaded


def test_deaf_model_loses_its_process_and_the_next_question_gets_another(
    asking: Make, qtbot: Any, finish: Wait, factory: Any
) -> None:
    factory.behaviour = "deaf"
    _, dock = asking()
    qtbot.waitUntil(lambda: "Writing" in dock.progress.label.text())
    dock.cancel()
    finish(dock)
    assert "Cancelled" in dock.answer.toPlainText()
    qtbot.waitUntil(factory.made[0][1].performer.closed.is_set)
    factory.behaviour = "answer"
    dock.ask()
    finish(dock)
    assert len(factory.made) == 2
    assert [entry.result.answer.text for entry in dock.session.entries] == ["yes"]


def test_model_that_dies_is_reported(
    asking: Make, finish: Wait, factory: Any, messages: list[tuple[str, str]]
) -> None:
    factory.behaviour = "die"
    _, dock = asking()
    finish(dock)
    assert [severity for severity, _ in messages] == ["error"]
    assert "ask again to restart it" in messages[0][1]
    assert "ask again to restart it" in dock.answer.toPlainText()
    assert dock.ask_button.isEnabled()


def test_unknown_model_is_reported(
    asking: Make, finish: Wait, messages: list[tuple[str, str]]
) -> None:
    _, dock = asking()
    finish(dock)
    dock.form.model_box.model_id = "unknown"
    dock.ask()
    finish(dock)
    assert messages == [("error", "there is no model 'unknown'; choose a folder or a hub id")]


def test_another_model_frees_the_former(asking: Make, finish: Wait, factory: Any) -> None:
    _, dock = asking()
    finish(dock)
    dock.form.model_box.model_id = "/models/other"
    dock.ask()
    finish(dock)
    assert [model_id for model_id, _ in factory.made] == ["embedded", "/models/other"]
    assert factory.made[0][1].performer.closed.is_set()
    assert not factory.made[1][1].performer.closed.is_set()


@pytest.mark.parametrize(
    ("task", "question", "names", "remedy"),
    [
        ("vqa", " ", "", "write what you want to know"),
        ("subtyping", "", "adenocarcinoma", "at least two subtypes"),
    ],
)
def test_missing_words_name_the_remedy(
    make_dock: Make,
    finish: Wait,
    marked_image: NDArray[np.uint8],
    messages: list[tuple[str, str]],
    factory: Any,
    task: str,
    question: str,
    names: str,
    remedy: str,
) -> None:
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    dock.form.region_box.choose("layer")
    dock.form.task_box.choose(task)
    dock.form.question_edit.setPlainText(question)
    dock.form.options_edit.setText(names)
    dock.ask_button.click()
    finish(dock)
    assert remedy in dock.answer.toPlainText()
    assert not messages
    assert not factory.made  # no model is loaded to say so


def test_no_image_and_no_region_name_the_remedy(
    make_dock: Make, marked_image: NDArray[np.uint8], messages: list[tuple[str, str]]
) -> None:
    viewer, dock = make_dock()
    dock.form.question_edit.setPlainText("Is it magenta?")
    dock.ask()
    dock.ask()  # says it once
    hints = [dock.answer.toPlainText()]
    viewer.add_image(marked_image, rgb=True)
    for source in ("shape", "annotations"):
        dock.form.region_box.choose(source)
        dock.ask()
        hints.append(dock.answer.toPlainText().splitlines()[-1])
    viewer.add_image(np.zeros((64, 64, 3)), rgb=False)
    dock.form.region_box.choose("layer")
    dock.ask()
    hints.append(dock.answer.toPlainText())
    assert hints[0] == "There is no image to ask about; open a slide first."
    assert "rectangle is selected" in hints[1]
    assert "no annotations" in hints[2]
    assert "rgb=True" in hints[3]
    assert not messages


def test_region_thinner_than_a_token_is_reported(
    make_dock: Make, finish: Wait, messages: list[tuple[str, str]]
) -> None:
    viewer, dock = make_dock()
    viewer.add_image(np.zeros((20, 400, 3), np.uint8), rgb=True)
    dock.form.question_edit.setPlainText("Is it magenta?")
    dock.form.region_box.choose("layer")
    dock.ask()
    finish(dock)
    assert "thinner than one visual token" in dock.answer.toPlainText()
    assert not messages


def test_image_closed_during_a_run(
    asking: Make, finish: Wait, factory: Any, messages: list[tuple[str, str]]
) -> None:
    factory.behaviour = "slow"
    viewer, dock = asking()
    viewer.layers.clear()
    finish(dock)
    assert "the image was closed" in dock.answer.toPlainText()
    assert messages[0][0] == "warning"
    assert dock.session.entries == []


def test_image_closed_after_its_answer(
    asking: Make, finish: Wait, messages: list[tuple[str, str]]
) -> None:
    viewer, dock = asking()
    finish(dock)
    viewer.layers.clear()
    dock.history.itemClicked.emit(dock.history.item(0))
    assert "was closed" in messages[0][1]
    assert "yes" in dock.answer.toPlainText()  # the words are not lost


def test_dock_closed_during_a_run(asking: Make, qtbot: Any, factory: Any) -> None:
    factory.behaviour = "slow"
    viewer, dock = asking()
    qtbot.waitUntil(lambda: "Writing" in dock.progress.label.text())
    viewer.window.remove_dock_widget(dock)
    assert not dock.runner.running
    qtbot.waitUntil(factory.made[0][1].performer.closed.is_set)


def test_viewer_closed_during_a_run(asking: Make, qtbot: Any, factory: Any) -> None:
    factory.behaviour = "slow"
    viewer, dock = asking(show=True)
    qtbot.waitUntil(lambda: "Writing" in dock.progress.label.text())
    viewer.close()
    qtbot.waitUntil(factory.made[0][1].performer.closed.is_set)


def test_closed_dock_is_freed_and_a_new_one_knows_the_answers(
    asking: Make, qtbot: Any, finish: Wait
) -> None:
    from napari_pathreason.widgets import AskWidget

    viewer, dock = asking()
    finish(dock)
    viewer.window.remove_dock_widget(dock)
    gone = ref(dock)
    del dock
    qtbot.wait(50)
    gc.collect()
    assert gone() is None
    again = AskWidget(viewer)
    viewer.window.add_dock_widget(again, name="Ask")
    assert again.history.count() == 1


def test_sessions_do_not_mix(make_dock: Make) -> None:
    (first, _), (second, _) = make_dock(), make_dock()
    assert session_of(first) is session_of(first)
    assert session_of(first) is not session_of(second)


def test_a_hint_takes_the_place_of_the_one_before(make_dock: Callable[..., Any]) -> None:
    viewer, dock = make_dock()
    viewer.add_image(np.full((400, 600, 3), 255, np.uint8), rgb=True)
    dock.form.task_box.choose("detection")
    dock.ask()
    assert "name at least one lesion" in dock.answer.toPlainText().lower()
    dock.form.task_box.choose("vqa")
    dock.ask()
    assert dock.answer.toPlainText() == "The question is empty; write what you want to know."


def test_after_a_cancel_the_answer_of_another_slide_is_shown_whole(
    make_dock: Callable[..., Any], finish: Callable[[Any], None], factory: Any, qtbot: Any
) -> None:
    """What Follow up is about, and Save writes, is what stands there."""
    viewer, dock = make_dock()
    for name in ("first", "second"):
        viewer.add_image(np.full((400, 600, 3), 255, np.uint8), rgb=True, name=name)
    dock.form.question_edit.setPlainText("Is it white?")
    dock.form.region_box.choose("layer")
    dock.ask()
    finish(dock)
    first = viewer.layers["first"]
    viewer.layers.selection.active = first
    factory.made[0][1].performer.behaviour = "slow"
    dock.form.question_edit.setPlainText("Is it black?")
    dock.ask()
    qtbot.waitUntil(lambda: dock.runner.run.state is RunState.RUNNING, timeout=60_000)
    viewer.layers.selection.active = viewer.layers["second"]
    dock.cancel()
    finish(dock)
    words = dock.answer.toPlainText()
    assert "Is it white?" in words
    assert words.endswith("Cancelled.")
    assert dock.save_button.isEnabled()
    assert dock.follow_button.isEnabled()
    assert dock.windows.isHidden()
