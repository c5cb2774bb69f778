"""The first click on Ask, whatever was opened and whichever task: an answer or a hint, no error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathreason.geometry import Region
from napari_pathreason.sample_data import sample, samples
from napari_pathreason.viewer import SLIDE_KEY, region_in_view
from napari_pathreason.widgets import AskWidget

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]
TASKS = ("vqa", "subtyping", "detection")
EACH = pytest.mark.parametrize("key", [shown.key for shown in samples()])


def words(form: Any) -> tuple[str, str, str]:
    return form.task_box.value, form.question_edit.toPlainText(), form.options_edit.text()


@EACH
def test_open_a_sample_and_click(
    make_dock: Make, finish: Wait, messages: list[Any], key: str
) -> None:
    viewer, dock = make_dock(show=True)
    (image,) = viewer.open_sample("napari-pathreason", key)
    dock.ask_button.click()
    finish(dock)
    (entry,) = dock.session.entries
    assert entry.result.query == sample(key).questions[0].query
    width, height = (int(side) for side in image.level_shapes[0][1::-1])
    assert entry.result.region == Region(0, 0, width, height)  # all of it is in view
    assert messages == []
    image.metadata[SLIDE_KEY].close()


def test_a_dock_that_opens_over_a_sample_offers_its_question(
    make_dock: Make, make_napari_viewer_proxy: Any
) -> None:
    viewer = make_napari_viewer_proxy()
    (image,) = viewer.open_sample("napari-pathreason", "nuclei")
    dock = AskWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Ask")
    assert words(dock.form) == ("vqa", "Are the nuclei dense or sparse?", "dense, sparse")
    assert dock.form.region_box.value == "view"
    image.metadata[SLIDE_KEY].close()


@EACH
def test_choose_a_task_and_click(
    make_dock: Make, finish: Wait, messages: list[Any], key: str
) -> None:
    viewer, dock = make_dock()
    (image,) = viewer.open_sample("napari-pathreason", key)
    expected = []
    for task in TASKS[::-1]:
        dock.form.task_box.choose(task)
        dock.ask_button.click()
        finish(dock)
        known = [asked.query for asked in sample(key).questions if asked.query.task == task]
        expected += known[:1]
        if not known:  # what the sample has no question of is asked in nobody's name
            assert words(dock.form) == (task, "", "")
            hint = dock.answer.toPlainText().splitlines()[-1]
            assert hint.startswith(("Subtyping needs at least two", "Name at least one lesion"))
    assert [entry.result.query for entry in dock.session.entries] == expected
    assert messages == []
    image.metadata[SLIDE_KEY].close()


def test_click_in_an_empty_viewer(make_dock: Make, messages: list[Any]) -> None:
    _, dock = make_dock()
    for task in TASKS:
        dock.form.task_box.choose(task)
        dock.ask_button.click()
        assert not dock.busy
    assert dock.answer.toPlainText() == "There is no image to ask about; open a slide first."
    assert messages == []


def test_native_size_of_too_much_is_a_hint(
    make_dock: Make, finish: Wait, messages: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_pathreason.engine._windows.MOST_READ", 10_000)
    viewer, dock = make_dock()
    viewer.add_image(np.zeros((4200, 4200, 3), np.uint8), rgb=True)
    dock.form.question_edit.setPlainText("Is it magenta?")
    dock.form.budget_box.choose("native")
    dock.ask_button.click()
    finish(dock)
    assert "give a budget, or auto" in dock.answer.toPlainText()
    assert messages == []


def test_the_view_is_asked_about(
    make_dock: Make, finish: Wait, marked_image: NDArray[np.uint8]
) -> None:
    viewer, dock = make_dock(show=True)
    image = viewer.add_image(marked_image, rgb=True)
    viewer.scene.camera.zoom = 8
    dock.form.question_edit.setPlainText("Is it magenta?")
    dock.ask_button.click()
    region = region_in_view(viewer, image)
    finish(dock)
    assert dock.session.entries[0].result.region == region
    assert region.width < 600


def test_a_sample_never_overwrites_words(make_dock: Make) -> None:
    viewer, dock = make_dock()
    dock.form.question_edit.setPlainText("Is it magenta?")
    (image,) = viewer.open_sample("napari-pathreason", "blood")
    assert words(dock.form) == ("vqa", "Is it magenta?", "")
    dock.form.task_box.choose("detection")
    assert words(dock.form)[1] == "Find every white cell and platelet."  # none stood there
    dock.form.task_box.choose("vqa")
    assert words(dock.form) == ("vqa", "Is it magenta?", "")
    image.metadata[SLIDE_KEY].close()


def test_choices_go_with_the_question_that_they_came_with(make_dock: Make, qtbot: Any) -> None:
    viewer, dock = make_dock()
    (image,) = viewer.open_sample("napari-pathreason", "lymph_node")
    assert words(dock.form)[2] == "yes, no"
    dock.form.question_edit.selectAll()
    qtbot.keyClicks(dock.form.question_edit, "How many nuclei are there?")
    assert words(dock.form) == ("vqa", "How many nuclei are there?", "")
    qtbot.keyClicks(dock.form.options_edit, "few, many")
    qtbot.keyClicks(dock.form.question_edit, " Or not?")
    assert words(dock.form)[2] == "few, many"  # those are the user's
    image.metadata[SLIDE_KEY].close()


def test_a_wording_goes_with_the_lesions_that_it_names(make_dock: Make, qtbot: Any) -> None:
    viewer, dock = make_dock()
    (image,) = viewer.open_sample("napari-pathreason", "lymph_node")
    dock.form.task_box.choose("detection")
    assert words(dock.form) == ("detection", "Find every tumour.", "tumour")
    dock.form.options_edit.selectAll()
    qtbot.keyClicks(dock.form.options_edit, "platelet")
    assert words(dock.form) == ("detection", "", "platelet")
    dock.form.question_edit.setPlainText("Box all of them.")
    qtbot.keyClicks(dock.form.options_edit, ", white cell")
    assert words(dock.form) == ("detection", "Box all of them.", "platelet, white cell")
    image.metadata[SLIDE_KEY].close()


def test_the_next_sample_offers_its_own_question(make_dock: Make) -> None:
    viewer, dock = make_dock()
    closing = []
    for key in ("lymph_node", "nuclei"):
        (image,) = viewer.open_sample("napari-pathreason", key)
        closing.append(image.metadata[SLIDE_KEY])
        dock.form.task_box.choose("detection")
    assert words(dock.form) == ("detection", "", "")  # nothing to find in the second
    (image,) = viewer.open_sample("napari-pathreason", "blood")
    cells = "white cell, platelet"
    assert words(dock.form) == ("detection", "Find every white cell and platelet.", cells)
    for slide in (*closing, image.metadata[SLIDE_KEY]):
        slide.close()


def test_what_was_kept_of_another_sample_gives_way(make_dock: Make, config_folder: Path) -> None:
    kept = {"ask": {"question": "Are there any platelets?", "options": "yes, no"}}
    (config_folder / "napari-pathreason-docks.json").write_text(json.dumps(kept))
    viewer, dock = make_dock()
    assert words(dock.form) == ("vqa", "Are there any platelets?", "yes, no")
    (image,) = viewer.open_sample("napari-pathreason", "nuclei")
    assert words(dock.form) == ("vqa", "Are the nuclei dense or sparse?", "dense, sparse")
    image.metadata[SLIDE_KEY].close()
