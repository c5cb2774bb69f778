"""Which device a model runs on, and in which precision."""

from __future__ import annotations

from typing import Any

from napari_pathreason.errors import ModelError

SMALL = 1 << 30
"""Bytes of weights up to which float32 is kept on an accelerator too."""


def resolve_device(name: str) -> Any:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` into a `torch.device` that is there.

    Raises
    ------
    ModelError
        If the name is not understood or the device is not there.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ModelError(f"the device {name!r} is not understood; give auto, cpu, cuda or mps")
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[device.type]:
        raise ModelError(
            f"the device {name!r} is not there or this build of torch lacks it; "
            "choose the device auto or cpu"
        )
    return device


def choose_dtype(device: Any, weight_bytes: int) -> Any:
    """Precision for a device: float32, or bfloat16 for large weights on an accelerator.

    A small model gains nothing from bfloat16, and in float32 answers alike on every device.
    """
    import torch

    if device.type == "cpu" or weight_bytes <= SMALL:
        return torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16
