import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_pathreason.errors import ModelError
from napari_pathreason.models import FixedAllocator, LoadedModels, load_models, load_performer
from napari_pathreason.types import Allocation, GenerationSettings, Prompt, Query


def test_a_folder_loads_with_its_info(checkpoint, family):
    models = load_models(checkpoint, "cpu")
    assert isinstance(models, LoadedModels)
    info = models.performer.info
    assert (info.name, info.family, info.device) == (family, family, "cpu")
    assert info.box_space == {"qwen3_vl": "relative", "qwen2_5_vl": "resized"}[family]
    assert info.dims.vision_gated is (family == "qwen2_5_vl")
    assert info.metadata is None
    assert models.allocator == FixedAllocator()
    config = load_performer(checkpoint).model.config
    assert info.dims.vocabulary == config.text_config.vocab_size
    assert info.dims.head_dim * info.dims.text_heads == info.dims.text_hidden


def test_dims_agree_with_the_weights(checkpoint):
    performer = load_performer(checkpoint, "cpu")
    dims, layer = performer.info.dims, performer.model.model.language_model.layers[0]
    assert layer.self_attn.q_proj.weight.shape == (
        dims.text_heads * dims.head_dim,
        dims.text_hidden,
    )
    assert layer.self_attn.k_proj.weight.shape[0] == dims.text_kv_heads * dims.head_dim
    assert layer.mlp.gate_proj.weight.shape == (dims.text_mlp, dims.text_hidden)
    block = performer.model.model.visual.blocks[0]
    assert hasattr(block.mlp, "gate_proj") is dims.vision_gated
    assert sum(p.numel() for p in performer.model.parameters()) < 1_000_000


@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"]
)
def test_a_half_downloaded_model_says_what_is_missing(copy, file):
    (copy / file).unlink()
    with pytest.raises(ModelError, match="fetch the whole model") as caught:
        load_models(copy, "cpu")
    assert str(copy) not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_damaged_json_file_is_named(copy, file):
    (copy / file).write_text((copy / file).read_text()[:-40])
    with pytest.raises(ModelError, match="fetch"):
        load_models(copy, "cpu")


def test_a_config_without_its_sizes_is_named(copy):
    config = json.loads((copy / "config.json").read_text())
    del config["vision_config"]["patch_size"]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="patch_size"):
        load_models(copy, "cpu")


@pytest.mark.parametrize("keep", [100, 4, 0, -1000])
def test_cut_off_weights_are_named(copy, keep):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(ModelError, match="cut off or damaged; fetch it again"):
        load_models(copy, "cpu")


def test_weights_that_are_not_safetensors_are_named(copy):
    (copy / "model.safetensors").write_bytes(b"\xff" * 4096)
    with pytest.raises(ModelError, match="damaged"):
        load_models(copy, "cpu")


def test_missing_weights_are_not_replaced_by_random_ones(copy):
    weights = load_file(copy / "model.safetensors")
    gone = next(name for name in weights if "mlp" in name)
    del weights[gone]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="do not fit its config"):
        load_models(copy, "cpu")


def test_weights_of_another_size_are_named(copy):
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["intermediate_size"] += 8
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="do not fit its config"):
        load_models(copy, "cpu")


def test_shards_load_and_a_missing_one_is_named(copy):
    weights = load_file(copy / "model.safetensors")
    whole = load_performer(copy, "cpu").model.state_dict()
    (copy / "model.safetensors").unlink()
    places = {name: f"model-{1 + i % 2:05}-of-00002.safetensors" for i, name in enumerate(weights)}
    for shard in set(places.values()):
        part = {name: weights[name] for name in weights if places[name] == shard}
        save_file(part, copy / shard, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    again = load_performer(copy, "cpu").model.state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)

    (copy / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match="lacks 1 of 2 weight files"):
        load_models(copy, "cpu")


def test_another_family_is_named(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "llava"}))
    with pytest.raises(ModelError, match="family 'llava'; serve it with vLLM"):
        load_models(copy, "cpu")


def test_a_template_that_takes_no_picture_is_named(copy):
    (copy / "chat_template.jinja").write_text("{{ messages[0].role }}")
    with pytest.raises(ModelError, match="takes no picture"):
        load_models(copy, "cpu")


def test_an_older_checkpoints_template_file_wins(copy):
    template = (copy / "chat_template.jinja").read_text()
    (copy / "chat_template.jinja").write_text("{{ messages[0].role }}")
    (copy / "chat_template.json").write_text(json.dumps({"chat_template": "OLD" + template}))
    tokenizer = load_performer(copy, "cpu").tokenizer
    text = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert text.startswith("OLD<|im_start|>user")


@pytest.mark.parametrize("stop", ["</s>", -1, 10**9, [1, None, "x"], 1.5, True])
def test_a_token_that_ends_no_answer_is_named(copy, stop):
    values = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps({**values, "eos_token_id": stop}))
    with pytest.raises(ModelError, match="eos_token_id of the model copy"):
        load_models(copy, "cpu")


def test_a_strange_tokenizer_is_named(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "image_token_id": 3}))
    with pytest.raises(ModelError, match="is not its own"):
        load_models(copy, "cpu")


def test_normalisation_comes_from_the_checkpoint(copy):
    path = copy / "preprocessor_config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "image_mean": [0.1, 0.2, 0.3]}))
    assert load_performer(copy, "cpu").normalisation.mean == (0.1, 0.2, 0.3)
    # transformers 5 keeps it inside the processor's file
    (copy / "processor_config.json").write_text(json.dumps({"image_processor": values}))
    path.unlink()
    assert load_performer(copy, "cpu").normalisation.mean == (0.5, 0.5, 0.5)


def test_loading_writes_nothing_and_keeps_the_callers_logging(checkpoints, capfd):
    from transformers.utils import logging

    logging.set_verbosity_info()
    try:
        load_models(checkpoints["qwen3_vl"], "cpu")
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity_warning()
    out, err = capfd.readouterr()
    assert (out, [line for line in err.splitlines() if "Loading" in line]) == ("", [])


def test_the_fixed_allocator_says_so():
    allocator = FixedAllocator(16)
    assert allocator.overview_budget == 0
    allocation = allocator.allocate(None, Query("vqa", "?"), 64, "low")
    assert allocation == Allocation(16, "fixed", 0, None)


def test_a_query_is_answered_by_what_was_loaded(checkpoint):
    performer = load_models(checkpoint, "cpu").performer
    token_px = performer.info.dims.token_px
    pixels = np.zeros((token_px, token_px, 3), np.uint8)
    prompt = Prompt((pixels,), [{"role": "user", "content": [{"type": "image"}]}])
    items = list(performer.generate(prompt, GenerationSettings(3), threading.Event()))
    assert items[-1].visual_tokens == 1


def test_importing_the_room_loads_no_torch():
    code = (
        "import sys, napari_pathreason.models as m; "
        "m.FixedAllocator, m.load_models; "
        "bad = {'torch', 'transformers', 'safetensors', 'huggingface_hub'} & set(sys.modules); "
        "assert not bad, bad; "
        "m.build_inputs, m.VLMPerformer; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
