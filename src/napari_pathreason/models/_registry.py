"""Models that were trained on this machine, so that the docks offer them. No torch.

A list of folders in the user's own folder, ``~/.pathreason/models.json``, or below
``PATHREASON_HOME``. A folder that is gone is left out, and a damaged list is empty.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from napari_pathreason.files import write_json

HOME = "PATHREASON_HOME"
"""Environment variable that names the folder in place of ``~/.pathreason``."""
LIST = "models.json"
MOST = 30
"""Models that are remembered; beyond that the oldest go."""


def remember_model(folder: Path) -> None:
    """Put a model in front of the list.

    Parameters
    ----------
    folder : Path
        That holds the weights.

    Raises
    ------
    ExportError
        If the list cannot be written.
    """
    own = str(folder.expanduser().resolve())
    models = [own, *(model for model in _listed() if model != own)][:MOST]
    _file().parent.mkdir(parents=True, exist_ok=True)
    write_json(_file(), models)


def remembered_models() -> list[str]:
    """Folders of models that are still there, the last one first."""
    return [model for model in _listed() if (Path(model) / "config.json").is_file()]


def home() -> Path:
    """The user's own folder of this package, which may not be there yet."""
    named = os.environ.get(HOME)
    return Path(named) if named else Path.home() / ".pathreason"


def _file() -> Path:
    return home() / LIST


def _listed() -> list[str]:
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # no home folder is a RuntimeError
        return []
    return (
        [model for model in content if isinstance(model, str)] if isinstance(content, list) else []
    )
