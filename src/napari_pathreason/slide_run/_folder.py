"""The folder of a run: plan and journal, whole after any interruption, one process at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari_pathreason.errors import ExportError
from napari_pathreason.files import Journal, write_json

from ._plan import FORMAT, AnswersKey, RunPlan
from ._record import TileRecord

if TYPE_CHECKING:
    from pydantic import TypeAdapter

LOCK, PLAN, JOURNAL = ".lock", "plan.json", "tiles.jsonl"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder to this process; it is made if it is missing.

    The lock is the system's own: it is gone with the process that held it, however that ended.

    Raises
    ------
    ExportError
        If another process holds it, or the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise ExportError(
            f"another process is at work in the folder {folder.name}; "
            "wait for its end or choose another folder"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def write_plan(folder: Path, plan: RunPlan) -> None:
    """Keep a plan; whole or not at all."""
    values = _plans().dump_python(plan, mode="json")
    for topic in (values["model"]["metadata"] or {}).get("topics", ()):
        topic["words"].sort()  # a set has no order of its own, and equal plans are equal bytes
    write_json(folder / PLAN, values, indent=None)


def read_plan(folder: Path) -> RunPlan | None:
    """The plan of a folder, None where there is none.

    Raises
    ------
    ExportError
        If the file is damaged or of another version.
    """
    remedy = "choose another folder, or delete this one to begin anew"
    try:
        values = json.loads((folder / PLAN).read_bytes())
        if values["format"] != FORMAT:
            raise ExportError(
                f"the run in the folder {folder.name} is of another version ({values['format']}), "
                f"whose tiles are not kept as they are now ({FORMAT}); {remedy}"
            )
        return _plans().validate_python(values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ExportError(f"{PLAN} in the folder {folder.name} is damaged; {remedy}") from error


def holds_run(folder: Path) -> bool:
    """Whether a run was begun in a folder, finished or not."""
    return (folder / PLAN).is_file()


@dataclass(frozen=True, slots=True)
class AnsweredGroup:
    """A line of the journal: tiles that were answered together, and what their answers are to."""

    key: AnswersKey
    tiles: tuple[TileRecord, ...]


class TileJournal:
    """Records of finished tiles, a line for each group of them; see `files.Journal`.

    Tiles of a line that was not finished are run again. Each line says to what its answers belong,
    so that those to another request are never taken for answers to this one, whatever became of
    the plan that they were made under.

    Parameters
    ----------
    folder : Path
        Must be held by `locked`.
    key : AnswersKey
        Of the answers that are read and added.
    """

    def __init__(self, folder: Path, key: AnswersKey) -> None:
        self._journal = Journal(folder / JOURNAL)
        self._key = key

    def read(self) -> Iterator[tuple[TileRecord, ...]]:
        """Whole groups of this key, in the order in which they came."""
        for line in self._journal.lines():
            group = _parsed(line)
            if group is not None and group.key == self._key:
                yield group.tiles

    def add(self, group: Sequence[TileRecord]) -> None:
        """Append a group; it is on the disk when this returns.

        Raises
        ------
        ExportError
            If the disk is full or gone.
        """
        self._journal.append(_groups().dump_json(AnsweredGroup(self._key, tuple(group))))


def _parsed(line: bytes) -> AnsweredGroup | None:
    try:
        return _groups().validate_json(line)
    except ValueError:  # a damaged disk; its tiles are run again
        return None


@cache
def _plans() -> TypeAdapter[RunPlan]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunPlan)


@cache
def _groups() -> TypeAdapter[AnsweredGroup]:
    from pydantic import TypeAdapter

    return TypeAdapter(AnsweredGroup)


def _unwritable(path: Path, error: Exception) -> ExportError:
    why = getattr(error, "strerror", None) or type(error).__name__
    return ExportError(f"{path.name} cannot be written ({why}); choose another folder")
