"""Adapter folders: a checkpoint whose weights are those of another model and LoRA matrices on top.

As peft writes them: ``adapter_config.json`` names the base, ``adapter_model.safetensors`` holds the
matrices. Ours carry config and tokenizer too; where a folder lacks them, the base's are taken.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_pathreason.errors import ModelError
from napari_pathreason.files import atomic_text

from ._checkpoint import find_checkpoint, is_embedded
from ._config import read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""What peft puts before the names of a model's parts in its files."""
BASE_KEY = "base_model_name_or_path"
"""Of an adapter's config: where its base lies."""


def base_of(folder: Path, name: str) -> str | None:
    """What an adapter was trained on: ``embedded``, a folder or a hub id; None if it is none.

    Parameters
    ----------
    folder : Path
        Of the checkpoint; a base named by a relative path is looked for from here.
    name : str
        How the checkpoint is called.

    Raises
    ------
    ModelError
        If the adapter's config is damaged or names no base.
    """
    if not (folder / CONFIG).is_file():
        return None
    base = read_json(folder / CONFIG, name).get(BASE_KEY)
    if not isinstance(base, str) or not base:
        raise ModelError(f"{CONFIG} of the model {name} names no base model; fetch it again")
    if base == "embedded":
        return base
    beside = folder / base
    return str(beside.resolve()) if beside.is_dir() else base


def find_base(folder: Path, name: str) -> Path:
    """Folder whose weights a checkpoint builds upon: its own, or that of its adapter's base.

    Raises
    ------
    ModelError
        If the base cannot be found.
    """
    base = base_of(folder, name)
    if base is None:
        return folder
    if base.startswith(".") or os.path.isabs(base):
        if not Path(base).is_dir():
            raise ModelError(
                f"the base model {Path(base).name!r} of the adapter {name} is not where it was; "
                "put it back, or merge the adapter before it is moved: pathreason merge"
            )
    return find_checkpoint(base)[0]


def write_base(folder: Path, base: str) -> None:
    """Name ``base`` (``embedded``, folder or hub id) in an adapter's config, so that both can move.

    A folder goes by its relative path, but the one that this installation ships by its name:
    another installation has it elsewhere.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if is_embedded(base):
        base = "embedded"
    elif Path(base).is_dir():
        steps = os.path.relpath(Path(base).resolve(), folder.resolve())
        base = steps if steps.startswith(".") else os.path.join(".", steps)
    with atomic_text(folder / CONFIG) as file:
        file.write(json.dumps(config | {BASE_KEY: base}, indent=2) + "\n")


def save_matrices(folder: Path, matrices: Mapping[str, Any]) -> None:
    """Write an adapter's matrices, by the names that peft gives them within the model."""
    from safetensors.torch import save_file

    whole = {_PREFIX + n: v.detach().cpu().contiguous() for n, v in matrices.items()}
    save_file(whole, folder / WEIGHTS)


def read_matrices(folder: Path) -> dict[str, Any]:
    """What `save_matrices`, or peft, has written."""
    from safetensors.torch import load_file

    return {n.removeprefix(_PREFIX): v for n, v in load_file(folder / WEIGHTS).items()}


def merge_adapter(model: Any, folder: Path, name: str) -> Any:
    """A model with the folder's adapter added into its weights: ``W + alpha / r * B A``.

    Raises
    ------
    ModelError
        If the adapter is damaged or fits another model.
    """
    from peft import PeftModel

    try:
        with warnings.catch_warnings():  # matrices that are missing are only warned of
            warnings.simplefilter("error", UserWarning)
            return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except MemoryError:
        raise
    except (RuntimeError, ValueError, KeyError, TypeError, OSError, UserWarning) as error:
        if "memory" in str(error).lower():
            raise
        raise ModelError(
            f"the adapter of the model {name} does not fit its base; fetch both again"
        ) from error
