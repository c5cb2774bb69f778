"""The docks' settings from one session to the next."""

import json
import os
from pathlib import Path

import pytest

from napari_pathreason.viewer import AskState, BudgetState, DockMemory, DockState, state_file

ASKED = AskState("detection", "Wo \N{GREEK SMALL LETTER MU}?", "tumour", "view", 64, "folder/model")


@pytest.fixture
def told(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr("napari_pathreason.viewer._dock_state.show_warning", lines.append)
    return lines


def test_what_is_kept_is_there_for_the_next_session(tmp_path: Path, told):
    file = tmp_path / "not" / "yet" / "docks.json"
    memory = DockMemory(lambda: file)
    assert memory.state == DockState()
    memory.keep(ask=ASKED)
    memory.keep(budget=BudgetState("History", (4, "native"), True))
    again = DockMemory(lambda: file).state
    assert again == DockState(ASKED, BudgetState("History", (4, "native"), True))
    assert [path.name for path in file.parent.iterdir()] == ["docks.json"]
    assert told == []


def test_nothing_is_written_while_nothing_has_changed(tmp_path: Path):
    file = tmp_path / "docks.json"
    DockMemory(lambda: file).keep(ask=AskState())
    assert not file.exists()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        json.dumps({"ask": {"task": "poetry"}}).encode(),
        json.dumps({"ask": {"budget": "much"}}).encode(),
        json.dumps({"budget": {"compared": 4}}).encode(),
    ],
)
def test_a_damaged_file_is_ignored_with_one_warning_and_replaced(tmp_path: Path, told, text: bytes):
    file = tmp_path / "docks.json"
    file.write_bytes(text)
    memory = DockMemory(lambda: file)
    assert memory.state == memory.state == DockState()
    assert len(told) == 1
    assert "damaged" in told[0]
    assert str(tmp_path) not in told[0]
    memory.keep(ask=ASKED)
    assert DockMemory(lambda: file).state.ask == ASKED
    assert len(told) == 1


def test_keys_of_a_newer_version_do_no_harm(tmp_path: Path, told):
    file = tmp_path / "docks.json"
    file.write_text(json.dumps({"ask": {"question": "Why?", "mood": 3}, "slides": {}}))
    assert DockMemory(lambda: file).state.ask.question == "Why?"
    assert told == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders that cannot be written")
def test_a_folder_that_cannot_be_written_is_told_once_and_the_session_remembers(tmp_path, told):
    (tmp_path / "file").touch()
    memory = DockMemory(lambda: tmp_path / "file" / "docks.json")
    memory.keep(ask=ASKED)
    memory.keep(budget=BudgetState("History"))
    assert memory.state == DockState(ASKED, BudgetState("History"))
    assert len(told) == 1


def test_it_lies_beside_the_preferences(config_folder: Path):
    assert state_file() == config_folder / "napari-pathreason-docks.json"
