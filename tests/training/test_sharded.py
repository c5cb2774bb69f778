"""GRPO of a model of which each process holds a part learns what it would learn as a whole."""

import json
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType, prepare_multi_gpu_env
from safetensors.torch import load_file

from napari_pathreason.errors import QueryError
from napari_pathreason.models import TextAllocator, load_models
from napari_pathreason.training import performer
from napari_pathreason.training.recipe import Recipe
from tests.support import make_tiny_checkpoint

CONFIG = Path(__file__).parents[2] / "recipes/accelerate/fsdp.yaml"


def _launcher_settings():
    """What the shipped config tells the processes about sharding."""
    words = ["--config_file", str(CONFIG), "-m", "napari_pathreason.cli"]
    args, *_ = _validate_launch_command(launch_command_parser().parse_args(words))
    env = prepare_multi_gpu_env(args)
    return {k: v for k, v in env.items() if k.startswith("FSDP_") or k == "ACCELERATE_USE_FSDP"}


@pytest.fixture
def launch(in_two_processes):
    """Runs words on two processes, which share out a model if they are told so."""

    def run(*words, sharded=True):
        script = Path(__file__).with_name("_sharded_processes.py")
        settings = _launcher_settings() if sharded else {}
        said = in_two_processes(script, *words, settings=settings, timeout=280)
        assert said.count("done") == 2

    return run


@pytest.fixture
def train(launch, tmp_path):
    """Runs a stage of training so."""

    def run(stage, recipe, sharded=True):
        path = tmp_path / "recipe.yaml"
        path.write_text(recipe.model_dump_json())
        (tmp_path / "by_length.py").write_text(
            "def reward(completions, **columns):\n"
            "    return [min(len(text) / 20, 1.0) for text in completions]\n"
        )
        launch("train", stage, path, sharded=sharded)

    return run


def _recipe(tmp_path, name, converted, **grpo):
    sizes = {
        "start": str(tmp_path / "base"),
        "num_generations": 3,
        "max_completion_length": 12,
        "batch_size": 2,
        "tokens": 128,
        "budgets": {4: 1, 16: 1},
        "steps": 3,
        "lr": 1e-2,
        "beta": 0.05,
        "rewards": ["by_length:reward"],
        "warmup": 1,
        "checkpoint_every": 2,
        "validate_every": 2,
        "validate_samples": 2,
    }
    return Recipe.model_validate(
        {
            "output": str(tmp_path / name),
            "data": {"folder": str(converted)},
            "model": {"start": str(tmp_path / "base")},
            "lora": {"rank": 3, "weights": "fp32", "checkpointing": False},
            "grpo": sizes | grpo,
        }
    )


def _same(*folders):
    """Adapters agree to a hundredth of how far they moved; AdamW divides by small gradients."""
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in folders)
    assert one.keys() == other.keys()
    moved = max(float(matrix.abs().max()) for n, matrix in one.items() if "lora_B" in n)
    assert moved > 0.01
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-2 * moved


@pytest.mark.slow
def test_draws_reference_and_gradients_are_those_of_the_whole_model(tmp_path, launch):
    """Uneven halves; both families; with and without gradient checkpointing."""
    families = ("qwen3_vl", "qwen2_5_vl")
    launch("learn", *[make_tiny_checkpoint(tmp_path / f, f) for f in families])


@pytest.mark.slow
def test_a_sharded_run_learns_and_goes_on_as_one_of_whole_models(tmp_path, converted, train):
    make_tiny_checkpoint(tmp_path / "base")
    train("performer", _recipe(tmp_path, "ddp", converted), sharded=False)
    train("performer", _recipe(tmp_path, "fsdp", converted, stop_after=2))
    train("performer", _recipe(tmp_path, "fsdp", converted, gather=True))
    _same(*(tmp_path / run / "grpo/model" for run in ("ddp", "fsdp")))
    logs = [
        [json.loads(line) for line in (tmp_path / run / "grpo/log.jsonl").read_text().splitlines()]
        for run in ("ddp", "fsdp")
    ]
    assert len(logs[1]) == 3
    for one, other in zip(*logs, strict=True):
        for name in set(one) - {"seconds", "seconds_sampling"}:
            assert other[name] == pytest.approx(one[name], rel=1e-3, abs=1e-4), name
    assert logs[1][-1]["kl"] > 0
    assert load_models(tmp_path / "fsdp/grpo/model", "cpu").performer


@pytest.mark.slow
def test_supervised_fine_tuning_of_a_sharded_model_is_that_of_a_whole_one(
    tmp_path, converted, train
):
    make_tiny_checkpoint(tmp_path / "base")
    sizes = {"steps": 2, "batch": 2, "tokens": 128, "warmup": 1, "validate_samples": 2, "lr": 1e-2}
    for run, sharded in (("ddp", False), ("fsdp", True)):
        values = _recipe(tmp_path, run, converted).model_dump()
        values["sft"] |= sizes
        train("sft", Recipe.model_validate(values), sharded=sharded)
    _same(*(tmp_path / run / "model" for run in ("ddp", "fsdp")))


@pytest.mark.slow
def test_an_allocator_that_writes_learns_on_a_sharded_performer(tmp_path, one_picture, train):
    base = make_tiny_checkpoint(tmp_path / "base")
    text = {
        "overview": 4,
        "num_generations": 3,
        "max_completion_length": 4,
        "batch_size": 1,
        "steps": 2,
        "lr": 1e-2,
    }
    allocator = {
        "form": "text",
        "start": str(base),
        "questions": 1,
        "validate_questions": 1,
        "text": text | {"warmup": 1, "validate_samples": 1},
    }
    values = _recipe(tmp_path, "run", one_picture).model_dump() | {"allocator": allocator}
    train("allocator", Recipe.model_validate(values))
    log = (tmp_path / "run/allocator/text/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2]
    matrices = load_file(base / "allocator/adapter_model.safetensors")
    assert matrices
    assert all(torch.isfinite(matrix).all() for matrix in matrices.values())
    assert isinstance(load_models(base, "cpu").allocator, TextAllocator)


@pytest.mark.parametrize(
    ("version", "lora", "told"), [(1, True, "FSDP version 2"), (2, False, r"accelerate/ddp\.yaml")]
)
def test_what_cannot_be_sharded_is_refused(tmp_path, monkeypatch, version, lora, told):
    class Sharded:
        distributed_type = DistributedType.FSDP
        is_fsdp2 = version == 2
        num_processes = 1

        def __init__(self, **kwargs):
            pass

    make_tiny_checkpoint(tmp_path / "base")
    monkeypatch.setattr("napari_pathreason.training.run._processes.Accelerator", Sharded)
    recipe = _recipe(tmp_path, "run", "x", rewards=["task"])
    if not lora:
        recipe = recipe.model_copy(update={"lora": None})
    with pytest.raises(QueryError, match=told):
        performer.train_performer(recipe)
