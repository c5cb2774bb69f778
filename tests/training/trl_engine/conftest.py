"""Checkpoints of several families and recipes of a few steps by TRL's trainers."""

import pytest

from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import RunLog
from tests.support import make_other_checkpoint, make_tiny_checkpoint

OWN = ("qwen3_vl", "qwen2_5_vl", "qwen2_vl")
LORA = {"rank": 2, "weights": "fp32", "checkpointing": False}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A random checkpoint of a family, made once."""
    made = {}

    def make(family):
        if family not in made:
            maker = make_tiny_checkpoint if family in OWN else make_other_checkpoint
            made[family] = maker(tmp_path_factory.mktemp(family) / "start", family)
        return made[family]

    return make


@pytest.fixture
def make_recipe(converted, checkpoint, tmp_path, by_length, monkeypatch):
    """A recipe of two steps from a checkpoint of a family; sections change it."""
    monkeypatch.setattr(RunLog, "draw", lambda *_: None)
    steps = {"steps": 2, "warmup": 1, "checkpoint_every": 2, "validate_every": 2}

    def make(family="qwen3_vl", lora=True, **sections):
        values = {
            "output": str(tmp_path / "run"),
            "data": {"folder": str(converted), "weights": {"lung": 1, "lymph_node": 0}},
            "model": {"start": str(checkpoint(family))},
            "sft": {**steps, "budgets": {4: 1, 16: 1}, "batch": 2, "validate_samples": 2},
            "grpo": {
                **steps,
                "budgets": {4: 1, 16: 1},
                "batch_size": 2,
                "num_generations": 4,
                "max_completion_length": 6,
                "validate_samples": 2,
                "rewards": ["task", by_length],
                "lr": 1e-3,
            },
            **({"lora": LORA} if lora else {}),
        }
        for name, section in sections.items():
            before = values.get(name)
            values[name] = {**before, **section} if isinstance(before, dict) else section
        return Recipe.model_validate(values)

    return make
