"""Many regions: asked one after the other, in a table, reviewed, kept on disk and exported."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import Qt

from napari_pathreason.errors import RegionError
from napari_pathreason.exports import RESEARCH_ONLY
from napari_pathreason.geometry import Region
from napari_pathreason.viewer import (
    RunState,
    Session,
    box_to_data,
    region_in_view,
    region_note,
    regions_of,
    unwrapped,
)
from napari_pathreason.widgets import AnswersWidget

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]
Docks = tuple[Any, Any, Any]
REGIONS = (Region(200, 80, 320, 256), Region(0, 0, 128, 128), Region(300, 140, 128, 96))


@pytest.fixture
def docks(make_dock: Make, marked_image: NDArray[np.uint8]) -> Docks:
    """Three annotations, the second without a marker, and a line that encloses nothing."""
    viewer, ask = make_dock()
    viewer.add_image(marked_image, rgb=True, name="slide", scale=(0.5, 0.5), units=("um", "um"))
    shapes = viewer.add_shapes(
        [box_to_data(region.box) for region in REGIONS], scale=(0.5, 0.5), units=("um", "um")
    )
    shapes.add_lines([[0, 0], [100, 100]])
    answers = AnswersWidget(viewer)
    viewer.window.add_dock_widget(answers, name="Answers")
    ask.form.task_box.choose("detection")
    ask.form.options_edit.setText("marker")
    ask.form.region_box.choose("annotations")
    ask.form.budget_box.choose("native")
    return viewer, ask, answers


def column(answers: Any, place: int) -> list[str]:
    model = answers.table.model()
    return [model.index(row, place).data() for row in range(model.rowCount())]


def test_one_question_over_all_annotations(docks: Docks, finish: Wait, messages: list[Any]) -> None:
    _, ask, answers = docks
    ask.look()
    assert ask.form.region_note.text().startswith("3 regions, one after the other")
    ask.ask()
    assert not ask.pause_button.isHidden()
    finish(ask)
    assert ask.pause_button.isHidden()
    entries = ask.session.entries
    assert [entry.result.region for entry in entries] == list(REGIONS)
    assert [entry.name for entry in entries] == ["1", "2", "3"]
    assert column(answers, 2) == ["1", "2", "3"]
    assert column(answers, 5) == ["1", "0", "1"]
    answers.look()
    assert answers.line.text() == "3 answers."
    assert messages == []


def test_annotations_that_are_left_out_are_counted(docks: Docks) -> None:
    viewer, ask, _ = docks
    shapes = viewer.layers["Shapes"]
    shapes.add_rectangles([[90_000, 90_000], [90_000, 90_100], [90_100, 90_100], [90_100, 90_000]])
    ask.look()
    note = ask.form.region_note.text()
    assert note.startswith("3 regions, one after the other")
    assert "left out: 2 of 5 shapes, outside the image or without an area" in note


def test_the_table_sorts_filters_and_brings_the_region(docks: Docks, finish: Wait) -> None:
    viewer, ask, answers = docks
    ask.ask()
    finish(ask)
    answers.table.sortByColumn(5, Qt.DescendingOrder)
    assert column(answers, 5) == ["1", "1", "0"]
    answers.filter_edit.setText("NONE found")
    assert column(answers, 0) == ["2"]
    answers.filter_edit.setText("nothing like it")
    assert column(answers, 0) == []
    assert answers.line.text() == "0 of 3 answers."
    assert not answers.export_button.isEnabled()
    answers.filter_edit.setText("")
    answers.table.sortByColumn(0, Qt.DescendingOrder)
    assert column(answers, 0) == ["3", "2", "1"]
    answers.table.clicked.emit(answers.table.model().index(2, 0))
    assert ask.session.inquiry.shown.id == 1
    assert ask.history.currentRow() == 0
    seen = region_in_view(viewer, viewer.layers["slide"])
    assert seen.x <= REGIONS[0].x
    assert seen.x + seen.width >= REGIONS[0].x + REGIONS[0].width


def test_the_table_is_the_export(
    docks: Docks, finish: Wait, tmp_path: Path, messages: list[Any]
) -> None:
    _, ask, answers = docks
    ask.ask()
    finish(ask)
    ask.session.review(ask.session.entries[0], "accepted")
    answers.table.sortByColumn(0, Qt.DescendingOrder)
    answers.export_table(str(tmp_path / "a.csv"))
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [row["answer_number"] for row in rows] == ["3", "2", "1"]
    first = rows[-1]
    assert (first["region"], first["review"], first["use"]) == ("1", "accepted", RESEARCH_ONLY)
    area = 320 * 256 * 0.25 / 1e6
    covered = 80 * 40 * 0.25 / 1e6
    assert float(first["region_mm2"]) == pytest.approx(area, abs=1e-6)
    assert float(first["findings_per_mm2"]) == pytest.approx(1 / area, rel=1e-4)
    assert float(first["findings_mm2"]) == pytest.approx(covered, rel=0.1)
    assert float(first["findings_share_of_region"]) == pytest.approx(covered / area, rel=0.1)
    assert [row["findings"] for row in rows] == ["1", "0", "1"]
    assert messages == [("info", "a.csv was saved: 3 answers.")]
    answers.export_table(str(tmp_path / "none" / "a.csv"))
    assert messages[-1][0] == "error"
    assert str(tmp_path) not in messages[-1][1]


def test_pause_resume_and_cancel(docks: Docks, qtbot: Any, finish: Wait, factory: Any) -> None:
    _, ask, _ = docks
    factory.behaviour = "gated"
    ask.ask()
    qtbot.waitUntil(lambda: bool(factory.made))
    gate = factory.made[0][1].performer.gate
    ask.pause()
    assert ask.pause_button.text() == "Resume"
    gate.release()  # for the one in hand
    finish(ask)
    assert len(ask.session.entries) == 1
    assert ask.runner.run.state is RunState.IDLE
    assert not ask.session.asking  # others may ask meanwhile
    qtbot.waitUntil(lambda: "2 regions left" in ask.progress.label.text())
    ask.pause()
    assert "2 of 3" in ask.progress.prefix
    qtbot.waitUntil(lambda: ask.runner.run.state is RunState.RUNNING)
    ask.cancel()
    finish(ask)
    assert len(ask.session.entries) == 1
    assert ask.pause_button.isHidden()
    assert not ask.cancel_button.isEnabled()


def test_a_failure_leaves_the_others_waiting(
    docks: Docks, qtbot: Any, finish: Wait, factory: Any, messages: list[Any]
) -> None:
    _, ask, _ = docks
    factory.behaviour = "die"
    ask.ask()
    finish(ask)
    assert ask.pause_button.text() == "Resume"
    assert [severity for severity, _ in messages] == ["error"]
    factory.behaviour = "answer"
    ask.session.close_models()
    ask.pause()
    finish(ask)
    assert [entry.name for entry in ask.session.entries] == ["2", "3"]


def test_selected_shapes_are_regions_of_their_own(docks: Docks, finish: Wait) -> None:
    viewer, ask, _ = docks
    shapes = viewer.layers[1]
    shapes.selected_data = {0, 2}
    ask.form.region_box.choose("shape")
    ask.ask()
    finish(ask)
    assert [e.result.region for e in ask.session.entries] == [REGIONS[0], REGIONS[2]]


def test_selected_shapes_are_asked_about_in_one_question(
    docks: Docks, finish: Wait, tmp_path: Path, messages: list[Any]
) -> None:
    viewer, ask, answers = docks
    shapes = viewer.layers[1]
    shapes.selected_data = {0, 1}
    ask.form.region_box.choose("together")
    ask.look()
    assert ask.form.region_note.text().startswith("2 regions in one question")
    ask.ask()
    assert "one region at a time" in ask.answer.toPlainText()  # boxes
    ask.form.task_box.choose("vqa")
    ask.form.question_edit.setPlainText("Which has more?")
    ask.ask()
    finish(ask)
    (entry,) = ask.session.entries
    assert entry.result.views.joint
    assert [view.region for view in entry.result.views.views] == list(REGIONS[:2])
    assert entry.name == "1 + 2"
    assert ask.pause_button.isHidden()
    answers.export_table(str(tmp_path / "a.csv"))
    (row,) = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    area = (320 * 256 + 128 * 128) * 0.25 / 1e6  # not that of the box around both
    assert float(row["region_mm2"]) == pytest.approx(area, abs=1e-6)
    shapes.selected_data = {0}
    ask.look()
    assert ask.form.region_note.text().startswith("Select two shapes or more")
    ask.ask()
    assert "two or more" in ask.answer.toPlainText()
    assert messages == [("info", "a.csv was saved: 1 answer.")]


def test_draw_keeps_regions_together(docks: Docks) -> None:
    _, ask, _ = docks
    ask.form.region_box.choose("together")
    ask.form.draw_button.click()
    assert ask.session.inquiry.source == "together"


def test_a_polygon_keeps_its_outline(docks: Docks, finish: Wait, tmp_path: Path) -> None:
    viewer, ask, answers = docks
    shapes = viewer.layers[1]
    shapes.add_polygons([[[79.5, 199.5], [79.5, 519.5], [335.5, 199.5]]])
    shapes.selected_data = {shapes.nshapes - 1}
    ask.form.region_box.choose("shape")
    ask.look()
    assert "outside its outline is masked" in ask.form.region_note.text()
    ask.ask()
    finish(ask)
    (entry,) = ask.session.entries
    assert entry.result.region == REGIONS[0]
    assert len(entry.result.request.outline) == 3
    answers.export_table(str(tmp_path / "a.csv"))
    (row,) = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    assert float(row["region_mm2"]) == pytest.approx(320 * 256 / 2 * 0.25 / 1e6, abs=1e-6)


def test_answers_come_back_as_answers(
    docks: Docks, finish: Wait, config_folder: Path, messages: list[Any]
) -> None:
    viewer, ask, answers = docks
    ask.ask()
    finish(ask)
    first, second, third = ask.session.entries
    ask.session.review(second, "accepted")
    ask.session.review(first, "rejected")
    ask.session.review(first, "rejected")  # takes it back
    assert not answers.back_button.isVisibleTo(answers)
    ask.session.archive.flush()
    files = list((config_folder / "napari-pathreason-answers").iterdir())
    assert len(files) == 1
    assert "slide" not in files[0].name
    assert '"name":"slide"' not in files[0].read_text()
    with files[0].open("ab") as file:
        file.write(b'{"torn')  # of a process that was killed
    next_session = Session()
    later = AnswersWidget(viewer, next_session)
    viewer.window.add_dock_widget(later, name="Answers later")
    assert later.back_button.text() == "Bring back 3 answers about this slide"
    later.back_button.click()
    assert not later.back_button.isVisibleTo(later)
    again = next_session.entries
    assert [one.result for one in again] == [first.result, second.result, third.result]
    assert [one.name for one in again] == ["1", "2", "3"]
    assert [one.made for one in again] == [one.made for one in ask.session.entries]
    assert next_session.row_of(again[1]).review == "accepted"
    assert next_session.row_of(again[0]).review == ""
    assert next_session.bring_back(viewer.layers["slide"].__wrapped__) == 0
    assert messages == []


def test_accepted_answers_are_labels(
    docks: Docks, finish: Wait, tmp_path: Path, messages: list[Any], qtbot: Any
) -> None:
    _, ask, answers = docks
    ask.ask()
    finish(ask)
    answers.look()
    assert not answers.labels_button.isEnabled()
    ask.review_buttons.buttons["accepted"].click()
    assert ask.review_buttons.buttons["accepted"].isChecked()
    answers.look()
    assert answers.labels_button.isEnabled()
    assert answers.line.text() == "3 answers, 1 accepted, 0 rejected."
    answers.export_labels(str(tmp_path / "labels.csv"))
    assert messages[-1][0] == "warning"  # the image is no file
    assert "no file" in messages[-1][1]


def test_what_a_reader_says_is_counted_at_once(docks: Docks, finish: Wait, qtbot: Any) -> None:
    viewer, ask, answers = docks
    viewer.window._qt_window.show()
    ask.ask()
    finish(ask)
    answers.parent().raise_()
    qtbot.waitUntil(answers.isVisible, timeout=5000)
    answers.look()
    assert answers.line.text() == "3 answers."
    answers.review_buttons.buttons["accepted"].click()
    qtbot.waitUntil(lambda: answers.line.text() == "3 answers, 1 accepted, 0 rejected.")
    assert answers.labels_button.isEnabled()


def test_regions_belong_to_the_slide_that_they_were_drawn_on(docks: Docks) -> None:
    """What was drawn on one slide is not asked of another that lies over it."""
    viewer, ask, _ = docks
    viewer.layers.clear()
    pixels = np.full((400, 600, 3), 255, np.uint8)
    first = viewer.add_image(pixels, rgb=True, name="first")
    ask.form.draw_button.click()
    viewer.layers["regions: first"].add_rectangles([[0, 0], [200, 200]])
    assert region_note(unwrapped(viewer), ask.session.inquiry.image, "annotations") == (
        "200 \N{MULTIPLICATION SIGN} 200 px; pixel size unknown"
    )
    viewer.add_image(pixels, rgb=True, name="second")
    for source in ("annotations", "shape"):
        with pytest.raises(RegionError, match=r"draw"):
            regions_of(unwrapped(viewer), ask.session.inquiry.image, source)
    ask.form.draw_button.click()
    assert viewer.layers.selection.active.name == "regions: second"
    viewer.layers.selection.active = viewer.layers["regions: first"]  # its slide is meant then
    assert ask.session.inquiry.image.name == first.name
    viewer.layers.remove(viewer.layers["first"])
    second = unwrapped(viewer).layers["second"]
    viewer.layers.selection.active = viewer.layers["regions: first"]
    (marked,) = regions_of(unwrapped(viewer), second, "annotations")  # they are nobody's now
    assert marked.region == Region(0, 0, 200, 200)


def test_next_region_by_key(docks: Docks, qtbot: Any) -> None:
    viewer, ask, _ = docks
    shapes = viewer.layers[1]
    shapes.selected_data = set()
    seen = []
    for step in (1, 1, -1):
        ask.go_to_region(step)
        seen.append(set(shapes.selected_data))
    assert seen == [{0}, {1}, {0}]
    assert ask.session.inquiry.source == "shape"


def test_the_limits_stand_in_the_docks(docks: Docks) -> None:
    from qtpy.QtWidgets import QLabel

    _, ask, answers = docks
    for dock in (ask, answers):
        assert any(RESEARCH_ONLY in label.text() for label in dock.findChildren(QLabel))
