"""The folder of a run: plan and journal, whole after any interruption, one process at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_pathreason.errors import ExportError
from napari_pathreason.files import write_json

from ._journal import GroupJournal
from ._plan import FORMAT, RunPlan
from ._record import TileRecord

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
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
    """The plan of a folder, None where there is none; see `read_own`."""
    return read_own(folder / PLAN, FORMAT, _plans())


def read_own(path: Path, form: str, adapter: TypeAdapter[T]) -> T | None:
    """What a file in a folder of ours says of it, None where there is none.

    Parameters
    ----------
    path : Path
    form : str
        Value of its ``format``.
    adapter : TypeAdapter

    Raises
    ------
    ExportError
        If the file is damaged or of another version.
    """
    remedy = "choose another folder, or delete this one to begin anew"
    try:
        values = json.loads(path.read_bytes())
        if values["format"] != form:
            raise ExportError(
                f"what the folder {path.parent.name} holds is of another version "
                f"({values['format']}), whose answers are not kept as they are now ({form}); "
                f"{remedy}"
            )
        return adapter.validate_python(values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ExportError(
            f"{path.name} in the folder {path.parent.name} is damaged; {remedy}"
        ) from error


def holds_run(folder: Path) -> bool:
    """Whether a run was begun in a folder, finished or not."""
    return (folder / PLAN).is_file()


def tile_journal(folder: Path, plan: RunPlan) -> GroupJournal[TileRecord]:
    """Records of finished tiles; the folder must be held by `locked`."""
    return GroupJournal(folder / JOURNAL, plan.identity.key, "tiles", TileRecord)


@cache
def _plans() -> TypeAdapter[RunPlan]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunPlan)


def _unwritable(path: Path, error: Exception) -> ExportError:
    why = getattr(error, "strerror", None) or type(error).__name__
    return ExportError(f"{path.name} cannot be written ({why}); choose another folder")
