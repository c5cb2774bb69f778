"""Where the allocator's training stands on disk: written whole, taken up if it still fits."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch

from napari_pathreason.models._allocator import AllocatorNet

from ._recipe import Recipe

LENGTHS = {"start", "steps", "stop_after", "checkpoint_every"}
"""Settings that may change in the midst of a run; the table tells which performer it is for."""


def identity(recipe: Recipe, tables: tuple[Path, Path]) -> str:
    """What a run learns: its settings and its tables of s(N).

    A run whose prices or whose performer have changed is another run, and begins anew.

    Parameters
    ----------
    recipe : Recipe
    tables : tuple of Path
        Of training and validation; their names tell weights, data and seed.
    """
    settings = recipe.allocator.model_dump(mode="json", exclude=LENGTHS)
    told = json.dumps([recipe.seed, settings, [table.name for table in tables]], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def save(
    out: Path,
    of: str,
    net: AllocatorNet,
    optimizer: torch.optim.Optimizer,
    step: int,
    best: float,
    kept: dict[str, torch.Tensor],
) -> None:
    """Write ``checkpoint.pt``, which belongs to the run that `identity` calls ``of``."""
    state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    partial = out / "checkpoint.pt.partial"
    torch.save(state | {"of": of, "best": best, "kept": kept}, partial)
    os.replace(partial, out / "checkpoint.pt")


def resume(
    out: Path, of: str, net: AllocatorNet, optimizer: torch.optim.Optimizer
) -> tuple[int, float, dict[str, torch.Tensor]]:
    """Step, best held-out reward, and the weights that earned it; 0 where another run was here."""
    file = out / "checkpoint.pt"
    state = torch.load(file, weights_only=True) if file.is_file() else {}
    if state.get("of") != of:
        return 0, float("-inf"), net.state_dict()
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["best"]), state["kept"]
