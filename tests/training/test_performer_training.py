"""The GRPO loop: it climbs, it survives a kill with the same result, its model answers."""

import hashlib
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from napari_pathreason import files
from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.files import replace_folder
from napari_pathreason.models import load_models
from napari_pathreason.training import grpo, load_recipe
from napari_pathreason.training.grpo import (
    Actor,
    BoxRefiner,
    Rewards,
    aggregate,
    clipped_surrogate,
    group_advantages,
)
from napari_pathreason.training.model import save_checkpoint, start_model
from napari_pathreason.training.performer import train_performer
from napari_pathreason.training.recipe import GRPORecipe, MetadataRecipe, Recipe
from napari_pathreason.training.run import mixed_probabilities

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TINY = {
    "num_generations": 3,
    "max_completion_length": 6,
    "budgets": {4: 1, 16: 1},
    "batch_size": 2,
    "questions": 2,
    "steps": 4,
    "lr": 1e-3,
    "warmup": 1,
    "checkpoint_every": 2,
    "validate_every": 4,
    "validate_samples": 2,
}


@pytest.fixture
def begun(recipe):
    """A recipe whose model is there, untrained."""

    def begin(**changes):
        model, tokenizer = start_model(recipe)
        save_checkpoint(Path(recipe.output) / "model", model, tokenizer, "begun")
        return recipe.model_copy(update={"grpo": GRPORecipe.model_validate(TINY | changes)})

    return begin


def _weights(folder):
    return load_file(folder / "model.safetensors")


def _records(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def _elsewhere(recipe, folder):
    shutil.copytree(Path(recipe.output) / "model", folder / "model")
    return recipe.model_copy(update={"output": str(folder)})


@pytest.mark.parametrize(
    "changes", [{}, {"num_iterations": 2, "loss_type": "dr_grpo", "beta": 0.0}]
)
@pytest.mark.slow
def test_a_run_that_was_killed_and_resumed_equals_an_undisturbed_one(
    begun, tmp_path, dies_at, changes, by_length
):
    recipe = begun(rewards=(by_length,), **changes)
    whole = train_performer(recipe)
    elsewhere = _elsewhere(recipe, tmp_path / "cut")
    with dies_at(4):  # two after the last checkpoint
        train_performer(elsewhere)
    assert json.loads((tmp_path / "cut/grpo/checkpoint/step.json").read_text())["step"] == 2
    cut = train_performer(elsewhere)
    a, b = _weights(whole), _weights(cut)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    timeless = [
        [{k: v for k, v in r.items() if "seconds" not in k} for r in records]
        for records in (_records(whole.parent), _records(cut.parent))
    ]
    assert timeless[0] == timeless[1]
    assert [record["step"] for record in timeless[0]] == [1, 2, 3, 4]


def test_boxes_that_a_model_refines_are_rewarded_so(begun, monkeypatch):
    stated = MetadataRecipe(zoom_labels=("platelet",))
    recipe = begun(steps=1, stop_after=1).model_copy(update={"metadata": stated})
    refiners = []
    monkeypatch.setattr(grpo, "Rewards", lambda *args: refiners.append(args[2]) or Rewards(*args))
    folder = train_performer(recipe)
    assert refiners == [BoxRefiner(("platelet",), 32)]
    assert load_models(folder, "cpu").performer.info.zoom_labels == ("platelet",)


def test_a_model_says_how_it_writes_boxes_from_the_moment_it_is_there(begun, monkeypatch):
    """A kill right behind its last move leaves no model that is read otherwise than it learnt."""
    recipe = begun(steps=1, stop_after=1)
    start = Path(recipe.output) / "model"
    told = json.loads((start / "pathreason.json").read_text())
    (start / "pathreason.json").write_text(json.dumps(told | {"box_space": "resized"}))

    def replace_and_die(new, folder):
        replace_folder(new, folder)
        if folder.name == "model":
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "replace_folder", replace_and_die)
    with pytest.raises(KeyboardInterrupt):
        train_performer(recipe)
    left = Path(recipe.output) / "grpo/model"
    assert load_models(left, "cpu").performer.info.box_space == "resized"


