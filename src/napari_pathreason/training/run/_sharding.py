"""A policy whose weights are spread over processes (FSDP version 2, `fully_shard`).

A layer is gathered for each pass and given back behind it, which takes all processes: whatever one
of them samples, it makes as many passes as the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from napari_pathreason.errors import QueryError


def prepare_shards(accelerator: Accelerator, *, adapted: bool) -> None:
    """Let a run be sharded as it learns; does nothing where it is not.

    Parameters
    ----------
    accelerator : Accelerator
        That has prepared nothing yet.
    adapted : bool
        Adapters alone learn.

    Raises
    ------
    QueryError
        If it is launched with version 1, or the whole model would learn.
    """
    if accelerator.distributed_type != DistributedType.FSDP:
        return
    if not accelerator.is_fsdp2:
        raise QueryError(
            "GRPO shards by FSDP version 2; launch it with recipes/accelerate/fsdp.yaml"
        )
    if not adapted:
        raise QueryError(
            "GRPO shards a model with adapters alone; give the recipe a lora, or launch it with "
            "recipes/accelerate/ddp.yaml"
        )
    # autocast chooses each operation's precision, as where nothing is sharded: log-probabilities
    # and gradients of adapters stay in float32
    accelerator.state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy()


def open_shards(module: Any, method: str) -> None:
    """Let a method find the parameters gathered, as `forward` does."""
    register_fsdp_forward_method(module, method)


def reshard(module: torch.nn.Module) -> None:
    """Give back what is still gathered."""
    for part in _shards(module):
        part.reshard()


@contextmanager
def gathered(accelerator: Accelerator, module: torch.nn.Module) -> Iterator[None]:
    """Let each layer stay gathered from its first pass to the end of this context."""
    layers = [part for part in _shards(module) if part is not module]  # the root stays anyway
    for layer in layers:
        layer.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.set_reshard_after_forward(
                accelerator.state.fsdp_plugin.reshard_after_forward, recurse=False
            )
        reshard(module)


def ended_everywhere(accelerator: Accelerator) -> Callable[[bool], bool]:
    """Tells, given whether this process has ended, whether it may stop making passes."""
    if accelerator.distributed_type != DistributedType.FSDP:
        return bool

    def ask(ended: bool) -> bool:
        going_on = torch.tensor(float(not ended), device=accelerator.device)
        return not accelerator.reduce(going_on, reduction="sum").item()

    return ask


def full_value(value: Any) -> float:
    """A number that processes may hold parts of."""
    return float(value.full_tensor() if isinstance(value, DTensor) else value)


def _shards(module: torch.nn.Module) -> list[Any]:
    return [part for part in module.modules() if isinstance(part, FSDPModule)]
