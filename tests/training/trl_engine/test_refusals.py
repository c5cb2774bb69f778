"""What the TRL engine cannot do is refused in one line, before a weight is read."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from napari_pathreason.cli import main
from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.training import load_recipe, read_samples, write_samples
from napari_pathreason.training.run import read_data
from napari_pathreason.training.sft import train_sft
from napari_pathreason.training.trl_engine import train_performer_by_trl, train_sft_by_trl

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def unread(monkeypatch):
    """Fails where weights would be read."""
    monkeypatch.setattr("napari_pathreason.models.load_weights", pytest.fail)


def test_without_trl_the_extra_is_named(make_recipe, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    file = tmp_path / "recipe.yaml"
    file.write_text(make_recipe().model_dump_json())
    for stage in ("sft", "performer"):
        assert main(["train", stage, "--recipe", str(file), "--engine", "trl"]) != 0
        assert "pip install 'napari-pathreason[trl]'" in capsys.readouterr().err


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"sft": {"objective": "mine:Objective"}}, r"sft\.objective is the own engine's"),
        ({"sft": {"score_samples": 4}}, r"sft\.score_samples is the own engine's"),
        ({"trl": {"sft": {"learning_rate": 1}}}, r"trl\.sft\.learning_rate follows from other"),
        ({"trl": {"sft": {"nonsense": 1}}}, r"trl\.sft\.nonsense: there is no such field"),
    ],
)
def test_supervised(make_recipe, sections, told):
    pytest.importorskip("trl", reason="the optional engine")
    with pytest.raises(QueryError, match=told):
        train_sft_by_trl(make_recipe(**sections))


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    ("grpo", "trl", "told"),
    [
        ({"questions": 2}, {}, r"several grpo\.questions"),
        ({}, {"beta": 0.1}, r"trl\.grpo\.beta follows from other keys"),
        ({}, {"loss": "mine"}, r"trl\.grpo\.loss: there is no such field in GRPOConfig"),
    ],
)
def test_grpo(make_recipe, checkpoint, grpo, trl, told):
    pytest.importorskip("trl", reason="the optional engine")
    grpo = {"start": str(checkpoint("qwen3_vl")), **grpo}
    with pytest.raises(QueryError, match=told):
        train_performer_by_trl(make_recipe(grpo=grpo, trl={"grpo": trl}))


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("family", ["llava_onevision", "mllama"])
def test_grpo_of_a_family_that_trl_does_not_take(make_recipe, checkpoint, family):
    pytest.importorskip("trl", reason="the optional engine")
    recipe = make_recipe(family, grpo={"start": str(checkpoint(family))})
    with pytest.raises(ModelError, match="TRL's GRPO does not take models of the family"):
        train_performer_by_trl(recipe)


def test_the_page_names_fields_that_trl_has(tmp_path):
    trl = pytest.importorskip("trl", reason="the optional engine")
    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    (block,) = [one for one in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "\ntrl:" in one]
    file = tmp_path / "recipe.yaml"
    file.write_text(block.replace("extends: ", f"extends: {ROOT}/recipes/"))
    recipe = load_recipe(file)
    assert recipe.lora.weights == "4bit"
    assert recipe.lora.rank == 16  # as in the recipe that it extends
    for config, further in ((trl.SFTConfig, recipe.trl.sft), (trl.GRPOConfig, recipe.trl.grpo)):
        assert further.keys() <= {field.name for field in fields(config)}


def test_the_own_loops_refuse_weights_in_four_bits(make_recipe):
    recipe = make_recipe()
    lora = recipe.lora.model_copy(update={"weights": "4bit"})
    with pytest.raises(QueryError, match=r"lora\.weights: 4bit needs TRL as the engine"):
        train_sft(recipe.model_copy(update={"lora": lora}))


@pytest.mark.parametrize("stage", ["sft", "performer"])
def test_what_is_replaced_while_it_is_read_is_not_learnt_from(
    make_recipe, own_data, checkpoint, monkeypatch, stage
):
    pytest.importorskip("trl", reason="the optional engine")
    recipe = make_recipe(
        data={"folder": str(own_data)}, grpo={"start": str(checkpoint("qwen3_vl"))}
    )
    train = {"sft": train_sft_by_trl, "performer": train_performer_by_trl}[stage]
    samples = own_data / "train.jsonl"

    def read(*args):
        found = read_data(*args)
        write_samples(samples, read_samples(samples)[1:])
        return found

    monkeypatch.setattr("napari_pathreason.training.run.read_data", read)
    with pytest.raises(QueryError, match="its input was changed: other data"):
        train(recipe)