def test_every_parameter_moves_and_the_model_loads(begun, by_length):
    recipe = begun(loss_type="grpo", rewards=(by_length,))
    folder = train_performer(recipe)
    before, after = _weights(Path(recipe.output) / "model"), _weights(folder)
    assert not [name for name in after if torch.equal(before[name], after[name])]
    distances = [record["kl"] for record in _records(folder.parent)]
    assert distances[0] == 0.0 < min(distances[1:])
    assert load_models(str(folder), "cpu").performer.info.name == "run"
    assert (folder.parent / "curve.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_log_tells_what_was_learnt_from(begun, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def nothing(completions, **columns):\n    return [0.0 for text in completions]\n"
    )
    recipe = begun(rewards=("mine:nothing",))
    train_performer(recipe.beside_folders([tmp_path]))
    first, *_, final = _records(Path(recipe.output) / "grpo")
    assert first["kl"] == final["kl"] == 0.0  # nothing earned, nothing learnt
    assert first["format"] == 0.0 <= first["score"] < 0.2  # an untrained model
    assert first["zero_variance"] == first["groups"]
    assert 0 < first["length"] <= 6
    assert first["entropy"] > 1
    assert any(name.startswith("score_") for name in first)
    assert {"val_score", "val_format", "words", "cited", "cut_off"} <= final.keys()
    record = json.loads((Path(recipe.output) / "grpo/run.json").read_text())
    assert record["recipe"]["grpo"]["num_generations"] == 3


@pytest.mark.slow
def test_what_is_rewarded_becomes_the_rule(begun, tmp_path):
    """Digits: one token of 25 at the start, so that no seed misses them for long."""
    (tmp_path / "mine.py").write_text(
        "def digits(completions, **columns):\n"
        "    return [float(any(map(str.isdigit, text))) for text in completions]\n"
    )
    recipe = begun(
        rewards=("mine:digits",),
        steps=30,
        stop_after=18,
        max_completion_length=2,
        num_generations=8,
        beta=0.0,
        lr=3e-2,
        validate_every=50,
    )
    train_performer(recipe.beside_folders([tmp_path]))
    scores = [record["reward"] for record in _records(Path(recipe.output) / "grpo")]
    assert sum(scores[:3]) / 3 < 0.7
    assert sum(scores[-3:]) / 3 > 0.95


def test_groups_of_equal_rewards_give_no_gradient():
    log_p = torch.randn(8, 5, requires_grad=True)
    rewards = torch.tensor([[1.3] * 4, [0.0] * 4])
    gains = group_advantages(rewards, scale_rewards=True).view(-1)
    each = clipped_surrogate(log_p, log_p.detach(), gains, 0.2, 0.2)
    aggregate(
        each, torch.ones(8, 5, dtype=torch.bool), "dapo", tokens=40, max_completion_length=5
    ).backward()
    assert (log_p.grad == 0).all()


def test_an_allocators_policy_leaves_a_floor(begun, monkeypatch):
    assert mixed_probabilities({4: 1, 16: 3}, [(1.0, 0.0)], 0.2) == pytest.approx([0.85, 0.15])
    assert mixed_probabilities({4: 1, 16: 3}, [(1, 0), (0, 1)], 0.0) == [0.5, 0.5]
    asked = []

    def policy(sample):
        asked.append(sample)
        return (0.0, 1.0)

    recipe = begun(floor=0.0, steps=2)
    train_performer(recipe, policy)
    assert asked
    assert all(record["budget"] == 16 for record in _records(Path(recipe.output) / "grpo"))


def test_the_reference_is_asked_only_where_it_counts(begun, monkeypatch):
    made = []
    monkeypatch.setattr(
        "napari_pathreason.training.grpo._learner.Actor",
        lambda *args: made.append(Actor(*args)) or made[-1],
    )
    recipe = begun(steps=1, beta=0.0)
    train_performer(recipe)
    assert len(made) == 1
    assert "kl" not in _records(Path(recipe.output) / "grpo")[0]


