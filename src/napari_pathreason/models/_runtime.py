"""What a model runs on: device, precision, threads, memory, and how a pass is given up.

No torch at import: how its threads wait must be said before it is loaded.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, get_args

from napari_pathreason.errors import ModelError, OutOfMemoryError, reading
from napari_pathreason.types import Encoder, Precision

_SMALL = 1 << 30
"""Bytes of weights up to which float32 is kept on an accelerator too."""
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


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

    if device.type == "cpu" or weight_bytes <= _SMALL:
        return torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16


def resolve_precision(precision: Precision, device: Any, on_disk: int) -> tuple[Any, Precision]:
    """What a model computes in, and what its weights are loaded as.

    Parameters
    ----------
    precision : Precision
        ``auto`` chooses as `choose_dtype`.
    device : torch.device
    on_disk : int
        Bytes of the weights as they lie.

    Returns
    -------
    (torch.dtype, Precision)

    Raises
    ------
    ModelError
        If the precision is not understood, or cannot be had here.
    """
    import torch

    if precision not in get_args(Precision):
        raise ModelError(
            f"the precision {precision!r} is not understood; give {', '.join(get_args(Precision))}"
        )
    if precision == "4bit":
        if device.type != "cuda":
            raise ModelError(
                f"weights in four bits need a CUDA device, and the model would be on {device}; "
                "choose a smaller model, or one on a server"
            )
        if find_spec("bitsandbytes") is None:
            raise ModelError(
                "weights in four bits need bitsandbytes; pip install 'napari-pathreason[4bit]'"
            )
        return choose_dtype(device, 2 * _SMALL), "4bit"
    dtype = choose_dtype(device, on_disk) if precision == "auto" else getattr(torch, precision)
    named: Precision = str(dtype).removeprefix("torch.")  # type: ignore[assignment]
    return dtype, named


def resolve_encoder(encoder: Encoder, device: str) -> tuple[Encoder, str]:
    """What runs where an encoder was chosen, and in a line why it is another one.

    Parameters
    ----------
    encoder : Encoder
    device : str
        That is there, such as ``cpu`` or ``cuda:1``.

    Returns
    -------
    (Encoder, str)
        ``exact`` where this machine cannot do better; the line is empty where nothing else runs
        than was chosen.

    Raises
    ------
    ModelError
        If there is no such encoder.
    """
    if encoder not in get_args(Encoder):
        raise ModelError(
            f"the encoder {encoder!r} is not understood; give {', '.join(get_args(Encoder))}"
        )
    if encoder == "exact":
        return "exact", ""
    if device != "cpu":
        why = f"it is for processors, and the model is on {device}"
    elif encoder == "openvino" and find_spec("openvino") is None:
        why = "it is not installed; pip install 'napari-pathreason[openvino]'"
    elif encoder == "fast" and not _multiplies_bfloat16():
        why = "this processor has no units for bfloat16 (AMX or AVX512_BF16)"
    else:
        return encoder, ""
    return "exact", f"the vision encoder runs exact, not {encoder}: {why}"


def _multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in units of its own."""
    import torch

    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    known = [check for name in checks if (check := getattr(torch.cpu, name, None)) is not None]
    return any(check() for check in known)


def encode_in_bfloat16(visual: Any) -> None:
    """Let a vision encoder multiply in bfloat16; its weights and what is summed stay float32.

    Parameters
    ----------
    visual : vision encoder of one of Qwen's families
        On a processor.
    """
    import torch

    forward = visual.forward

    def in_bfloat16(*arguments: Any, **options: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return forward(*arguments, **options)

    visual.forward = in_bfloat16


def wait_passively() -> None:
    """Let OpenMP threads sleep at their barriers, not spin; call it before torch is imported.

    A spinning thread holds the core that the one it waits for needs: on a machine with other work
    an answer of a small model took 10 s instead of 0.3 s. A policy that the user set stays.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the collector of cyclic garbage while the block runs.

    Importing torch and transformers makes hundreds of thousands of objects and no garbage; looking
    through them again and again took 0.8 of 4.3 s.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def use_threads(count: int) -> None:
    """Compute with so many CPU threads; more than the machine has slow it down, so they are cut."""
    import torch

    torch.set_num_threads(max(1, min(count, os.cpu_count() or 1)))


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Turn any backend's failed allocation into `OutOfMemoryError`.

    Parameters
    ----------
    remedy : str
        What the user can do, as the end of the message.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        # torch's CPU and MPS allocators have no class of their own, only a message
        if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _SIGNS):
            raise OutOfMemoryError(f"the device has not enough memory; {remedy}") from error
        raise


@contextmanager
def pass_errors(name: str, remedy: str) -> Iterator[None]:
    """Turn whatever a forward pass raises into one line about the model.

    A config may hold values that only the arithmetic finds to be of the wrong kind.

    Parameters
    ----------
    name : str
        Of the model.
    remedy : str
        See `memory_errors`.
    """
    try:
        with memory_errors(remedy):
            yield
    except Interrupted:
        raise
    except Exception:
        with reading(f"the model {name}", ModelError, "fetch the whole model"):
            raise


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Nothing of loading and saving on stderr: what matters is raised. Settings come back after."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


class Interrupted(Exception):
    """The pass was given up; nothing came of it."""


class Interrupts:
    """Asks before each layer of both parts of a model whether the answer was cancelled.

    A first pass reads the whole picture: a large model on a processor is at it for many seconds,
    after which a cancelled process would have been ended and its model loaded anew.

    Parameters
    ----------
    model : transformers model
    """

    def __init__(self, model: Any) -> None:
        self._own = threading.local()  # answers of several threads may be in the model at once
        from torch.nn import ModuleList

        for part in model.modules():
            if isinstance(part, ModuleList):
                for layer in part:
                    layer.register_forward_pre_hook(self._check)

    @contextmanager
    def by(self, cancel: threading.Event) -> Iterator[None]:
        """Let a flag interrupt the passes of this thread while the block runs.

        Raises
        ------
        Interrupted
            Out of the pass, once it is set.
        """
        self._own.cancel = cancel
        try:
            yield
        finally:
            self._own.cancel = None

    def _check(self, layer: Any, inputs: Any) -> None:
        cancel: threading.Event | None = getattr(self._own, "cancel", None)
        if cancel is not None and cancel.is_set():
            raise Interrupted
