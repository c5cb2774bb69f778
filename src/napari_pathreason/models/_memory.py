"""What a model takes of a device's memory, known before it is loaded. No torch to estimate it.

The headers of safetensors say how many numbers each tensor has; what they are loaded as says how
many bytes that is. Keys and values, the pictures and what a pass holds come on top: a tenth is kept
for them.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_pathreason.errors import ModelError, OutOfMemoryError
from napari_pathreason.types import Precision

BESIDE = 1.1
"""Times the weights: room for what a pass holds beside them."""
BYTES: dict[Precision, float] = {"float32": 4, "bfloat16": 2, "float16": 2}
FOUR_BITS = 0.5 + 4 / 64
"""Bytes a number in four bits: every 64 share a scale of four bytes."""
NUMBERS = ("F64", "F32", "F16", "BF16")
"""What safetensors calls numbers that stand for themselves, without a scale beside them."""
_FLOATS = (*NUMBERS, "F8_E4M3", "F8_E5M2")
_MOST_HEADER = 100 << 20
"""Bytes of a header, at the most, as safetensors itself has it."""


def weight_bytes(shards: Iterable[Path], precision: Precision, name: str = "") -> int:
    """Bytes of the weights once they are loaded.

    Parameters
    ----------
    shards : iterable of Path
        Safetensors files; their headers alone are read.
    precision : Precision
        What they are loaded as; not ``auto``. In ``4bit`` matrices are that small, but for the
        embeddings and the last layer, which stay in 16 bits as do vectors.
    name : str
        How the model is called.

    Raises
    ------
    ModelError
        If a header cannot be read.
    """
    total = 0.0
    for shard in shards:
        for tensor, about in read_header(shard, name).items():
            count = math.prod(about["shape"])
            if about["dtype"] not in _FLOATS:
                begin, end = about["data_offsets"]
                total += end - begin
            elif precision != "4bit":
                total += count * BYTES[precision]
            else:
                small = len(about["shape"]) == 2 and not _stays(tensor)
                total += count * (FOUR_BITS if small else 2)
    return math.ceil(total)


def _stays(tensor: str) -> bool:
    return "embed" in tensor or "lm_head" in tensor


def read_header(shard: Path, name: str = "") -> dict[str, Any]:
    """Shape, dtype and place of each tensor of a safetensors file, by name.

    Raises
    ------
    ModelError
        If the file is cut off or damaged.
    """
    try:
        with shard.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MOST_HEADER:
                raise ValueError("no header")
            values = json.loads(file.read(length))
        return {tensor: about for tensor, about in values.items() if tensor != "__metadata__"}
    except (OSError, ValueError, struct.error, AttributeError) as error:
        raise ModelError(
            f"{shard.name} of the model {name} is cut off or damaged; fetch it again"
        ) from error


def free_memory(device: Any) -> int:
    """Bytes that are free on a device.

    Parameters
    ----------
    device : torch.device
    """
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    import psutil

    return int(psutil.virtual_memory().available)  # a Mac's GPU has that of its processor


def check_memory(
    name: str, needed: int, free: int, device: str, precision: Precision, small: int
) -> None:
    """Refuse a model that cannot fit, with the numbers.

    Parameters
    ----------
    name : str
    needed : int
        Bytes of its weights once loaded.
    free : int
        Bytes that are free.
    device : str
    precision : Precision
        Of the weights, not ``auto``.
    small : int
        Bytes of its weights in four bits.

    Raises
    ------
    OutOfMemoryError
    """
    if needed * BESIDE <= free:
        return
    remedy = "choose a smaller model, or one on a server"
    if precision != "4bit" and device.startswith("cuda") and small * BESIDE <= free:
        remedy = f"load it in four bits (--load-in 4bit, about {_gigabytes(small * BESIDE)})"
    elif precision == "float32" and needed / 2 * BESIDE <= free:
        remedy = f"load it as bfloat16 (--dtype bfloat16, about {_gigabytes(needed / 2 * BESIDE)})"
    raise OutOfMemoryError(
        f"the model {name} needs about {_gigabytes(needed * BESIDE)} as {precision} and "
        f"{_gigabytes(free)} are free on {device}; {remedy}"
    )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
