"""Where a recipe may name a checkpoint: ``embedded`` works everywhere, and no hub is asked."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from napari_pathreason.cli import main
from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.models import find_checkpoint, load_models, load_performer, write_merged
from napari_pathreason.training import load_recipe
from napari_pathreason.training.allocator import train_text_allocator
from napari_pathreason.training.bilateral import train_bilateral
from napari_pathreason.training.model import save_checkpoint, start_model
from napari_pathreason.training.performer import train_performer
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import RunLog
from napari_pathreason.training.sft import train_sft
from napari_pathreason.types import Metadata
from tests.support import make_tiny_checkpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.usefixtures("no_network"),
]

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = {"steps": 1, "tokens": 64, "warmup": 1, "validate_samples": 1}
ROLLED = {
    "num_generations": 2,
    "max_completion_length": 3,
    "batch_size": 1,
    "steps": 1,
    "validate_samples": 1,
}
LORA = {"lora": {"rank": 2, "weights": "fp32", "checkpointing": False}}


@pytest.fixture(scope="module")
def model(blank_model, tmp_path_factory):
    """A tiny model of this project's own, which tells of its training."""
    folder = tmp_path_factory.mktemp("model")
    blank = {"output": "x", "data": {"folder": "x"}, "model": {"start": str(blank_model)}}
    start, tokenizer = start_model(Recipe.model_validate(blank))
    told = Metadata((), ("platelet",), ("lung",), None, 512)
    save_checkpoint(folder / "model", start, tokenizer, "pathreason-mini", told)
    return folder / "model"


