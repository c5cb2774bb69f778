"""How a model writes boxes where its user says so, remembered on this machine. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from napari_pathreason.files import write_json
from napari_pathreason.types import BoxSpace

from ._registry import home

FILE = "boxes.json"


def remember_box_space(folder: Path, name: str, space: str) -> None:
    """Remember how a checkpoint writes boxes; empty forgets it.

    Raises
    ------
    ExportError
        If it cannot be written.
    """
    spaces = _remembered() | {_key(folder, name): space}
    home().mkdir(parents=True, exist_ok=True)
    write_json(home() / FILE, {key: value for key, value in spaces.items() if value})


def box_space_of(folder: Path, name: str) -> BoxSpace | None:
    """How its user says that a checkpoint writes boxes; None where nothing is said."""
    space = _remembered().get(_key(folder, name))
    return next((one for one in get_args(BoxSpace) if one == space), None)


def _key(folder: Path, name: str) -> str:
    """A hub id, whichever of its snapshots is here; else where the folder lies."""
    in_cache = folder.parent.name == "snapshots" and folder.parents[1].name.startswith("models--")
    return name if in_cache else str(folder.expanduser().resolve())


def _remembered() -> dict[str, str]:
    try:
        content = json.loads((home() / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # no home folder is a RuntimeError
        return {}
    return content if isinstance(content, dict) else {}
