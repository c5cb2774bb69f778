"""Every recipe of the repository can be read, with the code that it names."""

from pathlib import Path

import pytest

from napari_pathreason.training import load_recipe
from napari_pathreason.training.objectives import load_objective

ROOT = Path(__file__).parents[3]
RECIPES = sorted([*ROOT.glob("recipes/*.yaml"), *ROOT.glob("demonstrator/recipes/*.yaml")])


def test_there_are_recipes_of_both_places() -> None:
    assert {path.parent.parent.name for path in RECIPES} >= {"demonstrator"}
    assert len(RECIPES) > 12


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_is_read_and_its_objective_takes_its_options(path: Path) -> None:
    recipe = load_recipe(path)
    assert load_objective(recipe.sft.objective, recipe.beside)(recipe.sft) is not None
