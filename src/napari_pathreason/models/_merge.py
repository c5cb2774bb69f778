"""An adapter folder as a checkpoint that stands alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from napari_pathreason.errors import ModelError
from napari_pathreason.files import atomic_folder

from ._adapter import CONFIG, find_base, merge_adapter
from ._allocators import FOLDER, SETTINGS
from ._checkpoint import check_whole, find_checkpoint
from ._config import CALIBRATION, read_info
from ._index import write_index
from ._loading import described_in
from ._metadata import METADATA
from ._pretrained import load_weights
from ._runtime import quiet_transformers

_OF_MODEL = ("*.json", "*.jinja", "*.txt")
_OF_TRAINING = {METADATA, CALIBRATION, SETTINGS, "run.json"}
"""What a base says of its own training, which does not hold once an adapter is added."""


def write_merged(model_id: str | Path, out: Path) -> Path:
    """Add an adapter into its base's weights and write the whole model, in the base's precision.

    What lies beside the adapter (tokenizer, metadata, calibration, allocator) goes along; of the
    base only what its weights need.

    Parameters
    ----------
    model_id : str or Path
        Folder or hub id of an adapter.
    out : Path
        A folder that is not there yet.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    ModelError
        If there is no adapter, it does not fit its base, or ``out`` is there already.
    """
    folder, name = find_checkpoint(model_id)
    if not (folder / CONFIG).is_file():
        raise ModelError(f"the model {name} has no adapter to merge; it can be used as it is")
    if out.exists():
        raise ModelError(f"the folder {out.name} is there already; give a new one")
    base = find_base(folder, name)
    info = read_info(described_in(folder, base), name, folder)
    check_whole(folder, info.name, base)
    model = merge_adapter(load_weights(base, info, "auto"), folder, info.name)
    with atomic_folder(out) as draft:
        with quiet_transformers():
            model.save_pretrained(draft)
        write_index(draft)
        files = [file for pattern in (*_OF_MODEL, "*.safetensors") for file in folder.glob(pattern)]
        of_base = [file for pattern in _OF_MODEL for file in base.glob(pattern)]
        files += [file for file in of_base if file.name not in _OF_TRAINING]
        for file in files:  # what the adapter's folder holds stands before the base's
            if not file.name.startswith(("adapter_", "model")) and not (draft / file.name).exists():
                shutil.copy(file, draft)
        if (folder / FOLDER).is_dir():  # it was trained on the merged weights, and fits them
            shutil.copytree(folder / FOLDER, draft / FOLDER)
    return out
