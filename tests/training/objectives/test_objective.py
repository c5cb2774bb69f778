"""An objective of one's own: found, checked, trained by; the worked example of docs/training.md."""

import json
import re
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.training.objectives import (
    LanguageModelObjective,
    load_objective,
    part_weights,
)
from napari_pathreason.training.recipe import SFTRecipe

PAGE = (Path(__file__).parents[3] / "docs/training.md").read_text(encoding="utf-8")


@pytest.fixture
def example(tmp_path):
    """The page's class and recipe, beside each other."""
    section = PAGE.partition("### An objective of your own")[2].partition("\n### ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (recipe,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (tmp_path / "smoothed.py").write_text(code)
    (tmp_path / "recipe.yaml").write_text(recipe)
    return tmp_path / "recipe.yaml"


def _train(recipe, converted, model, out, *changes):
    values = {
        "model.start": model,
        "data.folder": converted,
        "output": out,
        "sft.steps": 1,
        "sft.batch": 2,
        "sft.tokens": 64,
        "sft.validate_samples": 2,
        "sft.budgets": "{4: 1}",
    }
    words = [f"{key}={value}" for key, value in values.items()] + list(changes)
    sets = [word for change in words for word in ("--set", change)]
    return main(["train", "sft", "--recipe", str(recipe), *sets])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_worked_example_trains(example, converted, blank_model, tmp_path, capsys):
    def text_loss(out, *changes):
        assert _train(example, converted, blank_model, out, *changes) == 0
        (line,) = (out / "log.jsonl").read_text().splitlines()
        return json.loads(line)["text"]

    smoothed = text_loss(tmp_path / "run")
    plain = text_loss(tmp_path / "plain", "sft.objective=null", "sft.objective_options={}")
    assert smoothed > 0 < plain
    assert smoothed != plain
    same = text_loss(tmp_path / "same", "sft.objective_options={smoothing: 0.0}")
    assert same == pytest.approx(plain, abs=1e-3)
    record = json.loads((tmp_path / "run/run.json").read_text())
    settings = record["recipe"]["sft"]
    assert settings["objective"] == "smoothed:SmoothedAnswers"
    assert settings["objective_options"] == {"smoothing": 0.2}
    assert len(record["code_sha256"]["smoothed.py"]) == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{smothing: 0.2}", "sft.objective_options.smothing is no option of this objective; it"),
        ("{smoothing: much}", "sft.objective_options.smoothing: "),
    ],
)
def test_a_wrong_option_is_one_line_before_anything_is_read(
    example, blank_model, tmp_path, capsys, options, message
):
    wrong = f"sft.objective_options={options}"
    assert _train(example, tmp_path / "no data", blank_model, tmp_path / "run", wrong) != 0
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said


def test_the_default_has_no_options():
    assert load_objective(None) is LanguageModelObjective
    with pytest.raises(QueryError, match=r"sft\.objective, or leave out auxiliary_steps"):
        LanguageModelObjective(SFTRecipe(objective_options={"auxiliary_steps": 3}))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Mine:\n    pass\n", "mine:Mine lacks attach, begin, extend, collate, losses"),
        ("def Mine(settings):\n    pass\n", "mine:Mine is no class"),
        ("", r"there is no Mine in mine\.py"),
    ],
)
def test_what_is_no_objective_is_refused(tmp_path, code, message):
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(QueryError, match=message) as caught:
        load_objective("mine:Mine", [tmp_path])
    assert "\n" not in str(caught.value)


def test_an_objective_never_comes_from_a_checkpoints_folder(tmp_path, blank_model):
    with pytest.raises(QueryError, match="no installed module mine"):
        load_objective("mine:Mine", [tmp_path])
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "mine.py").write_text("from napari_pathreason.training.objectives import *\n")
    with pytest.raises(QueryError, match="checkpoint's folder"):
        load_objective("mine:Mine", [tmp_path])


def test_parts_of_a_step_weigh_as_their_targets():
    counts = [torch.tensor([3.0, 0.0]), torch.tensor([1.0, 2.0])]
    shares = part_weights(Accelerator(cpu=True), counts)
    assert [share.tolist() for share in shares] == [[0.75, 0.0], [0.25, 1.0]]
    (alone,) = part_weights(Accelerator(cpu=True), counts[1:])
    assert alone.tolist() == [1.0, 1.0]
