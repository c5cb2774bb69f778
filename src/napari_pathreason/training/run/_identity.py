"""What a run learns from: a state is taken up only by the run that wrote it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.exports import fingerprint
from napari_pathreason.files import Format, check_sum, with_checksum
from napari_pathreason.models import (
    checkpoint_sha256,
    described_in,
    find_base,
    find_checkpoint,
    read_info,
)
from napari_pathreason.training.recipe import PolicyRecipe, Recipe, SFTRecipe, file_beside

from ._metadata import data_identity

FORMAT = Format("training state", 3, oldest=3)
"""States of version 2, which was not released, did not say which files are theirs."""
STEP = "step.json"
_OF_PROCESSES = ("random_states_", "rng_state")
"""How files begin that each process writes for itself; what is drawn does not follow from them."""
_BLOCKS = 64
"""Of 64 KiB, that tell one file of a state from another: a state may be of many gigabytes."""
_REMEDY = "choose another output, or delete that folder to begin anew"
_FREE = {
    *("stop_after", "checkpoint_every", "validate_every", "validate_samples", "start"),
    *("score_samples", "best", "patience"),
    "gather",  # where weights lie while completions are drawn, not what they are
}
"""Settings of a stage that may change in the midst of it; its start is told by its content."""
_MOST = 60
"""Characters of a setting in a line that says what differs."""


def identity_of(
    recipe: Recipe,
    stage: str,
    settings: SFTRecipe | PolicyRecipe,
    start: str,
    processes: int,
    *,
    performer_alone: bool = True,
) -> dict[str, Any]:
    """All that the steps of a stage follow from, by name.

    Parameters
    ----------
    recipe : Recipe
    stage : str
        What its settings are called in the recipe.
    settings : SFTRecipe or PolicyRecipe
    start : str
        ``embedded``, folder or hub id of the model that the stage begins with.
    processes : int
        That learn together; each draws pictures of its own.
    performer_alone : bool
        False where the allocator beside the start is asked too.
    """
    own = settings.model_dump(mode="json", exclude=_FREE)
    data = recipe.data.model_dump(mode="json", exclude={"folder"})
    lora = recipe.lora.model_dump(mode="json") if recipe.lora is not None else None
    sections = {"seed": recipe.seed, stage: own, "data": data, "lora": lora}
    if stage == "sft":
        sections["model"] = {"words": recipe.model.words}
    sections["metadata"] = {"zoom_labels": list(recipe.metadata.zoom_labels)}
    code = [*recipe.grpo.rewards] if stage == "grpo" else [recipe.sft.objective or ""]
    files = {name: file for name in code if name and (file := file_beside(name, recipe.beside))}
    folder, name = find_checkpoint(start)
    if stage == "grpo":  # of what stands beside its weights, this is learnt from
        info = read_info(described_in(folder, find_base(folder, name)), name, folder)
        own = {"boxes": info.box_space, "most tokens": info.max_visual_tokens}
        sections["start"] = own
    return {
        **dict(_flat(sections)),
        "processes": processes,
        **data_identity(Path(recipe.data.folder)),
        "start": checkpoint_sha256(folder, name, performer_alone=performer_alone),
        **{f"code of {name}": _sha256(file) for name, file in files.items()},
    }


def check_unchanged(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to learn from what is no longer what a run is called by.

    Parameters
    ----------
    before, now : mapping
        `identity_of` a run before and after its data and its start were read.

    Raises
    ------
    QueryError
        Says what has changed.
    """
    if changed := list(_differences(before, now)):
        raise QueryError(
            f"while this run began, its input was changed: {', '.join(changed)}; run it again"
        )


def state_of(step: int, of: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """What stands beside a state: steps done, to which run it belongs, and its files."""
    values = {"format": str(FORMAT), "step": step, "of": dict(of), "files": dict(files)}
    return with_checksum(json.loads(json.dumps(values)))


def files_of_state(state: Path) -> dict[str, str]:
    """Hashes of the files that a state consists of, by their names in its folder.

    Raises
    ------
    ExportError
        If one cannot be read.
    """
    return {
        file.relative_to(state).as_posix(): fingerprint(file, _BLOCKS)
        for file in sorted(state.rglob("*"))
        if file.is_file() and file.name != STEP and not file.name.startswith(_OF_PROCESSES)
    }


def check_files(state: Path, out: Path) -> int:
    """Refuse a state whose files are not those that were written together.

    Parameters
    ----------
    state : Path
        Folder of the state.
    out : Path
        Folder of the run.

    Returns
    -------
    int
        Steps done.

    Raises
    ------
    ExportError
        Names the first file that is missing or another one.
    """
    values = _read_state(state, out)
    found = files_of_state(state)
    for name, content in values["files"].items():
        if found.get(name) != content:
            raise ExportError(
                f"{name} of the state in the folder {out.name} is missing or not the one that was "
                f"written with it; {_REMEDY}"
            )
    return int(values["step"])


def _read_state(state: Path, out: Path) -> dict[str, Any]:
    try:
        values = json.loads((state / STEP).read_text(encoding="utf-8"))
        FORMAT.check(values["format"], f"the state in the folder {out.name}", _REMEDY)
        whole = check_sum(values)
        dict(whole["of"]), dict(whole["files"]), int(whole["step"])
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ExportError(f"the state in the folder {out.name} is damaged; {_REMEDY}") from error
    return whole


def check_same_run(state: Path | None, of: Mapping[str, Any], out: Path) -> None:
    """Refuse to go on from the state of another run.

    Parameters
    ----------
    state : Path or None
        Folder of the state; None where there is none.
    of : mapping
        `identity_of` this run.
    out : Path
        Folder of the run.

    Raises
    ------
    QueryError
        Says what differs.
    ExportError
        If the state is of a version that is not read, or damaged.
    """
    if state is None:
        return
    before = dict(_read_state(state, out)["of"])
    other = list(_differences(before, json.loads(json.dumps(of))))
    if other:
        raise QueryError(
            f"the folder {out.name} holds a run with {', '.join(other)}; give the same again, "
            f"{_REMEDY}"
        )


def _differences(before: Mapping[str, Any], this: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*before, *this)):
        then, now = before.get(name), this.get(name)
        if then == now:
            continue
        if name == "start":
            yield "another model to start from"
        elif name in ("data", "pictures") or name.startswith("code of "):
            yield f"other {name}"
        else:
            yield f"{name} {_words(then)} (now {_words(now)})"


def _words(value: Any) -> str:
    words = value if isinstance(value, str) else json.dumps(value)
    return words if len(words) <= _MOST else f"{words[: _MOST - 3]}..."


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their names in a recipe; tables of weights and lists are one setting."""
    for key, value in values.items():
        if isinstance(value, Mapping) and not before:
            yield from _flat(value, f"{key}.")
        else:
            yield f"{before}{key}", value


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
