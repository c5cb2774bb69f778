"""Where an allocator's training stands on disk: written whole, resumed if it still fits."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from napari_pathreason.files import atomic_bytes, atomic_text, former_folder
from napari_pathreason.training.recipe import Recipe

LENGTHS = {"start", "steps", "stop_after", "checkpoint_every"}
"""Settings that may change in the midst of a run; the table tells which performer it is for."""
OTHER_FORM = {"form", "text", "windows"}
"""Settings that say nothing of the head."""
OF_BOTH = {"questions", "validate_questions", "learn_from", "reward", "cost", "lambdas"}
"""Settings that both forms share."""


def identity(recipe: Recipe, tables: tuple[Path, Path]) -> str:
    """What a run learns: its settings and its tables of s(N).

    A run whose lambdas or whose performer have changed is another run, and begins anew.

    Parameters
    ----------
    recipe : Recipe
    tables : tuple of Path
        Of training and validation; their names tell weights, data and seed.
    """
    settings = recipe.allocator.model_dump(mode="json", exclude=LENGTHS | OTHER_FORM)
    return _hash(recipe.seed, settings, tables)


def text_identity(recipe: Recipe, tables: tuple[Path, Path]) -> str:
    """The same of an allocator that writes; parameters as in `identity`."""
    shared = recipe.allocator.model_dump(mode="json", include=OF_BOTH)
    text = recipe.allocator.text.model_dump(mode="json", exclude=LENGTHS)
    lora = recipe.lora.model_dump(mode="json") if recipe.lora is not None else None
    return _hash(recipe.seed, shared | {"text": text, "lora": lora}, tables)


def _hash(seed: int, settings: dict[str, Any], tables: tuple[Path, Path]) -> str:
    text = json.dumps([seed, settings, [table.name for table in tables]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def make_room(out: Path, of: str) -> None:
    """Take the state of another run away, so that the one that is called ``of`` begins anew."""
    file = out / "run-of.txt"
    if not file.is_file() or file.read_text(encoding="utf-8") != of:
        last = out / "checkpoint"
        for folder in (last, former_folder(last)):
            shutil.rmtree(folder, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        with atomic_text(file) as text:
            text.write(of)


def save(
    out: Path,
    of: str,
    net: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    best: float,
    best_weights: dict[str, torch.Tensor],
) -> None:
    """Write ``checkpoint.pt``, which belongs to the run that `identity` calls ``of``."""
    state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    with atomic_bytes(out / "checkpoint.pt") as file:
        torch.save(state | {"of": of, "best": best, "best_weights": best_weights}, file)


def resume(
    out: Path, of: str, net: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, float, dict[str, torch.Tensor]]:
    """Step, best held-out reward, and the weights that it is of; 0 where another run was here."""
    file = out / "checkpoint.pt"
    state = torch.load(file, weights_only=True) if file.is_file() else {}
    if state.get("of") != of:
        return 0, float("-inf"), net.state_dict()
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["best"]), state["best_weights"]
