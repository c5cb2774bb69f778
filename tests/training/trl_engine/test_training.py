"""TRL's trainers bring models of ours home: they load, say what they learnt, and go on."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from napari_pathreason import ask, files
from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.files import replace_folder
from napari_pathreason.models import load_performer
from napari_pathreason.training.samples import read_samples
from napari_pathreason.training.sft import train_sft
from napari_pathreason.training.trl_engine import train_performer_by_trl, train_sft_by_trl

pytest.importorskip("trl", reason="the optional engine; pip install 'napari-pathreason[trl]'")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


def _log(folder):
    return [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]


def _matrices(folder):
    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("family", "lora"), [("qwen3_vl", True), ("qwen2_5_vl", False), ("gemma3", True)]
)
def test_a_model_comes_home(make_recipe, converted, tmp_path, family, lora):
    recipe = make_recipe(family, lora)
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.model_dump_json())
    assert main(["train", "sft", "--recipe", str(file), "--engine", "trl"]) == 0
    assert main(["train", "performer", "--recipe", str(file), "--engine", "trl"]) == 0
    run = tmp_path / "run"
    assert [r["step"] for r in _log(run) if "text" in r] == [1, 2]
    assert any("val_text" in r for r in _log(run))
    learnt = [r for r in _log(run / "grpo") if "lr" in r]
    assert [r["step"] for r in learnt] == [1, 2]
    for name in ("reward", "score", "format", "length", "entropy", "kl", "rewards/task/mean"):
        assert all(name in r for r in learnt), name
    assert any("val_reward" in r for r in _log(run / "grpo"))
    assert not [name for r in _log(run / "grpo") for name in r if "per_second" in name]
    made = json.loads((run / "grpo/run.json").read_text())
    assert "trl" in made["versions"]
    told = json.loads((run / "grpo/model/pathreason.json").read_text())
    assert told["topics"]
    assert told["box_space"] == "relative"  # as supervised fine-tuning taught
    if lora:  # GRPO went on with the adapter of supervised fine-tuning, on the same base
        before, after = _matrices(run / "model"), _matrices(run / "grpo/model")
        assert before.keys() == after.keys()
        assert any((before[name] != after[name]).any() for name in before)
        base = json.loads((run / "grpo/model/adapter_config.json").read_text())
        assert "start" in base["base_model_name_or_path"]
    picture = converted / read_samples(converted / "val.jsonl")[0].image
    result = ask(picture, question="Which subtype is this?", model=run / "grpo/model", budget=16)
    assert result.tokens.realised > 0


def test_a_run_goes_on_where_it_was_cut_and_knows_its_own(make_recipe, tmp_path):
    cut = make_recipe(sft={"stop_after": 1, "steps": 3})
    train_sft_by_trl(cut)
    assert [r["step"] for r in _log(tmp_path / "run") if "text" in r] == [1]
    other = make_recipe(sft={"steps": 3, "lr": 1e-3})
    with pytest.raises(QueryError, match=r"holds a run with sft\.lr"):
        train_sft_by_trl(other)
    train_sft_by_trl(make_recipe(sft={"steps": 3}))
    assert [r["step"] for r in _log(tmp_path / "run") if "text" in r] == [1, 2, 3]


def test_a_run_of_the_own_engine_is_left_alone(make_recipe):
    train_sft(make_recipe())
    with pytest.raises(QueryError, match="holds a run of the own engine"):
        train_sft_by_trl(make_recipe())


def test_several_steps_on_the_same_completions(make_recipe, checkpoint, tmp_path):
    start = {"start": str(checkpoint("qwen2_5_vl"))}
    recipe = make_recipe("qwen2_5_vl", grpo={**start, "num_iterations": 2, "steps": 1})
    folder = train_performer_by_trl(recipe)
    told = json.loads((folder / "pathreason.json").read_text())
    assert told["box_space"] == "resized"  # as the base writes boxes, and was asked for them
    learnt = [r for r in _log(tmp_path / "run/grpo") if "lr" in r]
    assert [r["step"] for r in learnt] == [1, 2]


def test_boxes_are_told_of_from_the_moment_a_model_is_there(make_recipe, checkpoint, monkeypatch):
    recipe = make_recipe(
        "qwen2_5_vl", grpo={"start": str(checkpoint("qwen2_5_vl")), "steps": 1}, lora=False
    )

    def replace_and_die(new, folder):
        replace_folder(new, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "replace_folder", replace_and_die)
    with pytest.raises(KeyboardInterrupt):
        train_performer_by_trl(recipe)
    left = Path(recipe.output) / "grpo/model/pathreason.json"
    assert json.loads(left.read_text())["box_space"] == "resized"


@pytest.mark.timeout(1800)
def test_two_processes_learn_together(make_recipe, checkpoint, in_two_processes, tmp_path):
    recipe = make_recipe(
        sft={"budgets": {4: 1}},
        grpo={
            "start": str(checkpoint("qwen3_vl")),
            "rewards": ["even:reward"],  # a file beside the recipe
            "batch_size": 1,
            "budgets": {4: 1},
        },
    )
    (tmp_path / "even.py").write_text(
        "def reward(completion_ids, **columns):\n"
        "    return [sum(one % 2 == 0 for one in ids) / len(ids) for ids in completion_ids]\n"
    )
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.model_dump_json())
    for stage in ("sft", "performer"):
        words = ("-m", "napari_pathreason.cli", "train", stage, "--recipe", file, "--engine", "trl")
        in_two_processes(*words, timeout=900)
    run = tmp_path / "run"
    for folder, key in ((run, "text"), (run / "grpo", "reward")):
        assert [r["step"] for r in _log(folder) if key in r and "lr" in r] == [1, 2]  # once each
        matrices = _matrices(folder / "model")
        assert any(value.abs().max() > 0 for name, value in matrices.items() if "lora_B" in name)
        load_performer(folder / "model")
    with pytest.raises(QueryError, match=r"holds a run with processes 2 \(now 1\)"):
        train_sft_by_trl(recipe)