def _example(kind):
    """The block of that language in the section of the docs on rewards."""
    page = (Path(__file__).parents[2] / "docs/training.md").read_text()
    section = page.split("### A reward of your own", 1)[1].split("\n## ", 1)[0]
    return section.split(f"```{kind}\n", 1)[1].split("```", 1)[0]


def test_the_reward_of_the_docs_is_trained_with_from_beside_the_recipe(begun, tmp_path):
    (tmp_path / "rewards.py").write_text(_example("python"))
    base = begun(steps=2)
    (tmp_path / "base.yaml").write_text(base.model_dump_json())
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\n" + _example("yaml"))
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert recipe.grpo.rewards == ("task", "rewards:short")
    folder = train_performer(recipe)
    records = _records(folder.parent)
    for record in records:
        assert record["rewards/task/mean"] == 0.0  # an untrained model
        assert record["rewards/rewards:short/mean"] == 1.0  # which writes 6 tokens at most
        assert 0 < record["reward"] <= 0.2  # 0.2 but for lists of boxes
    assert {"val_reward", "val_rewards/task/mean"} <= records[-1].keys()
    told = json.loads((folder.parent / "run.json").read_text())
    assert told["recipe"]["grpo"]["rewards"] == ["task", "rewards:short"]
    digest = hashlib.sha256((tmp_path / "rewards.py").read_bytes()).hexdigest()
    assert told["code_sha256"] == {"rewards.py": digest}


def test_a_reward_that_is_not_there_is_told_at_once(begun, tmp_path):
    with pytest.raises(QueryError, match=r"no mine\.py beside the recipe"):
        train_performer(begun(rewards=("mine:seven",)))
    with pytest.raises(
        QueryError, match=r"grpo\.rewards names 'tasks'; give task, paper, or module"
    ):
        train_performer(begun(rewards=("tasks",)))


@pytest.mark.slow
def test_two_processes_train_one_model(begun, train_in_two_processes):
    recipe = begun(steps=2)
    train_in_two_processes("performer", recipe)
    assert [r["step"] for r in _records(Path(recipe.output) / "grpo")] == [1, 2]
    assert load_models(str(Path(recipe.output) / "grpo/model"), "cpu").performer


def test_the_command_asks_for_a_model_first(recipe, tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.model_dump_json())
    assert main(["train", "performer", "--recipe", str(path)]) != 0
    assert "pathreason train sft" in capsys.readouterr().err


def test_a_recipe_refuses_unknown_keys(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("output: x\ndata: {folder: y}\ngrpo: {group: 8}\n")
    with pytest.raises(QueryError, match=r"grpo\.group"):
        load_recipe(path)
    path.write_text("output: x\ndata: {folder: y}\ngrpo: {num_generations: 1}\n")
    with pytest.raises(QueryError, match=r"grpo\.num_generations"):
        load_recipe(path)
    path.write_text(
        "output: x\ndata: {folder: y}\ngrpo: {rewards: [task], reward_weights: [1, 2]}\n"
    )
    with pytest.raises(QueryError, match="grpo: reward_weights: give one for each of rewards"):
        load_recipe(path)
    path.write_text("output: x\ndata: {folder: y}\ngrpo: {rewards: [task, task]}\n")
    with pytest.raises(QueryError, match="grpo: rewards: name each function once"):
        load_recipe(path)
    settings = Recipe.model_validate({"output": "x", "data": {"folder": "y"}}).grpo
    assert (settings.num_generations, settings.lr, settings.beta, settings.epsilon) == (
        8,
        1e-5,
        0.001,
        0.2,
    )
    assert math.isclose(settings.temperature, 1)
    assert settings.scaled
    assert not GRPORecipe(loss_type="dr_grpo").scaled


def test_a_step_may_learn_from_several_batches(begun):
    own = begun(gradient_accumulation=2, steps=2, validate_every=2)
    assert load_models(train_performer(own)).performer
    log = (Path(own.output) / "grpo/log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in log]
    assert [record["step"] for record in records] == [1, 2]
    assert all(record["groups"] > TINY["batch_size"] for record in records)
    assert "val_score" in records[-1]
