"""Where a model is found, and on what it then runs."""

import shutil

import pytest
import torch
from huggingface_hub import constants

from napari_pathreason.errors import ModelError, OutOfMemoryError
from napari_pathreason.models import choose_dtype, load_models, resolve_device


@pytest.mark.parametrize("model_id", ["nothing", "/no/such/folder", "a b/c", ""])
def test_an_unknown_model_is_named_with_what_could_be_given(model_id, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="give embedded, a folder that exists, or a hub id"):
        load_models(model_id)


def test_a_file_is_not_a_model(copy):
    with pytest.raises(ModelError, match="give the folder that holds it"):
        load_models(copy / "model.safetensors")


def test_a_missing_embedded_model_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("napari_pathreason.models._checkpoint.EMBEDDED", tmp_path / "none")
    with pytest.raises(ModelError, match="no embedded model; install a released wheel"):
        load_models()


def test_the_embedded_model_is_found_beside_the_code(monkeypatch, copy):
    monkeypatch.setattr("napari_pathreason.models._checkpoint.EMBEDDED", copy)
    assert load_models(device="cpu").performer.info.name == "embedded"


def test_offline_and_not_cached_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="not in the cache and offline is set"):
        load_models("somebody/something")


def test_offline_and_cached_loads(monkeypatch, tmp_path, checkpoints):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repo = tmp_path / "models--somebody--something"
    shutil.copytree(checkpoints["qwen3_vl"], repo / "snapshots" / "abc123")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert load_models("somebody/something", "cpu").performer.info.name == "somebody/something"


def test_devices_that_are_not_there_are_named(checkpoints, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:3"):
        with pytest.raises(ModelError, match=f"'{device}' is not there.*auto or cpu"):
            load_models(checkpoints["qwen3_vl"], device)
    for device in ("gpu", "meta", ""):
        with pytest.raises(ModelError, match="is not understood; give auto"):
            load_models(checkpoints["qwen3_vl"], device)


def test_auto_takes_the_best_device_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"


def test_precision_follows_device_and_size(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    cuda = torch.device("cuda")
    assert choose_dtype(torch.device("cpu"), 1 << 40) is torch.float32
    assert choose_dtype(cuda, 1 << 20) is torch.float32
    assert choose_dtype(cuda, 1 << 34) is torch.bfloat16
    assert choose_dtype(torch.device("mps"), 1 << 34) is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert choose_dtype(cuda, 1 << 34) is torch.float16


def test_too_large_a_model_is_named(checkpoints, monkeypatch):
    def fail(*args):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")

    monkeypatch.setattr("napari_pathreason.models._loading.load_weights", fail)
    with pytest.raises(OutOfMemoryError, match="choose a smaller model"):
        load_models(checkpoints["qwen3_vl"], "cpu")
