"""The Save button of the Ask dock: every kind of file, and what it says when that fails."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathreason.errors import ModelError
from napari_pathreason.exports import UsedModel, detections_in, read_geojson, read_manifest

KINDS = ("a.geojson", "a.geojson.gz", "a.csv", "a.views.csv", "a.html", "a.json", "a.jsonl")


@pytest.fixture
def answered(
    make_dock: Callable[..., tuple[Any, Any]],
    finish: Callable[[Any], None],
    marked_image: NDArray[np.uint8],
) -> tuple[Any, Any]:
    """Viewer and dock after two answers about one image."""
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True, name="slide", scale=(0.5, 0.5), units=("um", "um"))
    dock.form.task_box.choose("detection")
    dock.form.options_edit.setText("marker")
    dock.form.region_box.choose("layer")
    for budget in ("auto", "native"):
        dock.form.budget_box.choose(budget)
        dock.ask()
        finish(dock)
    return viewer, dock


@pytest.fixture
def known_model(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands for the weights of the fake model; the list tells which were hashed."""
    model_ids: list[str] = []

    def used(model_id: str, device: str = "auto") -> UsedModel:
        model_ids.append(model_id)
        return UsedModel("", model_id, device, "0" * 64)

    monkeypatch.setattr("napari_pathreason.slide_run.used_model", used)
    return model_ids


def save(dock: Any, qtbot: Any, entries: list[Any], path: Path) -> str:
    with qtbot.waitSignal(dock.save_button.saved) as saved:
        dock.save_button.save(entries, str(path))
    return saved.args[0]


def test_every_kind_of_file(
    answered: Any, known_model: list[str], qtbot: Any, tmp_path: Path, messages: list[Any]
) -> None:
    _, dock = answered
    folder = tmp_path / "PLANTED-FOLDER"
    folder.mkdir()
    entries = dock.session.entries
    for name in KINDS:
        assert not save(dock, qtbot, entries, folder / name)
    assert {file.name for file in folder.iterdir()} == set(KINDS)  # and no draft
    for name in KINDS[:2]:
        found = list(detections_in(read_geojson(folder / name)))
        assert [one.box.corners for one in found] == [
            pytest.approx(entry.result.detections[0].box.corners, abs=0.01) for entry in entries
        ]
    rows = list(csv.DictReader((folder / "a.csv").read_text().splitlines()))
    assert [row["result"] for row in rows] == ["1", "2"]
    assert float(rows[1]["width_um"]) == pytest.approx(40, abs=1)
    views = list(csv.DictReader((folder / "a.views.csv").read_text().splitlines()))
    assert [row["result"] for row in views if row["view"] == "picture"] == ["1", "2"]
    assert [row["view"] for row in views if row["view"] != "picture"] == ["zoom 1"]
    lines = [json.loads(line) for line in (folder / "a.jsonl").read_text().splitlines()]
    assert [line["result"] for line in lines] == [1, 2]
    entries = read_manifest(folder / "a.json").entries
    assert [entry.request.budget for entry in entries] == ["auto", "native"]
    assert all(entry.digest for entry in entries)
    assert known_model == ["embedded"]
    assert (folder / "a.html").read_text().count("base64,") == 2
    for file in folder.iterdir():
        assert b"PLANTED" not in file.read_bytes()
    assert [text for _, text in messages] == [f"{name} was saved." for name in KINDS]


def test_one_answer_or_those_of_the_same_image(answered: Any, qtbot: Any, tmp_path: Path) -> None:
    viewer, dock = answered
    other = viewer.add_image(np.full((100, 100, 3), 255, np.uint8), rgb=True, name="other")
    dock.session.add(dock.session.entries[0].result, other)
    dock.history.itemClicked.emit(dock.history.item(1))
    dock.save_button.menu().aboutToShow.emit()
    titles = [action.text() for action in dock.save_button.menu().actions()]
    assert titles == ["Answer 2", "All 2 answers about this image"]
    kinds = [
        [a.text() for a in action.menu().actions()] for action in dock.save_button.menu().actions()
    ]
    assert kinds[0] == kinds[1]
    assert len(set(kinds[0])) == 6
    assert not save(dock, qtbot, [dock.session.entries[1]], tmp_path / "one.jsonl")
    assert len((tmp_path / "one.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "name", "column"),
    [
        ("Table of findings (.csv)…", "a.csv", "label"),
        ("Table of views (.views.csv)…", "a.views.csv", "place"),
        ("Table of views (.views.csv)…", "b.csv", "place"),  # as it was chosen
        ("Table of findings (.csv)…", "b.views.csv", "label"),
        ("Transcript (.jsonl)…", "a.csv", "label"),  # as it is called
    ],
)
def test_the_menu_offers_both_tables(
    answered: Any,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    name: str,
    column: str,
) -> None:
    from qtpy.QtWidgets import QFileDialog

    monkeypatch.setattr(QFileDialog, "exec", lambda self: True)
    monkeypatch.setattr(QFileDialog, "selectedFiles", lambda self: [str(tmp_path / name)])
    _, dock = answered
    dock.save_button.menu().aboutToShow.emit()
    (this, _) = dock.save_button.menu().actions()
    (first,) = (a for a in this.menu().actions() if a.text() == kind)
    with qtbot.waitSignal(dock.save_button.saved) as saved:
        first.trigger()
    assert saved.args == [""]
    table = csv.DictReader((tmp_path / name).read_text().splitlines())
    assert column in (table.fieldnames or ())


@pytest.mark.parametrize(
    ("name", "part"),
    [("none/a.csv", "a.csv cannot be written"), ("a.doc", "a.doc does not say what to write")],
)
def test_what_cannot_be_written_is_said_without_a_path(
    answered: Any, qtbot: Any, tmp_path: Path, messages: list[Any], name: str, part: str
) -> None:
    _, dock = answered
    assert save(dock, qtbot, dock.session.entries, tmp_path / name).startswith(part)
    ((severity, text),) = messages
    assert severity == "error"
    assert text.startswith(part)
    assert str(tmp_path) not in text
    assert dock.save_button.isEnabled()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ModelError("there is no model; choose one"), KeyError("/a/b")])
def test_a_model_that_is_gone(
    answered: Any,
    qtbot: Any,
    tmp_path: Path,
    messages: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def gone(model_id: str) -> UsedModel:
        raise error

    monkeypatch.setattr("napari_pathreason.slide_run.used_model", gone)
    _, dock = answered
    save(dock, qtbot, dock.session.entries, tmp_path / "a.json")
    ((_, text),) = messages
    assert text == (
        str(error)
        if isinstance(error, ModelError)
        else "unexpected KeyError while saving; please report it"
    )
    assert not list(tmp_path.iterdir())


def test_a_closed_image(answered: Any, qtbot: Any, tmp_path: Path, messages: list[Any]) -> None:
    _, dock = answered
    (entry, *_) = dock.session.entries
    closed = type(entry)(entry.id, entry.result, lambda: None)
    save(dock, qtbot, [closed], tmp_path / "a.geojson")
    assert "was closed; open slide again" in messages[0][1]


def test_nothing_to_save_before_an_answer(make_dock: Callable[..., tuple[Any, Any]]) -> None:
    _, dock = make_dock()
    assert not dock.save_button.isEnabled()
