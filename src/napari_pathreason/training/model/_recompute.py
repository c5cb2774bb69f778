"""Gradient checkpointing of a model that is in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """Let layers compute again in the backward pass what they do not keep from this one.

    Transformers checkpoints layers in training mode alone, and training mode would bring dropout.
    Only the layers' own flag is raised, which nothing but checkpointing looks at.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [
        module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)
    ]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
