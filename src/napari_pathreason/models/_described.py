"""What a model says of itself before it is loaded: its small files alone, no torch, no network."""

from __future__ import annotations

from pathlib import Path

from napari_pathreason.errors import ModelError
from napari_pathreason.types import ModelInfo

from ._adapter import base_of
from ._checkpoint import find_checkpoint, is_hub_id
from ._config import read_info


def read_model_info(model: str | Path) -> ModelInfo | None:
    """What a model says of itself, as it lies on this machine.

    Takes a few milliseconds, so it may be asked while a user types.

    Parameters
    ----------
    model : str or Path
        ``embedded``, a folder or a hub id.

    Returns
    -------
    ModelInfo or None
        As the loaded model gives it, but for its device. None where nothing of the model is here:
        no such folder, a hub id that is not in the cache, an adapter without its base.

    Raises
    ------
    ModelError
        If one of its files is damaged, or its family is not served.
    """
    found = _held(model)
    if found is None:
        return None
    folder, name = found
    base = None if (folder / "config.json").is_file() else base_of(folder, name)
    if base is None:
        return read_info(folder, name)
    under = _held(base)  # foreign adapters come without a config
    return None if under is None else read_info(under[0], name, folder)


def _held(model: str | Path) -> tuple[Path, str] | None:
    """Folder and name of a model that is on this machine; as `find_checkpoint`, without the hub."""
    if isinstance(model, str) and is_hub_id(model) and not Path(model).is_dir():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            config = try_to_load_from_cache(model, "config.json")
        except HFValidationError:  # has the form of a hub id, but is none
            return None
        return (Path(config).parent, model) if isinstance(config, str) else None
    try:
        return find_checkpoint(model)
    except ModelError:
        return None