@pytest.fixture(autouse=True)
def shipped(model, tmp_path, monkeypatch):
    """Stands in place of the model that ships."""
    folder = Path(shutil.copytree(model, tmp_path / "installed/embedded"))
    monkeypatch.setattr("napari_pathreason.models._checkpoint.EMBEDDED", folder)
    (tmp_path / "embedded").mkdir()  # a folder of that name elsewhere does not take its place
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RunLog, "draw", lambda *args: None)
    AcceleratorState._reset_state(reset_partial_state=True)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    yield folder
    AcceleratorState._reset_state(reset_partial_state=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.fixture
def recipe(converted, tmp_path):
    """All stages of one or two steps, from the model that ships."""

    def make(**parts):
        values = {
            "output": str(tmp_path / "run"),
            "data": {"folder": str(converted)},
            "model": {"start": "embedded"},
            "sft": SMALL | {"budgets": {16: 1}, "batch": 1},
            "grpo": ROLLED | {"tokens": 64, "budgets": {16: 1}},
            "allocator": {
                "questions": 1,
                "validate_questions": 1,
                "steps": 2,
                "warm_steps": 1,
                "text": ROLLED | {"overview": 4},
            },
            "bilateral": {"rounds": 1},
        }
        return Recipe.model_validate(values | parts)

    return make


def _same(folder, other):
    a, b = (load_file(f / "model.safetensors") for f in (folder, other))
    return all(torch.equal(value.float(), b[name].float()) for name, value in a.items())


def test_supervised_fine_tuning_of_the_whole_model(recipe, shipped):
    folder = train_sft(recipe())
    assert not _same(folder, shipped)
    info = load_performer(folder, "cpu").info
    assert (info.name, info.metadata.tissues, info.max_visual_tokens) == ("run", (), 16)
    assert json.loads((folder.parent / "run.json").read_text())["recipe"]["model"] == (
        recipe().model.model_dump(mode="json")
    )


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_a_checkpoint_of_any_family_learns_as_a_whole(recipe, tmp_path, family):
    foreign = make_tiny_checkpoint(tmp_path / "foreign", family)
    folder = train_sft(recipe(model={"start": str(foreign)}))
    assert not _same(folder, foreign)
    assert load_performer(folder, "cpu").info.family == family


def test_a_model_to_start_from_must_be_named(recipe):
    with pytest.raises(QueryError, match=r"set model\.start to embedded, a folder or a hub id"):
        train_sft(recipe(model={}))


def test_the_recipe_for_own_labels_trains(shipped, converted, tmp_path):
    """Nothing but places, sizes and steps changed."""
    values = load_recipe(RECIPES / "small.yaml").model_dump()
    values["output"], values["data"]["folder"] = str(tmp_path / "run"), str(converted)
    values["sft"] |= SMALL | {"batch": 1}
    assert not _same(train_sft(Recipe.model_validate(values)), shipped)


def test_adapters_name_their_base_so_that_other_installations_find_it(
    recipe, shipped, tmp_path, by_length
):
    adapted = train_sft(recipe(**LORA))
    rewarded = recipe().grpo.model_copy(update={"rewards": (by_length,)})
    further = train_performer(recipe(**LORA, grpo=rewarded))
    for folder, most in ((adapted, 16), (further, 16)):
        assert json.loads((folder / "adapter_config.json").read_text())[
            "base_model_name_or_path"
        ] == ("embedded")
        moved = Path(shutil.copytree(folder, tmp_path / "moved" / folder.parent.name))
        info = load_performer(moved, "cpu").info
        assert (info.name, info.metadata.tissues, info.max_visual_tokens) == ("run", (), most)
        assert "platelet" in info.metadata.labels
        assert info.metadata.topics
    merged = write_merged(further, tmp_path / "merged")
    assert load_performer(merged, "cpu").info.metadata == info.metadata
    # a whole model goes on from an adapter too
    whole, _ = start_model(recipe(model={"start": str(further)}))
    assert not [name for name, _ in whole.named_parameters() if "lora" in name]


def test_reinforcement_learning_keeps_to_what_the_start_could_read(recipe, by_length):
    grpo = ROLLED | {"tokens": 64, "budgets": {16: 1}, "start": "embedded"}
    grpo |= {"rewards": [by_length]}
    info = load_performer(train_performer(recipe(grpo=grpo)), "cpu").info
    assert (info.name, info.metadata.tissues, info.max_visual_tokens) == ("run", (), 512)


def test_both_branches_in_turn(recipe, monkeypatch, by_length, at_every_budget):
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    rewarded = recipe().grpo.model_copy(update={"rewards": (by_length,)})
    folder = train_bilateral(recipe(**LORA, grpo=rewarded))
    models = load_models(folder, "cpu")
    assert models.performer.info.name == "run"  # not of a round
    assert models.allocator.overview_budget > 0


@pytest.mark.parametrize("form", ["head", "text"])
def test_an_allocator_lies_beside_a_copy(recipe, form, tmp_path, monkeypatch, at_every_budget):
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    base = recipe()
    settings = base.allocator.model_dump() | {"start": "embedded", "form": form}
    named = tmp_path / "recipe.yaml"
    parts = {"allocator": settings} | (LORA if form == "text" else {})
    named.write_text(recipe(**parts).model_dump_json())
    assert main(["train", "allocator", "--recipe", str(named)]) == 0
    folder = tmp_path / "run/allocator/model"
    models = load_models(folder, "cpu")
    assert models.allocator.overview_budget > 0
    assert models.performer.info.metadata.tissues == ("lung",)  # it answers as it did


def test_merging_it_is_refused_as_it_has_no_adapter(capsys):
    assert main(["merge", "embedded", "-o", "merged"]) != 0
    assert "has no adapter to merge" in capsys.readouterr().err


@pytest.mark.parametrize("lora", [{}, LORA], ids=["whole", "lora"])
@pytest.mark.parametrize("name", ["kidney", "runs/kidney/model", "./kidney", "../kidney"])
def test_an_unknown_start_is_one_line_at_once(recipe, name, lora):
    wrong = recipe(model={"start": name}, **lora)
    with pytest.raises(
        ModelError, match=r"there is no model '(kidney|model)'; give embedded"
    ) as caught:
        train_sft(wrong)
    assert "\n" not in str(caught.value)
    grpo = recipe().grpo.model_copy(update={"start": name})
    allocator = recipe().allocator.model_copy(update={"start": name})
    for train, part in (
        (train_performer, {"grpo": grpo}),
        (train_text_allocator, {"allocator": allocator}),
    ):
        with pytest.raises(ModelError, match="there is no model"):
            train(recipe(**LORA).model_copy(update=part))


def test_the_model_that_ships_is_found_by_name_alone(shipped):
    assert find_checkpoint("embedded")[0] == shipped
