"""One question over the annotations of many slides, from the Answers dock; and several readers."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.exports import Feature, read_geojson, write_geojson
from napari_pathreason.geometry import Box
from napari_pathreason.viewer import RunState, region_in_view
from napari_pathreason.widgets import AnswersWidget

Make = Callable[..., tuple[Any, Any]]
Docks = tuple[Any, Any, Any]
LONG = 240_000
"""Milliseconds, for a busy machine."""


@pytest.fixture
def slides(tmp_path: Path, marked_image: NDArray[np.uint8]) -> Path:
    """A list of two slides of one case, with two annotations each; the first holds the marker."""
    for name in ("a", "b"):
        Image.fromarray(marked_image).save(tmp_path / f"{name}.png")
        boxes = (Box(200, 80, 320, 256), Box(0, 0, 128, 128))
        write_geojson(tmp_path / f"{name}.geojson", [Feature(box) for box in boxes])
    (tmp_path / "slides.csv").write_text("slide,case\na.png,P1\nb.png,P1\n")
    return tmp_path / "slides.csv"


@pytest.fixture
def docks(make_dock: Make) -> Docks:
    viewer, ask = make_dock()
    answers = AnswersWidget(viewer)
    viewer.window.add_dock_widget(answers, name="Answers")
    ask.form.task_box.choose("detection")
    ask.form.options_edit.setText("marker")
    ask.form.budget_box.choose("native")
    return viewer, ask, answers


@pytest.fixture
def done(qtbot: Any) -> Callable[[Any], None]:
    def wait(answers: Any) -> None:
        runner = answers.project.runner
        qtbot.waitUntil(lambda: not (runner.running or runner.closing), timeout=LONG)

    return wait


def test_a_project_ends_in_the_table(
    docks: Docks, slides: Path, done: Callable[[Any], None], messages: list[Any]
) -> None:
    viewer, ask, answers = docks
    panel = answers.project
    panel.ask(slides)
    assert panel.pause_button.isVisibleTo(panel)
    done(answers)
    assert [e.name for e in ask.session.entries] == ["1", "2", "1", "2"]
    assert [e.case for e in ask.session.entries] == ["P1"] * 4
    assert panel.progress.label.text() == "4 of 4 answered"
    assert panel.note.text() == "Answers and tables are kept in slides-answers."
    assert not panel.pause_button.isVisibleTo(panel)
    model = answers.table.model()
    assert [model.index(row, 1).data() for row in range(4)] == ["P1: a.png"] * 2 + ["P1: b.png"] * 2
    assert not viewer.layers  # no slide is opened for it
    answers.table.clicked.emit(model.index(2, 0))
    assert [layer.name for layer in viewer.layers][:1] == ["b.png"]
    seen = region_in_view(viewer, viewer.layers["b.png"])
    assert seen.x <= 200
    assert seen.x + seen.width >= 520
    answers.table.clicked.emit(model.index(3, 0))
    assert sum(layer.name == "b.png" for layer in viewer.layers) == 1
    assert messages == []
    panel.ask(slides)  # all of it is kept
    done(answers)
    assert len(ask.session.entries) == 4


def test_pause_resume_and_cancel(
    docks: Docks, slides: Path, done: Callable[[Any], None], qtbot: Any, factory: Any
) -> None:
    _, ask, answers = docks
    panel = answers.project
    factory.behaviour = "gated"
    panel.ask(slides)
    qtbot.waitUntil(lambda: bool(factory.made), timeout=LONG)
    gate = factory.made[0][1].performer.gate
    qtbot.waitUntil(lambda: panel.runner.run.state is RunState.RUNNING, timeout=LONG)
    panel.pause_button.click()
    assert panel.pause_button.text() == "Resume"
    gate.release()
    qtbot.waitUntil(lambda: panel.runner.run.state is RunState.PAUSED, timeout=LONG)
    assert len(ask.session.entries) == 1
    assert panel.progress.label.text() == "Paused, 1 of 4 answered"
    assert not ask.session.asking  # others may ask meanwhile
    panel.pause_button.click()
    gate.release()
    qtbot.waitUntil(lambda: len(ask.session.entries) == 2, timeout=LONG)
    panel.cancel_button.click()
    done(answers)
    assert panel.progress.label.text().startswith("Cancelled, 2 of 4 answered")
    factory.behaviour = "answer"
    ask.session.close_models()
    panel.ask(slides)
    done(answers)
    assert len(ask.session.entries) == 4


def test_what_is_missing_is_said(docks: Docks, tmp_path: Path, messages: list[Any]) -> None:
    _, ask, answers = docks
    answers.project.ask(tmp_path)
    assert "has annotations" in answers.project.note.text()
    ask.form.options_edit.setText("")
    answers.project.ask(tmp_path)
    assert "name at least one lesion" in answers.project.note.text().lower()
    assert not answers.project.runner.running
    assert messages == []


def test_another_question_has_a_folder_and_rows_of_its_own(
    docks: Docks, slides: Path, done: Callable[[Any], None], messages: list[Any]
) -> None:
    _, ask, answers = docks
    answers.project.ask(slides)
    done(answers)
    ask.session.review(ask.session.entries[0], "accepted")
    ask.form.options_edit.setText("other")
    answers.project.ask(slides)
    done(answers)
    assert answers.project.note.text() == "Answers and tables are kept in slides-answers-2."
    assert [column(answers, 1)[place] for place in (0, 4)] == ["P1: a.png", "P1: a.png"]
    assert column(answers, 3) == ["Find: marker"] * 4 + ["Find: other"] * 4
    said = [ask.session.review_of(entry) for entry in ask.session.entries]
    assert said == ["accepted"] + [""] * 7  # of that answer alone
    ask.session.review(ask.session.entries[4], "rejected")
    ask.form.options_edit.setText("marker")
    answers.project.ask(slides)  # goes on where it was
    done(answers)
    assert answers.project.note.text() == "Answers and tables are kept in slides-answers."
    assert len(ask.session.entries) == 8
    assert messages == []


def column(answers: Any, place: int) -> list[str]:
    model = answers.table.model()
    return [model.index(row, place).data() for row in range(model.rowCount())]


def test_readers_judge_and_agree(
    docks: Docks, slides: Path, done: Callable[[Any], None], tmp_path: Path, messages: list[Any]
) -> None:
    _, ask, answers = docks
    answers.project.ask(slides)
    done(answers)
    session, entries = ask.session, ask.session.entries
    said = {"anna": "++--", "bert": "+---"}
    for reader, signs in said.items():
        answers.reader_edit.setText(reader)
        answers.reader_edit.editingFinished.emit()
        assert not any(session.review_of(entry) for entry in entries)
        for entry, sign in zip(entries, signs, strict=True):
            session.review(entry, "accepted" if sign == "+" else "rejected")
    answers.look()
    text = answers.line.text()
    assert "1 accepted, 3 rejected" in text  # of the reader who looks
    assert "Agreement: anna and bert 3 of 4 (75 %, \N{GREEK SMALL LETTER KAPPA} 0.50); " in text
    assert "bert and the model 1 of 4 (25 %)" in text
    answers.export_agreement(str(tmp_path / "g.csv"))
    answers.export_numbers(str(tmp_path / "n.csv"))
    rows = list(csv.DictReader((tmp_path / "g.csv").read_text().splitlines()))
    assert [(r["first"], r["second"], r["percent"]) for r in rows] == [
        ("anna", "bert", "75.0"),
        ("anna", "model", "50.0"),
        ("bert", "model", "25.0"),
    ]
    numbers = list(csv.DictReader((tmp_path / "n.csv").read_text().splitlines()))
    assert [row["of"] for row in numbers] == ["slide", "slide", "case"]
    assert [severity for severity, _ in messages] == ["info", "info"]
    assert messages[0][1] == "g.csv was saved: 3 rows."
    # what readers say lies with the project: another session has it
    session.entries.clear()
    answers.project.ask(slides)
    done(answers)
    assert [session.review_of(entry) for entry in session.entries] == ["accepted"] + [
        "rejected"
    ] * 3


def test_answers_are_classes_in_qupath(
    docks: Docks, slides: Path, done: Callable[[Any], None], tmp_path: Path, messages: list[Any]
) -> None:
    _, ask, answers = docks
    ask.form.task_box.choose("vqa")
    ask.form.question_edit.setPlainText("Is there a marker?")
    ask.form.options_edit.setText("")
    answers.project.ask(slides)
    done(answers)
    path = tmp_path / "o.geojson"
    answers.export_objects(str(path))
    assert "several slides" in messages[-1][1]
    assert not path.exists()
    answers.filter_edit.setText("a.png")
    answers.export_objects(str(path))
    objects = list(read_geojson(path))
    assert [one.object_type for one in objects] == ["annotation"] * 2
    levels = [entry.result.reliability.level for entry in ask.session.entries[:2]]
    assert [one.label for one in objects] == ["" if x == "none" else "yes" for x in levels]
    assert "yes" in [one.label for one in objects]
