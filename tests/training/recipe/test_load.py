"""Recipes that extend others, and keys that are set at the command line."""

import json

import pytest

from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.training import load_recipe
from napari_pathreason.training.recipe import load_object

BASE = """\
output: runs/base
data: {folder: data, weights: {lung: 1, blood: 2}, questions: 2}
metadata: {tissues: [lung, blood]}
model: {start: embedded}
lora: {rank: 4}
sft: {box_quantum: 5, steps: 10, lr: 0.5, budgets: {4: 1, 16: 1}}
"""


@pytest.fixture
def write(tmp_path):
    """Writes recipes into one folder, or into another below it."""

    def written(**files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return written


def test_sections_are_merged_and_everything_else_is_replaced_whole(write):
    child = """\
extends: base.yaml
output: runs/child
data: {weights: {blood: 3}}
metadata: {tissues: [blood]}
lora: null
sft: {lr: 1e-4, budgets: {64: 2}}
"""
    folder = write(base=BASE, child=child)
    base, found = load_recipe(folder / "base.yaml"), load_recipe(folder / "child.yaml")
    assert (found.output, found.seed) == ("runs/child", base.seed)
    assert (found.data.folder, found.data.questions) == ("data", 2)
    assert found.data.weights == {"blood": 3}
    assert found.metadata.tissues == ("blood",)
    assert (found.lora, base.lora.rank) == (None, 4)
    assert (found.sft.steps, found.sft.lr, found.sft.box_quantum) == (10, 1e-4, 5)
    assert found.sft.budgets == {64: 2}
    assert found.model.start == "embedded"


def test_a_chain_is_followed_each_path_from_its_own_folder(write):
    middle = "extends: ../base.yaml\nsft: {steps: 20}\n"
    folder = write(base=BASE, below__middle=middle, below__top="extends: middle.yaml\nseed: 7\n")
    found = load_recipe(folder / "below/top.yaml")
    assert (found.seed, found.sft.steps, found.sft.lr) == (7, 20, 0.5)


def test_code_is_looked_for_beside_the_recipe_and_those_that_it_extends(write):
    folder = write(base=BASE, below__child="extends: ../base.yaml\n")
    (folder / "mine.py").write_text("NAME = 'base'\n")
    found = load_recipe(folder / "below/child.yaml")
    assert load_object("mine:NAME", found.beside) == "base"
    (folder / "below/mine.py").write_text("NAME = 'child'\n")
    assert load_object("mine:NAME", found.beside) == "child"
    further = found.model_copy(update={"seed": 3})
    assert further.beside == found.beside


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "extends: a.yaml\n"}, r"a\.yaml extends itself: a\.yaml -> a\.yaml"),
        (
            {"a": "extends: b.yaml\n", "b": "extends: c.yaml\n", "c": "extends: b.yaml\n"},
            r"a\.yaml extends itself: a\.yaml -> b\.yaml -> c\.yaml -> b\.yaml",
        ),
        ({"a": "extends: b.yaml\n"}, r"recipe b\.yaml, which a\.yaml extends, is not there"),
        ({"a": "extends: [b.yaml]\n"}, r"a\.yaml: extends: give the path of one recipe"),
        ({"a": "extends: base.yaml\n", "base": "- 1\n"}, r"base\.yaml is no recipe"),
        ({"a": ""}, r"a\.yaml is no recipe"),
        ({"a": "extends: base.yaml\nsft: {lrr: 1}\n", "base": BASE}, r"^a\.yaml: sft\.lrr: "),
        ({"a": "extends: b.yaml\n", "b": BASE + "sgd: {}\n"}, r"^b\.yaml: sgd: "),
        ({"a": "extends: base.yaml\nsft: 3\n", "base": BASE}, r"^a\.yaml: sft: "),
        ({"a": "extends: b.yaml\n", "b": "output: x\n"}, r"^a\.yaml: data: Field required"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_file(write, files, message):
    with pytest.raises(QueryError, match=message) as caught:
        load_recipe(write(**files) / "a.yaml")
    assert "\n" not in str(caught.value)


def test_keys_are_set_over_the_file(write):
    path = write(base=BASE, child="extends: base.yaml\nsft: {steps: 20}\n") / "child.yaml"
    changes = ["sft.lr=1e-4", "sft.steps=30", "sft.steps=40", "lora=null", "seed=5"]
    changes += ["data.weights={lung: 1}", "metadata.name=mine", "grpo.budgets={8: 1}"]
    found = load_recipe(path, changes)
    assert (found.sft.lr, found.sft.steps, found.seed) == (1e-4, 40, 5)
    assert (found.sft.box_quantum, found.lora, found.metadata.name) == (5, None, "mine")
    assert (found.data.weights, found.grpo.budgets) == ({"lung": 1}, {8: 1})
    assert load_recipe(path, ["lora.rank=8"]).lora.rank == 8


def test_options_of_one_objective_are_merged_and_those_of_another_are_not(write):
    options = "objective: 'mine:Mine', objective_options: {a: 1, b: 2}"
    folder = write(
        base=BASE.replace("sft: {", f"sft: {{{options}, "),
        same="extends: base.yaml\nsft: {objective_options: {b: 3}}\n",
        other="extends: base.yaml\nsft: {objective: 'mine:Other', objective_options: {c: 4}}\n",
        none="extends: base.yaml\nsft: {objective: null}\n",
    )
    merged = {
        name: load_recipe(folder / f"{name}.yaml").sft.objective_options
        for name in ("same", "other", "none")
    }
    assert merged == {"same": {"a": 1, "b": 3}, "other": {"c": 4}, "none": {}}
    found = load_recipe(folder / "same.yaml", ["sft.objective_options.a=0.5"])
    assert found.sft.objective_options == {"a": 0.5, "b": 3}


@pytest.mark.parametrize("key", ["sft.lrr", "sgd.lr", "grpo.betas", "extends", "sft.lr.x"])
def test_an_unknown_key_is_told_as_that_of_a_file(write, key):
    folder = write(base=BASE)
    if key != "sft.lr.x":
        section, _, last = key.rpartition(".")
        own = f"{section}: {{{last}: 1}}\n" if section else "other: 1\n"
        (folder / "file.yaml").write_text("extends: base.yaml\n" + own)
        with pytest.raises(QueryError) as caught:
            load_recipe(folder / "file.yaml")
        told = str(caught.value).removeprefix("file.yaml: ")
        with pytest.raises(QueryError) as caught:
            load_recipe(folder / "base.yaml", [f"{key}=1"])
        told = told.replace("other", key)
        assert str(caught.value) == f"base.yaml: {told}"
        assert "\n" not in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sft.lr", "--set takes KEY=VALUE, such as sft.lr=1e-4, not 'sft.lr'"),
        ("=3", "--set takes KEY=VALUE"),
        ("sft..lr=3", "--set takes KEY=VALUE"),
        ("data.weights.lung=2", "data.weights is set whole, as in --set 'data.weights=VALUE'"),
        ("sft.lr.x=2", "sft.lr is set whole"),
        ("sft.lr={", "--set sft.lr: the value is not YAML"),
        ("sft.lr=fast", "base.yaml: sft.lr: "),
        ("sft.budgets={16:1}", "the value says 16:1, which YAML takes for one number of base 60; "),
    ],
)
def test_what_cannot_be_set_is_one_line(write, change, message):
    path = write(base=BASE) / "base.yaml"
    with pytest.raises(QueryError) as caught:
        load_recipe(path, [change])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_resolved_recipe_is_what_a_run_says_it_was_made_of(recipe, tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text(recipe.model_dump_json())
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\nsft: {steps: 1}\n")
    words = ["--set", "sft.batch=2", "--set", "seed=3"]
    assert main(["train", "sft", "--recipe", str(child), *words]) == 0
    told = json.loads((tmp_path / "run/run.json").read_text())["recipe"]
    assert (told["sft"]["steps"], told["sft"]["batch"], told["seed"]) == (1, 2, 3)
    assert told["sft"]["warmup"] == 2
    assert "extends" not in told


def test_set_needs_a_recipe_to_change(capsys):
    words = ["--data", "val.jsonl", "--train", "train.jsonl", "--set", "seed=1"]
    assert main(["calibrate", "embedded", *words]) != 0
    assert "name it with --recipe" in capsys.readouterr().err


def test_a_newer_recipe_is_refused_by_name(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("format_version: 1\noutput: x\ndata: {folder: y}\n")
    assert load_recipe(path).format_version == 1
    path.write_text("format_version: 2\noutput: x\ndata: {folder: y}\n")
    with pytest.raises(
        QueryError, match=r"mine\.yaml: format_version: .* version 2, newer than .*1"
    ):
        load_recipe(path)
