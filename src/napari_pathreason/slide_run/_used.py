"""Which model answers, told apart by its weights and not by where they lie."""

from __future__ import annotations

from pathlib import Path

from napari_pathreason.exports import UsedModel, weights_sha256
from napari_pathreason.models import find_checkpoint


def used_model(model_id: str, device: str = "auto") -> UsedModel:
    """Name and hash of a model; it is not loaded.

    Parameters
    ----------
    model_id : str
        ``embedded``, a folder or a hub id.
    device : str
        As it is asked for.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    folder, name = find_checkpoint(model_id)
    told = model_id in (name, "embedded") and not Path(model_id).is_dir()
    return UsedModel(name, model_id if told else "", device, weights_sha256(folder))
