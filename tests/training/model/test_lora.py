"""Large checkpoints: both recipes run on tiny ones of their family; their adapters answer."""

import shutil
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file

from napari_pathreason.cli import main
from napari_pathreason.engine import Job, ask
from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.models import load_models, write_base, write_merged
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.training import load_recipe, read_samples
from napari_pathreason.training.bilateral import train_bilateral
from napari_pathreason.training.model import LEARNING, REFERENCE, start_lora
from napari_pathreason.training.performer import train_performer
from napari_pathreason.training.recipe import LoraRecipe, Recipe
from napari_pathreason.training.run import RunLog
from napari_pathreason.training.samples import Pictures
from napari_pathreason.training.sft import train_sft
from napari_pathreason.types import GenerationSettings, Request
from tests.support import make_tiny_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RECIPES = Path(__file__).parents[3] / "recipes"
SHIPPED = {"qwen2_5_vl": "paper-qwen2.5-vl-7b.yaml", "qwen3_vl": "qwen3-vl-2b.yaml"}
SIZES = {
    "sft": {
        "steps": 2,
        "batch": 2,
        "tokens": 128,
        "warmup": 1,
        "checkpoint_every": 2,
        "validate_every": 2,
        "validate_samples": 2,
    },
    "grpo": {
        "steps": 2,
        "num_generations": 3,
        "max_completion_length": 5,
        "batch_size": 2,
        "tokens": 128,
        "warmup": 1,
        "checkpoint_every": 2,
        "validate_every": 2,
        "validate_samples": 2,
    },
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {family: make_tiny_checkpoint(folder / family, family) for family in SHIPPED}


def _shrunk(family, bases, converted, out, **changes):
    """A shipped recipe with nothing but its places, sizes and steps changed."""
    values = load_recipe(RECIPES / SHIPPED[family]).model_dump()
    values["output"], values["data"]["folder"] = str(out), str(converted)
    values["model"]["start"] = str(bases[family])
    for part, sizes in SIZES.items():
        values[part] |= sizes | changes.get(part, {})
    values["lora"] |= changes.get("lora", {})
    return Recipe.model_validate(values)


@pytest.fixture(autouse=True)
def own_precision():
    """Accelerate keeps the first precision of a process, and other tests have another."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Drawing takes longer than the steps; the plain loops' tests look at the curves."""
    monkeypatch.setattr(RunLog, "draw", lambda *args: None)


def _answer(folder, converted):
    sample = read_samples(converted / "test.jsonl")[0]
    pictures = Pictures(converted)
    models = load_models(folder, "cpu")
    with slide_from_arrays([pictures.picture(sample)], "sample") as slide:
        job = Job(
            slide,
            Request(
                pictures.region(sample), sample.query, 16, GenerationSettings(max_new_tokens=6)
            ),
        )
        return ask(job, models.performer, models.allocator)


def _weights(folder):
    return load_file(folder / "adapter_model.safetensors")


@pytest.fixture
def started(monkeypatch):
    """Models that a run puts adapters on."""
    models = []

    def start(*args):
        models.append(start_lora(*args))
        return models[-1]

    monkeypatch.setattr("napari_pathreason.training.model.start_lora", start)
    return models


@pytest.mark.parametrize("family", SHIPPED)
@pytest.mark.slow
def test_a_shipped_recipe_trains_adapters_that_merge_load_and_answer(
    family, bases, converted, tmp_path, started, capsys, by_length
):
    rewards = {"rewards": (by_length,)}
    recipe = _shrunk(family, bases, converted, tmp_path / "run", grpo=rewards)
    adapted = train_sft(recipe)
    answered = train_performer(recipe)

    # every parameter that learns has moved, in both stages; what is frozen has not
    first, second = _weights(adapted), _weights(answered)
    assert first.keys() == second.keys()
    assert not [n for n in first if n.endswith("lora_B.weight") and not first[n].any()]
    assert not [n for n in first if torch.equal(first[n], second[n])]
    (trained, _) = started[-1]
    plain = {n.replace(".base_layer", ""): p for n, p in trained.named_parameters()}
    fresh, _ = start_lora(str(bases[family]), recipe.lora, 0)
    frozen = {
        n.replace(".base_layer", ""): p for n, p in fresh.named_parameters() if "lora" not in n
    }
    assert len(frozen) > 40
    assert all(torch.equal(plain[name], value) for name, value in frozen.items())
    kept = {n: p for n, p in plain.items() if f".{REFERENCE}." in n}
    assert len(kept) == len(first)
    for name, value in kept.items():
        saved = name.replace(f".{REFERENCE}.", ".")
        assert torch.equal(value, first[f"base_model.model.{saved}"])
    layers = {type(m) for n, m in trained.named_modules() if f"lora_A.{LEARNING}" in n}
    assert torch.nn.Linear in layers
    assert not [
        n
        for n, m in fresh.named_modules()
        if isinstance(m, torch.nn.Linear)
        and "lora" not in n
        and "base_layer" not in n
        and n != "lm_head"
    ]  # all linear layers, of vision encoder, merger and language model

    # a state of the run holds what learns alone
    state = answered.parent / "checkpoint"
    assert len(load_file(state / "adapters.safetensors")) == len(second)
    assert not list(state.glob("model*"))

    # the folder answers as it is, and merged the same
    alone = _answer(answered, converted)
    assert alone.model.name == "run"
    assert alone.model.box_space == "relative"
    assert alone.tokens.realised <= 16
    out = tmp_path / "merged"
    assert main(["merge", str(answered), "-o", str(out)]) == 0
    assert not list(out.glob("adapter*"))
    base, merged = (load_models(f, "cpu").performer.model for f in (bases[family], out))
    adapters = load_models(answered, "cpu").performer.model
    close = [
        torch.allclose(m, a, atol=2e-2)
        for m, a in zip(merged.parameters(), adapters.parameters(), strict=True)
    ]
    assert all(close)
    assert any(
        not torch.equal(m, b) for m, b in zip(merged.parameters(), base.parameters(), strict=True)
    )
    assert _answer(out, converted).model.name == "run"
    assert str(tmp_path) not in (answered / "adapter_config.json").read_text()
    assert main(["merge", str(answered), "-o", str(out)]) != 0
    assert "give a new one" in capsys.readouterr().err


def test_a_run_with_adapters_that_was_killed_equals_an_undisturbed_one(
    bases, converted, tmp_path, by_length
):

    def recipe(name, **changes):
        grpo = {"checkpoint_every": 1, "start": str(bases["qwen3_vl"])} | changes
        grpo |= {"rewards": (by_length,)}
        return _shrunk("qwen3_vl", bases, converted, tmp_path / name, grpo=grpo)

    whole = _weights(train_performer(recipe("whole")))
    train_performer(recipe("cut", stop_after=1))
    cut = _weights(train_performer(recipe("cut")))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_both_branches_in_turn_leave_one_folder_that_knows_its_base(
    bases, converted, tmp_path, monkeypatch, at_every_budget, by_length
):
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    recipe = _shrunk("qwen3_vl", bases, converted, tmp_path / "run", sft={"steps": 1})
    small = {"questions": 1, "validate_questions": 1, "steps": 2, "warm_steps": 1}
    parts = {
        "allocator": recipe.allocator.model_copy(update=small),
        "bilateral": recipe.bilateral.model_copy(update={"rounds": 1}),
        "grpo": recipe.grpo.model_copy(update={"steps": 1, "rewards": (by_length,)}),
    }
    folder = train_bilateral(recipe.model_copy(update=parts))
    models = load_models(folder, "cpu")
    assert models.allocator.overview_budget == 4
    assert torch.equal(
        models.performer.model.lm_head.weight,
        load_models(bases["qwen3_vl"], "cpu").performer.model.lm_head.weight,
    )


def test_an_adapter_as_peft_writes_it_loads_and_goes_on(bases, tmp_path, converted):
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3VLForConditionalGeneration

    base = bases["qwen3_vl"]
    model = Qwen3VLForConditionalGeneration.from_pretrained(base)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "qkv"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(parameter)
    foreign = tmp_path / "foreign"
    adapted.save_pretrained(foreign)  # no config, no tokenizer, the base by its whole path
    merged = load_models(foreign, "cpu").performer.model
    here, there = (m.model.visual.blocks[0].attn.qkv.weight for m in (merged, model))
    assert not torch.allclose(here, there)
    going_on, _ = start_lora(str(foreign), LoraRecipe(rank=7), 0)
    learning = [p for p in going_on.parameters() if p.requires_grad]
    assert len(learning) == len(_weights(foreign))
    assert {min(p.shape) for p in learning} == {2}


def test_what_is_wrong_with_an_adapter_is_named(bases, tmp_path, converted):
    recipe = _shrunk("qwen3_vl", bases, converted, tmp_path / "run", sft={"steps": 1})
    folder = train_sft(recipe)
    with pytest.raises(ModelError, match="no linear layer is called 'q_prj'"):
        start_lora(str(bases["qwen3_vl"]), LoraRecipe(targets=("q_prj",)), 0)
    with pytest.raises(ModelError, match="has no adapter to merge"):
        write_merged(bases["qwen3_vl"], tmp_path / "x")
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    weights = _weights(folder)
    weights.popitem()
    save_file(weights, other / "adapter_model.safetensors")
    write_base(other, str(bases["qwen3_vl"]))
    with pytest.raises(ModelError, match="does not fit its base"):
        load_models(other, "cpu")
    (other / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks adapter_model\.safetensors"):
        load_models(other, "cpu")
    write_base(other, "../gone")
    with pytest.raises(ModelError, match="the base model 'gone' of the adapter"):
        load_models(other, "cpu")


def test_a_recipe_with_lora_must_name_a_checkpoint(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("output: x\ndata: {folder: y}\nlora: {rank: 4}\n")
    with pytest.raises(QueryError, match=r"name it as model\.start"):
        load_recipe(path)


def test_the_papers_settings():
    recipe = load_recipe(RECIPES / SHIPPED["qwen2_5_vl"])
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.targets) == (16, 64, None)
    assert (recipe.sft.lr, recipe.grpo.lr) == (1e-4, 1e-5)
    assert (recipe.grpo.num_generations, recipe.grpo.beta) == (8, 0.001)
    assert (recipe.grpo.rewards, recipe.grpo.loss_type) == (("paper",), "grpo")
    assert recipe.grpo.format_weight == 1
    assert set(recipe.sft.budgets) == set(recipe.grpo.budgets) == {256}
