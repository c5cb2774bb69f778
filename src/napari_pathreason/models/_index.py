"""The index of a folder's weights, by which servers know which files are the model's.

vLLM and `transformers serve` load every ``*.safetensors`` of a folder unless an index names those
of the model; beside ours lie weights of an allocator and of an OOD detector. No torch.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from napari_pathreason.errors import ModelError
from napari_pathreason.files import write_json

from ._checkpoint import INDEX, WHOLE

_MOST_HEADER = 100_000_000  # bytes, as the format itself has it


def read_index(folder: Path) -> dict[str, Any]:
    """The index that belongs to the weights of a folder in one file.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict
        ``metadata.total_size`` in bytes, and in ``weight_map`` the file of each tensor.

    Raises
    ------
    ModelError
        If the file of weights is missing or damaged.
    """
    try:
        with (folder / WHOLE).open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MOST_HEADER:
                raise ValueError(length)
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        sizes = [
            tensor["data_offsets"][1] - tensor["data_offsets"][0] for tensor in header.values()
        ]
    except (OSError, ValueError, LookupError, TypeError, struct.error) as error:
        raise ModelError(f"{WHOLE} of {folder.name} is damaged; fetch it again") from error
    return {
        "metadata": {"total_size": sum(sizes)},
        "weight_map": dict.fromkeys(sorted(header), WHOLE),
    }


def write_index(folder: Path) -> None:
    """Write the index beside the weights of a folder; weights in shards have theirs already.

    Raises
    ------
    ModelError
        If the file of weights is damaged.
    """
    if (folder / WHOLE).is_file():
        write_json(folder / INDEX, read_index(folder))
