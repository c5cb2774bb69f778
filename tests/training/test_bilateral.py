"""Both branches in turn: the real loops on a tiny model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.models import BUDGETS, load_models
from napari_pathreason.training import (
    Sample,
    allocator,
    bilateral,
    performer,
    read_samples,
    write_samples,
)
from napari_pathreason.training.bilateral import learned_policy, train_bilateral
from napari_pathreason.training.recipe import AllocatorRecipe, BilateralRecipe, GRPORecipe
from napari_pathreason.training.samples import Pictures
from napari_pathreason.training.sft import train_sft
from napari_pathreason.types import Allocation

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

GRPO = {
    "num_generations": 2,
    "max_completion_length": 4,
    "budgets": {4: 1, 16: 1},
    "batch_size": 1,
    "steps": 2,
    "lr": 1e-3,
    "checkpoint_every": 1,
    "validate_every": 2,
    "validate_samples": 1,
}
ALLOCATOR = {
    "questions": 1,
    "validate_questions": 1,
    "steps": 4,
    "warm_steps": 1,
    "checkpoint_every": 2,
    "validate_every": 2,
}


@pytest.fixture
def turns(recipe, monkeypatch, at_every_budget):
    """A recipe of two rounds, whose performers need not answer."""
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    parts = {
        "grpo": GRPORecipe.model_validate(GRPO),
        "allocator": AllocatorRecipe.model_validate(ALLOCATOR),
        "bilateral": BilateralRecipe(rounds=2),
    }
    return recipe.model_copy(update=parts)


def _weights(folder):
    names = ("model.safetensors", "allocator.safetensors")
    return {name: load_file(folder / name) for name in names}


@pytest.mark.slow
def test_a_run_killed_between_two_stages_gives_the_same_folder(turns, tmp_path, monkeypatch):
    whole = _weights(train_bilateral(turns))
    cut = turns.model_copy(update={"output": str(tmp_path / "cut")})
    begun = []

    def dies(recipe):
        begun.append(recipe.output)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return allocator.train_allocator(recipe)

    with monkeypatch.context() as patch:
        patch.setattr(bilateral, "train_allocator", dies)
        with pytest.raises(KeyboardInterrupt):
            train_bilateral(cut)
    assert not (tmp_path / "cut/bilateral").exists()
    again = _weights(train_bilateral(cut))
    for file, tensors in whole.items():
        assert all(torch.equal(value, again[file][name]) for name, value in tensors.items())


@pytest.mark.parametrize("form", ["windows", "text_windows"])
def test_an_allocator_of_windows_leaves_the_budgets_to_the_recipe(turns, monkeypatch, form):
    policies = []

    def train(recipe, policy):
        policies.append(policy)
        return shutil.copytree(start, Path(recipe.output) / "grpo/model")

    start = train_sft(turns)
    monkeypatch.setattr(bilateral, "train_performer", train)
    monkeypatch.setattr(bilateral, "train_allocator", lambda turn: turn.allocator.start)
    own = turns.allocator.model_copy(update={"form": form})
    assert (train_bilateral(turns.model_copy(update={"allocator": own})) / "config.json").is_file()
    assert policies == [None, None]


@pytest.mark.slow
def test_the_second_round_learns_at_the_first_allocators_budgets(turns, monkeypatch):
    seen = []

    def looks(recipe, policy):
        seen.append((recipe.seed, recipe.grpo.start, policy))
        return performer.train_performer(recipe, policy)

    monkeypatch.setattr(bilateral, "train_performer", looks)
    folder = train_bilateral(turns)
    (_, first, none), (_, second, policy) = seen
    assert first == str(Path(turns.output) / "model")
    assert second == str(Path(turns.output) / "round-1/grpo/model")
    assert none is None
    sample = read_samples(Path(turns.data.folder) / "train.jsonl")[0]
    assert sum(policy(sample)) == pytest.approx(1)
    assert load_models(folder).allocator.overview_budget > 0


def test_chances_beyond_the_rungs_of_training_go_to_the_largest(recipe):
    data = Path(recipe.data.folder)
    sample = next(s for s in read_samples(data / "train.jsonl") if s.source == "blood")

    class Even:
        overview_budget = 4

        def allocate(self, overview, query, native, effort):
            return Allocation(4, "policy", 4, (1 / len(BUDGETS),) * len(BUDGETS))

    probabilities = learned_policy(Even(), Pictures(data), 32, {16: 1.0, 4: 1.0})(sample)
    assert probabilities == pytest.approx([1 - 1 / len(BUDGETS), 1 / len(BUDGETS)])


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["allocator", "bilateral"])
def test_two_processes_train_one_model(
    recipe, one_picture, train_in_two_processes, stage, blank_model, tmp_path
):
    """All real: the first process asks the performer and trains the head, and the other waits."""
    allocator = AllocatorRecipe.model_validate(ALLOCATOR)
    if stage == "allocator":
        start = shutil.copytree(blank_model, tmp_path / "start")
        allocator = allocator.model_copy(update={"start": str(start)})
    parts = {
        "data": recipe.data.model_copy(update={"folder": str(one_picture)}),
        "sft": recipe.sft.model_copy(update={"steps": 2, "batch": 1, "validate_samples": 1}),
        "grpo": GRPORecipe.model_validate(GRPO),
        "allocator": allocator,
        "bilateral": BilateralRecipe(rounds=1),
    }
    both = recipe.model_copy(update=parts)
    train_in_two_processes(stage, both)
    out = Path(both.output)
    folder = out / "bilateral" if stage == "bilateral" else start
    assert load_models(folder, "cpu").allocator.overview_budget > 0
    where = (out / "round-1" if stage == "bilateral" else out) / "allocator"
    log = (where / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 3, 4]
    (table,) = where.glob("scores-train-*.jsonl")
    asked = [tuple(json.loads(line)["size"]) for line in table.read_text().splitlines()]
    assert len(asked) == len(set(asked))  # each once


def test_the_shell_knows_it(tmp_path, capsys):
    assert main(["train", "bilateral", "--recipe", str(tmp_path / "none.yaml")]) == 2
    assert "recipes/qwen3-vl-2b.yaml" in capsys.readouterr().err


def test_an_allocator_looks_only_at_the_pictures_that_were_there(turns, tmp_path, monkeypatch):
    """What was put in the place of one would choose the budget of the other."""
    data = tmp_path / "data"
    data.mkdir()
    sample = Sample(
        image="0.png", task="vqa", question="Is it?", answer="yes", choices=("yes", "no"),
        source="made",
    )  # fmt: skip
    Image.new("RGB", (64, 64), (40, 90, 120)).save(data / "0.png")
    for split in ("train", "val"):
        write_samples(data / f"{split}.jsonl", [sample])
    changed = turns.model_copy(update={"data": turns.data.model_copy(update={"folder": str(data)})})
    start, policies = train_sft(changed), []

    def train(recipe, policy):
        policies.append(policy)
        return shutil.copytree(start, Path(recipe.output) / "grpo/model")

    monkeypatch.setattr(bilateral, "train_performer", train)
    train_bilateral(changed)
    Image.new("RGB", (64, 64), (250, 20, 30)).save(tmp_path / "other.png")
    (tmp_path / "other.png").replace(data / "0.png")
    with pytest.raises(QueryError, match=r"the picture 0\.png was changed while this run went on"):
        policies[1](sample)
