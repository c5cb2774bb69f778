"""Losses of the first steps, as they were when the weights that ship were trained."""

import json
from pathlib import Path

import pytest

from demonstrator.new_model import Sizes, new_model
from napari_pathreason.training import read_samples
from napari_pathreason.training.model import save_checkpoint
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.sft import train_sft
from tests.support import make_tiny_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SIZES = {
    "vocabulary": 1600,
    "vision_depth": 2,
    "vision_hidden": 64,
    "vision_heads": 2,
    "vision_mlp": 64,
    "deepstack": (),
    "text_depth": 2,
    "text_hidden": 64,
    "text_heads": 4,
    "text_kv_heads": 2,
    "text_mlp": 64,
}
STEPS = {
    "budgets": {4: 1, 16: 2},
    "batch": 4,
    "tokens": 64,
    "lr": 2e-3,
    "warmup": 1,
    "validate_every": 3,
    "validate_samples": 4,
}
NAMES = ("text", "coverage", "boxes", "counts", "places", "totals")
NAMES += ("attention", "routing", "readout")
SEEN = [
    (0.0, 0.6845, 7.0309, 0.5603, 7.4168, 10.861, 0.0, 0.0, 0.0),
    (8.2145, 0.667, 8.3161, 0.4912, 8.2601, 7.3745, 3.4234, 8.4325, 6.753),
    (7.8147, 0.4401, 8.5039, 2.1854, 7.7896, 11.8307, 3.1427, 5.7197, 8.0581),
]
SEEN_HELD_OUT = (7.7459, 0.3199, 8.6939, 0.3903, 7.3024, 4.047, 2.9041, 6.1686, 7.6384)
WRITTEN = {"qwen3_vl": (6.9686, 6.1461, 5.5112), "qwen2_5_vl": (6.8836, 6.3075, 5.384)}
"""Of each step, then of the held-out pictures; an answer without a rationale stands alone."""


def _recipe(data, out, **parts):
    values = {"output": str(out), "data": {"folder": str(data), "questions": 2}}
    return Recipe.model_validate(values | parts)


def _records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def _same(found, meant):
    assert found == pytest.approx(meant, rel=2e-3, abs=2e-4)


@pytest.fixture
def begun(specimens, tmp_path):
    """A new model of some thousand parameters, on disk."""
    model, tokenizer = new_model(read_samples(Path(specimens, "train.jsonl")), Sizes(**SIZES))
    save_checkpoint(tmp_path / "begun", model, tokenizer, "begun")
    return tmp_path / "begun"


def test_dense_objective(specimens, begun, tmp_path):
    """One step of the vision encoder alone, two with the language model; codes and all losses."""
    recipe = _recipe(
        specimens,
        tmp_path / "run",
        model={"start": str(begun)},
        sft=STEPS
        | {
            "steps": 3,
            "objective": "demonstrator.objective:MultiTaskObjective",
            "objective_options": {
                "auxiliary_steps": 1,
                "readout_weight": 0.5,
                "count_token_weight": 3.0,
                "auxiliary_prompts": ["red cell"],
                "place_code": True,
                "count_code": True,
                "tell_tokens": True,
            },
            "box_quantum": 10,
        },
    )
    train_sft(recipe)
    records = _records(tmp_path / "run")
    for record, losses in zip(records, SEEN, strict=True):
        _same(tuple(record[name] for name in NAMES), losses)
    _same(tuple(records[-1][f"val_{name}"] for name in NAMES), SEEN_HELD_OUT)
    assert [record["lr"] for record in records] == pytest.approx([2e-3, 2e-3, 1.02e-3])


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_language_modelling_under_lora(specimens, tmp_path, family):
    base = make_tiny_checkpoint(tmp_path / "base", family)
    recipe = _recipe(
        specimens,
        tmp_path / "run",
        model={"start": str(base)},
        lora={"rank": 2, "weights": "fp32", "checkpointing": False},
        sft=STEPS | {"steps": 2, "box_quantum": 1},
    )
    train_sft(recipe)
    first, second = _records(tmp_path / "run")
    _same((first["text"], second["text"], second["val_text"]), WRITTEN[family])
