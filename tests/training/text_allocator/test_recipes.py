"""Recipes of an allocator that writes: what they say, and whole runs of them."""

import json
from pathlib import Path

import pytest

from napari_pathreason.errors import QueryError
from napari_pathreason.models import TextAllocator, TextForm, load_models
from napari_pathreason.training import load_recipe
from napari_pathreason.training.allocator import train_allocator
from napari_pathreason.training.bilateral import train_bilateral
from napari_pathreason.training.recipe import GRPORecipe, Recipe

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RECIPES = Path(__file__).parents[3] / "recipes"
SHIPPED = {"qwen3_vl": "qwen3-vl-2b.yaml", "qwen2_5_vl": "paper-qwen2.5-vl-7b.yaml"}


def test_a_shipped_recipe_trains_one(family, converted, tmp_path, one_budget_pays, copy_of):
    """Nothing but places, sizes and steps changed, and the form where it is the head."""
    folder = copy_of(family, tmp_path)
    values = load_recipe(RECIPES / SHIPPED[family]).model_dump()
    values["output"], values["data"]["folder"] = str(tmp_path / "run"), str(converted)
    values["allocator"] |= {"start": str(folder), "form": "text"}
    values["allocator"] |= {"questions": 1, "validate_questions": 1}
    shown = values["allocator"]["text"]["overview"]
    values["allocator"]["text"] |= {
        "max_completion_length": 3,
        "steps": 1,
        "batch_size": 1,
        "num_generations": 2,
    }
    values["allocator"]["text"] |= {"validate_samples": 1, "overview": 4}
    train_allocator(Recipe.model_validate(values))
    allocator = load_models(folder, "cpu").allocator
    assert isinstance(allocator, TextAllocator)
    assert allocator.form == TextForm(4, 3, "balanced")
    assert shown == {"qwen2_5_vl": 256, "qwen3_vl": 64}[family]


def test_the_papers_settings_and_what_a_writing_allocator_needs(tmp_path):
    recipe = load_recipe(RECIPES / SHIPPED["qwen2_5_vl"])
    text = recipe.allocator.text
    assert (recipe.allocator.form, recipe.allocator.reward) == ("text", "paper")
    assert (text.overview, text.num_generations, text.max_completion_length, text.temperature) == (
        256,
        8,
        512,
        1,
    )
    assert (text.lr, text.beta, text.epsilon, text.loss_type) == (1e-5, 0.001, 0.2, "grpo")
    assert text.format_weight == 1
    assert recipe.allocator.scaled
    file = tmp_path / "recipe.yaml"
    file.write_text("output: x\ndata: {folder: y}\nallocator: {form: text}\n")
    with pytest.raises(QueryError, match="add a lora section"):
        load_recipe(file)


@pytest.mark.slow
def test_two_rounds_of_both_branches_leave_one_folder(
    performers, converted, tmp_path, monkeypatch, digits, one_budget_pays, make_recipe
):
    asked = []
    allocate = TextAllocator.allocate

    def listen(self, overview, query, native, effort):
        given = allocate(self, overview, query, native, effort)
        asked.append(given.budget or native)
        return given

    monkeypatch.setattr(TextAllocator, "allocate", listen)
    base = performers / "qwen3_vl-base"
    recipe = make_recipe(base, converted, tmp_path / "run", steps=2, num_generations=4)
    grpo = GRPORecipe(
        start=str(base),
        num_generations=2,
        max_completion_length=2,
        batch_size=1,
        steps=1,
        validate_samples=1,
        floor=0.0,
    )
    folder = train_bilateral(recipe.model_copy(update={"grpo": grpo}))
    assert isinstance(load_models(folder, "cpu").allocator, TextAllocator)
    log = tmp_path / "run/round-2/grpo/log.jsonl"
    (first,) = map(json.loads, log.read_text().splitlines())
    wanted = asked[0]  # of the first round's allocator, for the only picture of the second's step
    assert first["budget"] == next((r for r in grpo.budgets if r >= wanted), max(grpo.budgets))


@pytest.mark.slow
def test_two_processes_train_one_allocator(
    one_picture, tmp_path, train_in_two_processes, make_recipe, copy_of, records_of
):
    """All real: the first process asks the performer, the other reads its table."""
    folder = copy_of("qwen3_vl", tmp_path)
    recipe = make_recipe(folder, one_picture, tmp_path / "run", steps=2, num_generations=4)
    train_in_two_processes("allocator", recipe)
    records = records_of(recipe.output)
    assert [record["step"] for record in records] == [1, 2]
    assert records[-1]["rollouts"] == 2 * 2 * 2 * 4
    (table,) = (tmp_path / "run/allocator").glob("scores-train-*.jsonl")
    assert len(table.read_text().splitlines()) == records[-1]["performer_calls"]
    assert isinstance(load_models(folder, "cpu").allocator, TextAllocator)
