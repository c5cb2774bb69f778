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
    (0.0, 0.6884, 6.6926, 0.4361, 7.1975, 10.7209, 0.0, 0.0, 0.0),
    (8.099, 0.7035, 6.739, 0.3315, 7.183, 10.744, 3.4695, 7.7683, 6.7506),
    (7.7642, 0.6073, 7.9182, 2.595, 7.2077, 8.2072, 3.2146, 5.6462, 8.1139),
]
"""Without the code of places: it takes the directions that nothing uses, and which of those comes
first differs from processor to processor."""
SEEN_HELD_OUT = (7.6146, 0.5921, 7.522, 0.309, 7.1235, 9.4818, 2.9306, 6.135, 7.651)
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
    """One step of the vision encoder alone, two with the language model; all losses."""
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
