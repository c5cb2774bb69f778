"""The demonstrator's objective in the loop: it learns, resumes, and says what it cannot teach."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from demonstrator.new_model import Sizes, new_model
from demonstrator.objective import MultiTaskObjective
from napari_pathreason.errors import QueryError
from napari_pathreason.models import load_models
from napari_pathreason.training import read_samples
from napari_pathreason.training.model import save_checkpoint
from napari_pathreason.training.recipe import Recipe, SFTRecipe
from napari_pathreason.training.sft import train_sft
from tests.support import make_tiny_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SIZES = Sizes(1600, 1, 64, 2, 32, (0,), 2, 64, 4, 1, 32)
READS = {"readout_weight": 0.5, "auxiliary_prompts": ["red cell"]}


@pytest.fixture(scope="module")
def begin(specimens, tmp_path_factory):
    """Writes a new model of given sizes."""

    def write(sizes=SIZES):
        folder = tmp_path_factory.mktemp("begun") / "model"
        model, tokenizer = new_model(read_samples(Path(specimens, "train.jsonl")), sizes)
        save_checkpoint(folder, model, tokenizer, "begun")
        return folder

    return write


@pytest.fixture
def make_recipe(specimens, tmp_path):
    """A run of a few steps; what is given goes to the objective."""

    def make(start, data=None, lora=None, **options):
        return Recipe.model_validate(
            {
                "output": str(tmp_path / "run"),
                "data": {"folder": str(specimens)} | (data or {}),
                "model": {"start": str(start)},
                "lora": lora,
                "sft": {
                    "objective": "demonstrator.objective:MultiTaskObjective",
                    "objective_options": options,
                    "budgets": {4: 1, 16: 1},
                    "steps": 6,
                    "batch": 3,
                    "warmup": 2,
                    "checkpoint_every": 3,
                    "validate_every": 3,
                    "validate_samples": 3,
                },
            }
        )

    return make


def _weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def _records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "options",
    [{}, {"place_code": True}, READS | {"count_code": True}],
    ids=["plain", "place", "all"],
)
@pytest.mark.slow
def test_a_run_cut_short_and_resumed_equals_an_undisturbed_one(
    begin, make_recipe, tmp_path, options
):
    recipe = make_recipe(begin(), auxiliary_steps=2, **options)
    train_sft(recipe)
    cut = recipe.model_copy(update={"output": str(tmp_path / "cut")})
    train_sft(cut.model_copy(update={"sft": recipe.sft.model_copy(update={"stop_after": 3})}))
    assert json.loads((tmp_path / "cut/checkpoint/step.json").read_text())["step"] == 3
    train_sft(cut)
    a, b = _weights(tmp_path / "run"), _weights(tmp_path / "cut")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    records = _records(tmp_path / "cut")
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record["text"] > 0 for record in records] == [False, False, True, True, True, True]
    assert [record["coverage"] > 0 for record in records] == [True] * 6


def test_every_parameter_moves_and_only_the_model_is_saved(begin, make_recipe):
    start = begin()
    folder = train_sft(make_recipe(start))
    before, after = load_file(start / "model.safetensors"), load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert not [name for name in after if torch.equal(before[name], after[name])]
    assert load_models(folder, "cpu").performer.info.name == "run"


@pytest.mark.slow
def test_readout_is_logged_and_refused_where_heads_are_too_few(begin, make_recipe, tmp_path):
    few = begin(Sizes(1600, 1, 32, 2, 32, (), 2, 48, 2, 1, 32))
    with pytest.raises(QueryError, match="readout_weight"):
        train_sft(make_recipe(few, **READS))
    blood = {"weights": {"blood": 1}, "questions": 1}
    train_sft(make_recipe(begin(), blood, **READS))
    records = _records(tmp_path / "run")
    assert all(record["routing"] > 0 < record["readout"] for record in records)
    assert records[-1]["val_readout"] > 0


def test_what_it_cannot_teach_is_one_line(make_recipe, begin, tmp_path):
    foreign = make_tiny_checkpoint(tmp_path / "foreign")
    with pytest.raises(QueryError, match=r"several tokens.*leave out sft\.objective"):
        train_sft(make_recipe(foreign))
    lora = {"rank": 2, "weights": "fp32", "checkpointing": False}
    with pytest.raises(QueryError, match="leave out the recipe's lora section"):
        train_sft(make_recipe(begin(), lora=lora))
    with pytest.raises(QueryError, match=r"objective_options\.cells is no option"):
        MultiTaskObjective(SFTRecipe(objective_options={"cells": 1}))


def test_heads_learn_the_labels_that_the_recipe_names():
    options = {"covered": ["gland", "duct"], "boxed": ["duct"], "counted": ["gland"]}
    objective = MultiTaskObjective(SFTRecipe(objective_options=options))
    assert objective.labels.covered == ("gland", "duct")
    assert MultiTaskObjective(SFTRecipe()).labels.boxed[0] == "tumour"


def test_the_learning_rate_warms_up_again_behind_the_auxiliary_steps():
    settings = SFTRecipe(warmup=4, objective_options={"auxiliary_steps": 2})
    objective = MultiTaskObjective(settings)
    assert [objective.rate(step) for step in range(7)] == [1, 1, 0.25, 0.5, 0.75, 1, 1]
    assert objective.sparse
    plain = MultiTaskObjective(SFTRecipe(warmup=4))
    assert [plain.rate(step) for step in range(3)] == [1, 1, 1]


@pytest.mark.slow
def test_averaged_gradients_of_two_processes_are_those_of_one(in_two_processes):
    said = in_two_processes(Path(__file__).with_name("_two_processes.py"))
    assert said.count("equal") == 2
