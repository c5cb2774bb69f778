"""The folder of a run: plan and journal, whole after any interruption, one process at a time."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_pathreason.errors import ExportError
from napari_pathreason.files import Format, check_sum, with_checksum, write_json

from ._journal import GroupJournal
from ._plan import FORMAT, RunPlan
from ._record import TileRecord

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
PLAN, JOURNAL = "plan.json", "tiles.jsonl"


def write_plan(folder: Path, plan: RunPlan) -> None:
    """Keep a plan; whole or not at all."""
    values = _plans().dump_python(plan, mode="json")
    for topic in (values["model"]["metadata"] or {}).get("topics", ()):
        topic["words"].sort()  # a set has no order of its own, and equal plans are equal bytes
    write_json(folder / PLAN, with_checksum(values), indent=None)


def read_plan(folder: Path) -> RunPlan | None:
    """The plan of a folder, None where there is none; see `read_own`."""
    return read_own(folder / PLAN, FORMAT, _plans())


def write_own(path: Path, adapter: TypeAdapter[T], value: T) -> None:
    """Keep what `read_own` reads back; whole or not at all."""
    write_json(path, with_checksum(adapter.dump_python(value, mode="json")))


def read_own(path: Path, form: Format, adapter: TypeAdapter[T]) -> T | None:
    """What a file in a folder of ours says of it, None where there is none.

    Parameters
    ----------
    path : Path
    form : Format
        Of its ``format``.
    adapter : TypeAdapter

    Raises
    ------
    ExportError
        If the file is not as it was written, or of a version that is not read; see `files.Format`.
    """
    remedy = "choose another folder, or delete this one to begin anew"
    try:
        values = json.loads(path.read_bytes())
        form.check(values["format"], f"what the folder {path.parent.name} holds", remedy)
        return adapter.validate_python(check_sum(values))
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
    return GroupJournal(folder / JOURNAL, FORMAT, plan.identity.key, "tiles", TileRecord)


@cache
def _plans() -> TypeAdapter[RunPlan]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunPlan)
