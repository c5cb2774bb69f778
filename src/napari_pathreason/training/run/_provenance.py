"""What a run was made of, written beside its weights."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

from napari_pathreason.training.recipe import Recipe

PACKAGES = ("napari-pathreason", "torch", "transformers", "accelerate", "tokenizers")


def fingerprint(folder: Path) -> str:
    """SHA-256 over the JSONL files of a data folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.jsonl")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def provenance(out: Path, recipe: Recipe, data: Path) -> None:
    """Write ``run.json``: resolved recipe, versions, data fingerprint. Names no host or path."""
    resolved = recipe.model_dump(mode="json")
    resolved["output"], resolved["data"]["folder"] = out.name, data.name
    starts = {
        "model": recipe.model.start,
        "grpo": recipe.grpo.start,
        "allocator": recipe.allocator.start,
    }
    for part, start in starts.items():
        if start is not None and Path(start).exists():  # a folder: its name, not where it lies
            resolved[part]["start"] = "/".join(Path(start).parts[-2:])
    if recipe.model.vision_encoder is not None:
        weights = Path(recipe.model.vision_encoder)
        resolved["model"]["vision_encoder"] = weights.name
        resolved["model"]["tower_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    packages = (*PACKAGES, "peft") if recipe.lora is not None else PACKAGES
    record = {
        "recipe": resolved,
        "data_sha256": fingerprint(data),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }
    (out / "run.json").write_text(json.dumps(record, indent=2) + "\n")
