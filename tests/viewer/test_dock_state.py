"""The docks' settings from one session to the next."""

import json
import os
from pathlib import Path

import pytest

from napari_pathreason.viewer import AskState, BudgetState, DockMemory, DockState, state_file

FORM = AskState("detection", "Wo \N{GREEK SMALL LETTER MU}?", "tumour", "view", 64, "folder/model")


def test_what_is_kept_is_there_for_the_next_session(tmp_path: Path):
    warnings: list[str] = []
    file = tmp_path / "not" / "yet" / "docks.json"
    memory = DockMemory(lambda: file, warnings.append)
    assert memory.state == DockState()
    memory.keep(ask=FORM)
    memory.keep(budget=BudgetState("History", (4, "native"), True))
    again = DockMemory(lambda: file, warnings.append).state
    assert again == DockState(FORM, BudgetState("History", (4, "native"), True))
    assert [path.name for path in file.parent.iterdir()] == ["docks.json"]
    assert warnings == []


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
def test_a_damaged_file_is_ignored_with_one_warning_and_replaced(tmp_path: Path, text: bytes):
    warnings: list[str] = []
    file = tmp_path / "docks.json"
    file.write_bytes(text)
    memory = DockMemory(lambda: file, warnings.append)
    assert memory.state == memory.state == DockState()
    assert len(warnings) == 1
    assert "damaged" in warnings[0]
    assert str(tmp_path) not in warnings[0]
    memory.keep(ask=FORM)
    assert DockMemory(lambda: file, warnings.append).state.ask == FORM
    assert len(warnings) == 1


def test_keys_of_a_newer_version_do_no_harm(tmp_path: Path):
    warnings: list[str] = []
    file = tmp_path / "docks.json"
    file.write_text(json.dumps({"ask": {"question": "Why?", "mood": 3}, "slides": {}}))
    assert DockMemory(lambda: file, warnings.append).state.ask.question == "Why?"
    assert warnings == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders that cannot be written")
def test_a_folder_that_cannot_be_written_is_said_once_and_the_session_remembers(tmp_path):
    warnings: list[str] = []
    (tmp_path / "file").touch()
    memory = DockMemory(lambda: tmp_path / "file" / "docks.json", warnings.append)
    memory.keep(ask=FORM)
    memory.keep(budget=BudgetState("History"))
    assert memory.state == DockState(FORM, BudgetState("History"))
    assert len(warnings) == 1


def test_it_lies_beside_the_preferences(config_folder: Path):
    assert state_file() == config_folder / "napari-pathreason-docks.json"
