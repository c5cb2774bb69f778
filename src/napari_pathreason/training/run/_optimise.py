"""Optimiser and learning rate of a run."""

from __future__ import annotations

import math

import torch

from napari_pathreason.training.recipe import PolicyRecipe, SFTRecipe


def optimizer_of(
    model: torch.nn.Module, settings: SFTRecipe | PolicyRecipe
) -> torch.optim.Optimizer:
    """AdamW; the vision encoder's blocks learn at their own share of the rate, frozen ones not."""
    learning = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    vision_encoder = [p for n, p in learning if ".visual." in n and ".merger" not in n]
    inside = {id(p) for p in vision_encoder}
    rest = [p for _, p in learning if id(p) not in inside]
    return torch.optim.AdamW(
        [
            {"params": vision_encoder, "share": settings.vision_encoder_lr},
            {"params": rest, "share": 1.0},
        ],
        settings.lr,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
    )


def schedule(step: int, warmup: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to 2 %."""
    if step < warmup:
        return warm(step, warmup)
    done = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def warm(step: int, warmup: int) -> float:
    """Linear warm-up alone."""
    return min(1.0, (step + 1) / max(1, warmup))
