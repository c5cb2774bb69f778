"""A slide that is closed and opened again, with the answers about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile
from numpy.typing import NDArray

from napari_pathreason.viewer import SLIDE_KEY, is_slide
from napari_pathreason.widgets import AnswersWidget

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]


@pytest.fixture
def asked(
    make_dock: Make, finish: Wait, marked_image: NDArray[Any], tmp_path: Path
) -> Iterator[tuple[Any, Any, Path]]:
    """A viewer and a dock that has answered one question about a file."""
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, marked_image, photometric="rgb", tile=(128, 128))
    viewer, dock = make_dock()
    first = viewer.open(file, plugin="napari-pathreason")
    dock.form.region_box.choose("layer")
    dock.form.task_box.choose("detection")
    dock.form.options_edit.setText("marker")
    dock.ask()
    finish(dock)
    yield viewer, dock, file
    for layer in (*first, *filter(is_slide, viewer.layers)):
        layer.metadata[SLIDE_KEY].close()


def names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


def test_its_answers_are_those_of_the_slide_again(
    asked: tuple[Any, Any, Path],
    qtbot: Any,
    tmp_path: Path,
    messages: list[Any],
) -> None:
    viewer, dock, file = asked
    overlay = viewer.layers["answers: a.tif"]
    viewer.layers.remove(viewer.layers["a.tif"])
    assert not overlay.visible  # it would lie on nothing, or on the next slide
    viewer.open(file, plugin="napari-pathreason")
    (entry,) = dock.session.entries
    assert entry.image() is dock.session.inquiry.image
    assert dock.session.inquiry.shown is entry
    assert "1 marker" in dock.answer.toPlainText()
    assert overlay.visible
    dock.history.itemClicked.emit(dock.history.item(0))
    assert sorted(names(viewer)) == ["a.tif", "answers: a.tif"]  # no second layer of answers
    assert overlay.selected_data == {0, 1}
    with qtbot.waitSignal(dock.save_button.saved, timeout=60_000) as saved:
        dock.save_button.save([entry], str(tmp_path / "a.geojson"))
    assert saved.args == [""]
    assert "marker" in (tmp_path / "a.geojson").read_text()
    assert not [text for kind, text in messages if kind != "info"]


def test_a_click_on_an_answer_opens_it(asked: tuple[Any, Any, Path], messages: list[Any]) -> None:
    viewer, dock, _ = asked
    answers = AnswersWidget(viewer)
    viewer.window.add_dock_widget(answers, name="Answers")
    viewer.layers.remove(viewer.layers["a.tif"])
    answers.table.clicked.emit(answers.table.model().index(0, 0))
    assert sorted(names(viewer)) == ["a.tif", "answers: a.tif"]
    assert "1 marker" in dock.answer.toPlainText()
    assert messages == []


def test_the_file_may_be_gone(asked: tuple[Any, Any, Path], messages: list[Any]) -> None:
    viewer, dock, file = asked
    viewer.layers.remove(viewer.layers["a.tif"])
    file.unlink()
    dock.history.itemClicked.emit(dock.history.item(0))
    assert "1 marker" in dock.answer.toPlainText()  # its words need no slide
    assert [text for _, text in messages] == ["a.tif is not there any more; put it back to see it"]
