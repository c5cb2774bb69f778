"""A run from the dock: started, paused, cancelled, ended by trouble."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from napari_pathreason.viewer import RunState, session_of


def start_gated(dock: Any, qtbot: Any, factory: Any) -> Any:
    """Start a run whose performer answers as often as its gate lets it; gives the performer."""
    factory.behaviour = "gated"
    dock.start()
    qtbot.waitUntil(lambda: bool(factory.made))
    return factory.made[0][1].performer


def test_the_same_files_as_the_shell(
    dock: Any,
    wait: Any,
    slide_file: Path,
    tmp_path: Path,
    factory: Any,
    monkeypatch: Any,
    files_of: Any,
) -> None:
    from napari_pathreason.cli import main

    dock.start()
    wait()
    ((_, models),) = factory.made
    monkeypatch.setattr("napari_pathreason.models.load_models", lambda *_, **__: models)
    words = ["detect", str(slide_file), "-o", str(tmp_path / "shell"), "--lesions", "marker"]
    words += ["--slide-mpp", "0.5", "--mpp", "0.5", "--tile", "192", "--budget", "16"]
    assert main([*words, "--min-tissue", "0.5"]) == 0
    assert files_of(tmp_path / "dock" / "slide.tif") == files_of(tmp_path / "shell" / "slide.tif")


def test_a_finished_folder_says_so_and_shows_its_result(
    dock: Any, viewer: Any, wait: Any, factory: Any, markers: Any, boxes: Any
) -> None:
    assert dock.start_button.text() == "Start"
    dock.start()
    wait()
    assert dock.start_button.text() == "Show result"
    made = len(factory.made)
    session_of(viewer).close_models()
    dock.start()
    wait()
    assert "Finished before" in dock.progress.label.text()
    tiles = len(dock.runner.so_far.records)
    first = f"0 of {tiles} tiles reliable: {tiles} uncertain"  # it says nothing of its training
    assert dock.reliability.text == first
    assert "does not say what it was trained on" in dock.reliability.toolTip()
    layout = dock.result.parentWidget().layout()
    assert 0 <= layout.indexOf(dock.reliability) < layout.indexOf(dock.result)
    assert dock.result.text().startswith(f"{len(markers)} marker (uncertain); ")
    assert re.search(r"read, [\d,]+ of [\d,]+ tokens \(\d+ %\), [\d.]+ s$", dock.result.text())
    assert "Mpx decoded" in dock.result.toolTip()
    assert len(factory.made) == made
    assert len(boxes(viewer)) == len(markers)
    assert len(viewer.layers) == 4


def test_pause_takes_no_further_tile_and_resume_goes_on(
    dock: Any, viewer: Any, wait: Any, qtbot: Any, factory: Any
) -> None:
    performer = start_gated(dock, qtbot, factory)
    performer.gate.release(2)
    qtbot.waitUntil(lambda: dock.runner.so_far.changes == 2)
    dock.pause()
    assert dock.pause_button.text() == "Resume"
    assert not dock.session.asking
    performer.gate.release(100)
    qtbot.waitUntil(lambda: dock.runner.so_far.changes == 3)  # it was in hand
    qtbot.wait(300)
    assert dock.runner.so_far.changes == 3
    assert "Paused" in dock.progress.label.text()
    dock.pause()
    assert dock.session.asking
    wait()
    assert "Done" in dock.progress.label.text()
    assert not dock.session.asking


def test_cancel_in_a_pause_and_start_again(
    dock: Any, wait: Any, qtbot: Any, factory: Any, messages: list[Any]
) -> None:
    performer = start_gated(dock, qtbot, factory)
    performer.gate.release(3)
    qtbot.waitUntil(lambda: dock.runner.so_far.changes >= 2)
    dock.pause()
    dock.cancel()
    performer.gate.release(1)
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=5000)
    assert "are kept" in dock.progress.label.text()
    qtbot.waitUntil(lambda: not dock.runner.closing)
    kept = dock.runner.so_far.changes
    performer.gate.release(1000)
    dock.start()
    wait()
    assert "Done" in dock.progress.label.text()
    assert len(performer.seen) <= len(dock.runner.so_far.records) + 1  # one was in hand
    assert kept >= 2
    assert not messages


def test_cancel_of_a_model_that_hears_nothing(
    dock: Any, qtbot: Any, factory: Any, messages: list[Any]
) -> None:
    factory.behaviour = "deaf"
    dock.start()
    qtbot.waitUntil(lambda: bool(factory.made and factory.made[0][1].performer.seen))
    dock.cancel()
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=3000)
    assert "Cancelled" in dock.progress.label.text()
    assert not messages
    qtbot.waitUntil(lambda: not dock.runner.closing)


def test_a_model_that_fails_is_one_line_and_what_is_done_is_kept(
    dock: Any, wait: Any, factory: Any, messages: list[Any]
) -> None:
    factory.behaviour = "die"
    dock.start()
    wait()
    assert [severity for severity, _ in messages] == ["error"]
    assert "ended unexpectedly" in messages[0][1]
    assert "Failed" in dock.progress.label.text()
    assert dock.start_button.isEnabled()


def test_a_refusal_is_a_hint_in_the_dock(dock: Any, wait: Any, messages: list[Any]) -> None:
    """Error boxes are left to what failed: the folder holds another run, and another one helps."""
    dock.start()
    wait()
    dock.form.options_edit.setText("other")
    dock.start()
    wait()
    assert dock.progress.label.text() == "Not started."
    assert "choose another folder" in dock.result.text()
    assert messages == []


def test_a_busy_model_and_wrong_settings_are_one_line_each(
    dock: Any, messages: list[Any], factory: Any
) -> None:
    other = dock.session.runs.add()
    other.move(RunState.LOADING)
    dock.start()
    other.rest()
    dock.form.options_edit.setText(" , ")
    dock.start()
    dock.form.options_edit.setText("marker")
    dock.form.folder_edit.setText("")
    dock.start()
    assert [severity for severity, _ in messages] == ["error", "info", "info"]
    assert ["busy" in text or "answering" in text for _, text in messages] == [True, False, False]
    assert not factory.made


def test_a_slide_that_is_closed_ends_its_run(
    dock: Any, viewer: Any, qtbot: Any, factory: Any, messages: list[Any]
) -> None:
    factory.behaviour = "slow"
    dock.start()
    qtbot.waitUntil(lambda: bool(factory.made))
    viewer.layers.remove(dock.tile_selection.image())
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=5000)
    assert "was closed" in messages[0][1]


def test_a_folder_brings_its_own_settings(
    dock: Any, wait: Any, tmp_path: Path, qtbot: Any, factory: Any, messages: list[Any]
) -> None:
    factory.behaviour = "slow"
    dock.start()
    qtbot.waitUntil(lambda: dock.runner.so_far.plan is not None)
    dock.cancel()
    wait()
    assert dock.start_button.text() == "Resume"
    folder = dock.form.folder_edit.text()
    dock.form.folder_edit.setText(str(tmp_path / "other"))
    assert dock.start_button.text() == "Start"
    dock.form.tile_box.setValue(256)
    dock.form.options_edit.setText("another")
    dock.form.folder_edit.setText(folder)
    assert (dock.form.tile_box.value(), dock.form.options_edit.text()) == (192, "marker")
    assert dock.start_button.text() == "Resume"
    dock.form.tile_box.setValue(256)  # what the user sets then is the user's
    assert dock.start_button.text() == "Start"
    dock.form.tile_box.setValue(192)
    dock.session.close_models()
    factory.behaviour = "answer"
    dock.start()
    wait()
    assert dock.start_button.text() == "Show result"
    assert messages == []
