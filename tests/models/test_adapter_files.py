"""Adapters as peft writes them: of older transformers, damaged, and of other kinds."""

import json
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_pathreason.errors import ModelError
from napari_pathreason.models import load_performer, write_merged
from napari_pathreason.training.model import LEARNING, start_lora
from napari_pathreason.training.recipe import LoraRecipe

OLDER = {
    "model.language_model.": "model.",
    "model.visual.": "visual.",
}
"""Names of now by those before transformers 4.52, of Qwen's families."""
OLDEST = {"model.language_model.": "language_model.model.", "model.visual.": "visual."}
"""The same, of families that wrapped a whole language model."""


@pytest.fixture(scope="module")
def adapter(checkpoints, tmp_path_factory):
    """An adapter on both parts of the tiny model, as peft writes it beside its base."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3VLForConditionalGeneration

    folder = tmp_path_factory.mktemp("adapters")
    shutil.copytree(checkpoints["qwen3_vl"], folder / "base")
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder / "base")
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "qkv"]))
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(folder / "new")
    change(folder / "new", base_model_name_or_path="../base")
    return folder / "new"


@pytest.fixture
def spoilt(adapter, tmp_path):
    """One that a test may change."""
    shutil.copytree(adapter.parent, tmp_path / "all")
    return tmp_path / "all/new"


def change(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rename(folder, names):
    """Give the matrices of an adapter other names."""
    path = folder / "adapter_model.safetensors"
    renamed = {}
    for key, value in load_file(path).items():
        key = key.removeprefix("base_model.model.")
        now = next((now for now in names if key.startswith(now)), "")
        renamed["base_model.model." + names.get(now, "") + key.removeprefix(now)] = value
    save_file(renamed, path)


def weights(folder):
    return load_performer(folder, "cpu").model.state_dict()


@pytest.mark.parametrize("names", [OLDER, OLDEST])
def test_names_of_older_transformers_give_the_same_model(adapter, spoilt, names, tmp_path):
    plain = weights(adapter.parent / "base")
    expected = weights(adapter)
    assert any(not torch.equal(plain[name], expected[name]) for name in plain)
    rename(spoilt, names)
    assert load_file(spoilt / "adapter_model.safetensors").keys() != (
        load_file(adapter / "adapter_model.safetensors").keys()
    )
    found = weights(spoilt)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    merged = weights(write_merged(spoilt, tmp_path / "merged"))
    assert all(torch.allclose(merged[name], expected[name]) for name in expected)


def test_training_goes_on_from_names_of_older_transformers(adapter, spoilt):
    rename(spoilt, OLDER)
    change(spoilt, target_modules=["model.layers.0.self_attn.q_proj", "q_proj", "qkv"])
    trained, again = (
        {
            n: p
            for n, p in start_lora(str(f), LoraRecipe(), 0)[0].named_parameters()
            if LEARNING in n
        }
        for f in (adapter, spoilt)
    )
    assert trained.keys() == again.keys()
    assert trained
    assert all(torch.equal(trained[name], again[name]) for name in trained)


def test_matrices_that_no_module_takes_are_an_error(spoilt):
    rename(spoilt, {"model.visual.": "model.vision_model."})
    for load in (load_performer, lambda folder: start_lora(str(folder), LoraRecipe(), 0)):
        with pytest.raises(ModelError, match="does not fit its base"):
            load(spoilt)


def test_one_matrix_too_many_is_counted(adapter, spoilt):
    path = spoilt / "adapter_model.safetensors"
    matrices = load_file(path)
    extra = "base_model.model.model.language_model.layers.7.self_attn.q_proj.lora_A.weight"
    save_file(matrices | {extra: torch.ones(2, 64)}, path)
    with pytest.raises(ModelError, match=f"takes 1 of its {len(matrices) + 1} matrices"):
        load_performer(spoilt, "cpu")


def test_one_matrix_too_few_is_counted(spoilt):
    path = spoilt / "adapter_model.safetensors"
    matrices = load_file(path)
    matrices.popitem()
    save_file(matrices, path)
    with pytest.raises(ModelError, match="1 matrices are missing"):
        load_performer(spoilt, "cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(spoilt, value):
    path = spoilt / "adapter_model.safetensors"
    matrices = load_file(path)
    next(iter(matrices.values()))[0, 0] = value
    save_file(matrices, path)
    with pytest.raises(ModelError, match="values that are no numbers"):
        load_performer(spoilt, "cpu")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"peft_type": "IA3"}, "of the kind 'IA3'"),
        ({"peft_type": None}, "of the kind 'None'"),
        ({"r": 0}, "r in adapter_config.json"),
        ({"r": 2**40}, "r in adapter_config.json"),
        ({"rank_pattern": {"q_proj": 2**40}}, "r in adapter_config.json"),
        ({"lora_alpha": float("nan")}, "lora_alpha in adapter_config.json"),
        ({"lora_alpha": "8"}, "lora_alpha in adapter_config.json"),
        ({"alpha_pattern": [1]}, "is damaged"),
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "needs megatron_config"),
        ({"layer_replication": [[0, 10**9]]}, "needs layer_replication"),
        ({"r": 3}, "does not fit its base"),
        ({"target_modules": 3}, "does not fit its base"),
        ({"target_modules": ["nothing"]}, "does not fit its base"),
    ],
)
def test_configs_that_are_not_plain_lora(spoilt, values, says):
    change(spoilt, **values)
    with pytest.raises(ModelError) as caught:
        load_performer(spoilt, "cpu")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_matrices(spoilt):
    (spoilt / "adapter_model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="cut off or damaged"):
        load_performer(spoilt, "cpu")


SLOW = r"(([a-z._0-9])+)+!"
"""A pattern for which `re` would look for years."""


@pytest.mark.parametrize(
    "values",
    [
        {"target_modules": SLOW},
        {"target_modules": "(("},
        {"layers_to_transform": [0], "layers_pattern": SLOW},
        {"modules_to_save": [SLOW]},
    ],
)
def test_patterns_that_find_nothing(spoilt, values):
    change(spoilt, **values)
    began = time.monotonic()
    with pytest.raises(ModelError):
        load_performer(spoilt, "cpu")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "values",
    [
        {"target_modules": r".*\.(q_proj|qkv)"},
        {"exclude_modules": SLOW},
        {"rank_pattern": {SLOW: 3}},
        {"alpha_pattern": {SLOW: 3}},
        {"rank_pattern": {r"^model\.language_model.*q_proj": 2}, "r": 2},
    ],
)
def test_patterns_mean_what_they_mean_to_peft(adapter, spoilt, values):
    change(spoilt, **values)
    found, expected = weights(spoilt), weights(adapter)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_pattern_of_alphas_is_applied(adapter, spoilt):
    change(spoilt, alpha_pattern={r".*language_model.*q_proj$": 64})
    found, expected, plain = weights(spoilt), weights(adapter), weights(adapter.parent / "base")
    for name, whole in expected.items():
        times = 8 if name.endswith("q_proj.weight") else 1
        added = times * (whole - plain[name])
        torch.testing.assert_close(found[name] - plain[name], added, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "key", ["alora_invocation_tokens", "use_qalora", "kasa_config", "arrow_config"]
)
def test_sums_that_are_not_those_of_lora(spoilt, key):
    change(spoilt, **{key: [1]})
    with pytest.raises(ModelError, match=f"needs {key}, which is not served"):
        load_performer(spoilt, "cpu")


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64, torch.float8_e4m3fn])
def test_matrices_that_are_no_plain_numbers(spoilt, kind):
    path = spoilt / "adapter_model.safetensors"
    save_file({name: value.to(kind) for name, value in load_file(path).items()}, path)
    with pytest.raises(ModelError, match="says nothing of how it was packed"):
        load_performer(spoilt, "cpu")


def test_a_base_whose_name_is_longer_than_any_file(spoilt):
    change(spoilt, base_model_name_or_path="a" * 5000)
    with pytest.raises(ModelError, match="there is no model") as caught:
        load_performer(spoilt, "cpu")
    assert len(str(caught.value)) < 300


def test_an_adapter_on_an_adapter_says_what_to_do(spoilt):
    shutil.copytree(spoilt, spoilt.parent / "first")
    change(spoilt, base_model_name_or_path="../first")
    with pytest.raises(ModelError, match="'first' of the adapter new is an adapter itself; merge"):
        load_performer(spoilt, "cpu")
