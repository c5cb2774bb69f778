"""Sines that stand for a value or for a place, alike where those are near."""

from __future__ import annotations

import math

import torch


def sines(values: torch.Tensor, width: int, most: float) -> torch.Tensor:
    """Sines and cosines of values, (values, width), of half a wave to ``most`` from 0 to 1."""
    waves = torch.logspace(math.log10(0.5), math.log10(most), width // 2)
    phase = 2 * math.pi * values[:, None] * waves[None]
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def on_grid(steps: torch.Tensor) -> torch.Tensor:
    """Of each place of a square grid, that of its row, then that of its column.

    Parameters
    ----------
    steps : float tensor (side, width)

    Returns
    -------
    float tensor (side * side, 2 * width)
        Places in reading order.
    """
    side = len(steps)
    rows, columns = steps[:, None].expand(side, side, -1), steps[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)
