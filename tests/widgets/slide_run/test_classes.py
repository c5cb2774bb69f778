"""A question over every tile in the Slide run dock: the form, the map, its legend, the files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_pathreason.slide_run import NO_CLASS
from napari_pathreason.types import Completion
from napari_pathreason.viewer import known_pace, time_words


@pytest.fixture
def asked(dock: Any) -> Any:
    """The dock, set to ask every tile how it is."""
    dock.form.task_box.choose("vqa")
    dock.form.question_edit.setText("How is it?")
    dock.form.options_edit.setText("magenta, pink")
    return dock


@pytest.fixture
def factory(factory: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model says whether there is magenta in a picture."""
    models = factory("embedded", None)
    kind = type(models.performer)

    def generate(self: Any, prompt: Any, settings: Any, cancel: Any) -> Any:
        (pixels,) = prompt.pictures
        word = "magenta" if (pixels[..., 1] < 60).any() else "pink"
        text = f"<think>looked</think><answer>{word}</answer>"
        yield text
        yield Completion(text, 40, 16, 10, "stop", 0.1)

    monkeypatch.setattr(kind, "generate", generate)
    monkeypatch.delattr(kind, "generate_batch", raising=False)
    return factory


def test_the_form_has_words_of_its_own_for_each_task(dock: Any) -> None:
    form = dock.form
    assert (form.task, form.options_edit.text()) == ("detection", "marker")
    assert form.question_edit.isHidden()
    form.task_box.choose("vqa")
    assert not form.question_edit.isHidden()
    assert form.overlap_box.isHidden()
    assert form.options_edit.text() == ""
    form.options_edit.setText("a, b")
    form.question_edit.setText("Which?")
    settings = form.settings()
    assert (settings.task, settings.options, settings.question) == ("vqa", ("a", "b"), "Which?")
    assert settings.overlap == 0
    form.task_box.choose("detection")
    settings = form.settings()
    assert (settings.options, settings.question, settings.overlap) == (("marker",), "", 0.25)


def test_what_is_missing_is_said_at_start(dock: Any, messages: list[tuple[str, str]]) -> None:
    dock.form.task_box.choose("vqa")
    dock.start()
    dock.form.question_edit.setText("Which?")
    dock.form.options_edit.setText("one")
    dock.start()
    assert [kind for kind, _ in messages] == ["info", "info"]
    assert "question is empty" in messages[0][1]
    assert "at least two classes" in messages[1][1]
    assert not dock.busy


def test_a_map_a_legend_and_files(
    asked: Any, viewer: Any, wait: Any, layer: Any, tmp_path: Any
) -> None:
    asked.start()
    wait()
    shown = layer(viewer, "class map")
    assert [one.name.split(":")[0] for one in viewer.layers][1:] == ["class map", "allocation map"]
    names = shown.features.set_index("index")["class"]
    words = np.vectorize(lambda value: names.get(value, ""))(shown.data)
    assert words.tolist()[0][0] == "magenta"
    assert "pink" in words
    coloured = {
        word: tuple(shown.colormap.map(shown.data[words == word][:1])[0]) for word in names.unique()
    }
    assert len(set(coloured.values())) == len(coloured)
    magenta, pink, none = asked.classes.rows
    assert (magenta[0], pink[0], none[0]) == ("magenta", "pink", NO_CLASS)
    assert asked.classes.isVisibleTo(asked)
    assert int(magenta[1].split()[0]) == (words == "magenta").sum()
    folder = next((tmp_path / "dock").iterdir())
    assert (folder / "tiles.geojson").is_file()
    assert (folder / "classes.csv").read_text().count("\n") == 4


def test_lesions_after_classes_hide_the_map_and_its_legend(
    asked: Any, viewer: Any, wait: Any, layer: Any, tmp_path: Any
) -> None:
    asked.start()
    wait()
    asked.form.task_box.choose("detection")
    asked.form.folder_edit.setText(str(tmp_path / "lesions"))
    asked.start()
    wait()
    assert not layer(viewer, "class map").visible
    assert layer(viewer, "heat map").visible
    assert not asked.classes.isVisibleTo(asked)


def test_other_classes_have_colours_of_their_own(
    asked: Any, viewer: Any, wait: Any, layer: Any, tmp_path: Any
) -> None:
    asked.start()
    wait()
    before = len(layer(viewer, "class map").colormap.colors)
    asked.form.options_edit.setText("pink, green, magenta")
    asked.form.folder_edit.setText(str(tmp_path / "three"))
    asked.start()
    wait()
    assert len(layer(viewer, "class map").colormap.colors) == before + 2
    assert [row[0] for row in asked.classes.rows] == ["pink", "green", "magenta", NO_CLASS]


def test_a_folder_brings_its_question_back(asked: Any, wait: Any, tmp_path: Any) -> None:
    asked.start()
    wait()
    form = asked.form
    folder = form.folder_edit.text()
    form.folder_edit.setText(str(tmp_path / "elsewhere"))
    form.task_box.choose("detection")
    form.folder_edit.setText(folder)
    assert (form.task, form.question_edit.text()) == ("vqa", "How is it?")
    assert form.options_edit.text() == "magenta, pink"
    assert asked.start_button.text() == "Show result"


def test_a_run_teaches_how_long_the_next_one_takes(asked: Any, wait: Any) -> None:
    assert "known once this model has answered" in asked.form.note.text()
    asked.start()
    wait()
    info = asked.runner.so_far.plan.model
    asked.session.known_models["embedded"] = info
    assert known_pace(asked.session, "embedded", info) > 0
    asked._foresee()
    assert "At most about" in asked.form.note.text()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59, "59 s"), (61, "1 min"), (7800, "2 h 10 min"), (7200, "2 h"), (1e5, "28 h")],
)
def test_a_time_in_words(seconds: float, words: str) -> None:
    assert time_words(seconds) == words
