"""What the docks were set to, kept for the next time they are opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_warning
from pydantic import TypeAdapter, ValidationError

from napari_pathreason.errors import ExportError
from napari_pathreason.files import atomic_text
from napari_pathreason.types import Budget, TaskName

from ._preferences import config_folder
from ._regions import RegionSource

FILE = "napari-pathreason-docks.json"
"""Beside the plugin's preferences; holds no name of a slide and no path but a model's folder."""


@dataclass(frozen=True, slots=True)
class AskState:
    """Form of the Ask dock; an empty ``model`` is the one of the preferences."""

    task: TaskName = "vqa"
    question: str = ""
    options: str = ""
    region: RegionSource = "view"
    budget: Budget = "auto"
    model: str = ""


@dataclass(frozen=True, slots=True)
class BudgetState:
    """The Token budget dock: the tab by its title, the budgets to compare, the token grid."""

    tab: str = ""
    compared: tuple[Budget, ...] = (16, 256)
    grid: bool = False


@dataclass(frozen=True, slots=True)
class DockState:
    """Of all docks."""

    ask: AskState = field(default_factory=AskState)
    budget: BudgetState = field(default_factory=BudgetState)


_FORM = TypeAdapter(DockState)


def state_file() -> Path | None:
    """Where the state is kept; None where napari keeps no settings."""
    folder = config_folder()
    return None if folder is None else folder / FILE


class DockMemory:
    """The last `DockState`, in a file that is there whole or not at all.

    Parameters
    ----------
    file : callable
        Gives the file, or None for a memory that ends with this object.
    """

    def __init__(self, file: Callable[[], Path | None] = state_file) -> None:
        self._file = file
        self._state: DockState | None = None
        self._warned = False

    @property
    def state(self) -> DockState:
        """What was kept last; the first time it is read, and a damaged file says so once."""
        if self._state is None:
            self._state = DockState()
            file = self._file()
            with suppress(OSError):  # most often there is none yet
                text = file.read_bytes() if file is not None else None
                try:
                    if text is not None:
                        self._state = _FORM.validate_json(text)
                except ValidationError:
                    self._warn(
                        f"{FILE} is damaged; the docks begin with their defaults and replace it"
                    )
        return self._state

    def keep(self, **parts: Any) -> None:
        """Keep ``ask`` or ``budget``; a file that cannot be written says so once."""
        state = replace(self.state, **parts)
        if state == self._state:
            return
        self._state = state
        file = self._file()
        if file is None:
            return
        try:
            with suppress(OSError):  # what is wrong shows when the file is written
                file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_text(file) as out:
                out.write(_FORM.dump_json(state, indent=2).decode() + "\n")
        except ExportError as error:
            self._warn(f"the docks cannot keep their settings: {error}")

    def _warn(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            show_warning(text)
