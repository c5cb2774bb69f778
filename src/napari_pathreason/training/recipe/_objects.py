"""Code that a recipe names as ``module:name``: an objective, a reward function.

It is found beside the recipe or among installed modules. A checkpoint's folder is no place for it:
weights are fetched from others, and nothing of theirs is ever run.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from napari_pathreason.errors import QueryError

CHECKPOINT = ("config.json", "adapter_config.json")
"""What tells that a folder is a checkpoint's."""


def load_object(reference: str, beside: Sequence[Path] = ()) -> Any:
    """What a recipe names.

    Parameters
    ----------
    reference : str
        ``module:name``. The module is ``module.py`` in one of the folders, or else an installed
        one, such as ``mylab.rewards``.
    beside : sequence of Path
        Folders of the recipe and of those that it extends, the nearest first.

    Raises
    ------
    QueryError
        If it is not of this form, is not there, lies in a checkpoint's folder, or its module
        cannot be imported; says so in one line.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise QueryError(f"{reference!r} names no code; write module:name")
    file = file_beside(reference, beside)
    try:
        module = importlib.import_module(module_name) if file is None else _import_file(file)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise QueryError(
                f"{reference} needs the module {error.name}, which is missing"
            ) from error
        raise QueryError(
            f"there is no {module_name}.py beside the recipe, and no installed module "
            f"{module_name}, for {reference}"
        ) from None
    except Exception as error:  # whatever the module itself raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise QueryError(f"{reference} cannot be imported: {reason}") from error
    if not hasattr(module, name):
        where = module_name if file is None else file.name
        raise QueryError(f"there is no {name} in {where}, for {reference}")
    return getattr(module, name)


def file_beside(reference: str, beside: Sequence[Path] = ()) -> Path | None:
    """The file that ``module:name`` is taken from; None where an installed module is meant.

    Raises
    ------
    QueryError
        If it lies in a checkpoint's folder.
    """
    name = reference.partition(":")[0] + ".py"
    file = next((folder / name for folder in beside if (folder / name).is_file()), None)
    if file is not None and any((file.parent / mark).is_file() for mark in CHECKPOINT):
        raise QueryError(
            f"{name} lies in a checkpoint's folder, out of which no code is run; move it and the "
            "recipe elsewhere"
        )
    return file


def _import_file(file: Path) -> ModuleType:
    """A file as a module of its own name, imported once, whatever is installed under that name."""
    place = str(file.resolve())
    name = f"{file.stem}_{hashlib.sha256(place.encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = place
    sys.modules[name] = module  # dataclasses and pickle look there
    try:
        SourceFileLoader(name, place).exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
