"""The folder of a run: plan and journal, whole after any interruption, one process at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari_pathreason.errors import ExportError
from napari_pathreason.files import atomic_bytes

from ._plan import FORMAT, RunPlan
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
    told = _plans().dump_python(plan, mode="json")
    for topic in (told["model"]["metadata"] or {}).get("topics", ()):
        topic["words"].sort()  # a set has no order of its own, and equal plans are equal bytes
    with atomic_bytes(folder / PLAN) as file:
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        file.write(text.encode() + b"\n")


def read_plan(folder: Path) -> RunPlan | None:
    """The plan of a folder, None where there is none.

    Raises
    ------
    ExportError
        If the file is damaged or of another version.
    """
    remedy = "choose another folder, or delete this one to begin anew"
    try:
        told = json.loads((folder / PLAN).read_bytes())
        if told["format"] != FORMAT:
            raise ExportError(
                f"the run in the folder {folder.name} is of another version ({told['format']}), "
                f"whose tiles are not judged as they are now ({FORMAT}); {remedy}"
            )
        return _plans().validate_python(told)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ExportError(f"{PLAN} in the folder {folder.name} is damaged; {remedy}") from error


def holds_run(folder: Path) -> bool:
    """Whether a run was begun in a folder, finished or not."""
    return (folder / PLAN).is_file()


class Journal:
    """Records of finished tiles, a line for each group of them.

    A line counts once it is whole and on the disk; what a killed process left half written is cut
    off at the next start, and its tiles are run again.

    Parameters
    ----------
    folder : Path
        Must be held by `locked`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL

    def read(self) -> Iterator[tuple[TileRecord, ...]]:
        """Whole groups, in the order in which they came."""
        try:
            with self._path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n") and (group := _parsed(line)):
                        yield group
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def mend(self) -> None:
        """Cut off a line that was not finished."""
        try:
            with self._path.open("r+b") as file:
                whole = sum(len(line) for line in file if line.endswith(b"\n"))
                if whole < file.tell():
                    file.truncate(whole)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def add(self, group: Sequence[TileRecord]) -> None:
        """Append a group; it is on the disk when this returns.

        Raises
        ------
        ExportError
            If the disk is full or gone.
        """
        line = _groups().dump_json(tuple(group)) + b"\n"
        try:
            with self._path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self._path, error) from error


def _parsed(line: bytes) -> tuple[TileRecord, ...] | None:
    try:
        return _groups().validate_json(line)
    except ValueError:  # a damaged disk; its tiles are run again
        return None


@cache
def _plans() -> TypeAdapter[RunPlan]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunPlan)


@cache
def _groups() -> TypeAdapter[tuple[TileRecord, ...]]:
    from pydantic import TypeAdapter

    return TypeAdapter(tuple[TileRecord, ...])


def _unwritable(path: Path, error: Exception) -> ExportError:
    why = getattr(error, "strerror", None) or type(error).__name__
    return ExportError(f"{path.name} cannot be written ({why}); choose another folder")
