"""What a model takes is known from headers alone, and what cannot fit is refused with numbers."""

import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import save_file

from napari_pathreason.errors import ModelError, OutOfMemoryError
from napari_pathreason.models import (
    check_memory,
    load_performer,
    resolve_precision,
    weight_bytes,
)

GB = 10**9


@pytest.fixture
def shard(tmp_path):
    file = tmp_path / "model.safetensors"
    tensors = {
        "model.embed_tokens.weight": torch.zeros(100, 64, dtype=torch.bfloat16),
        "model.layers.0.mlp.weight": torch.zeros(128, 64, dtype=torch.bfloat16),
        "model.norm.weight": torch.zeros(64, dtype=torch.float32),
        "model.index": torch.zeros(7, dtype=torch.int64),
    }
    save_file(tensors, file, {"format": "pt"})
    return file


def test_the_header_says_what_the_weights_take(shard):
    numbers = 100 * 64 + 128 * 64 + 64
    assert weight_bytes([shard], "float32") == 4 * numbers + 7 * 8
    assert weight_bytes([shard, shard], "bfloat16") == 2 * (2 * numbers + 7 * 8)
    packed = 128 * 64 // 2 + 128 * 64 // 64 * 4  # a scale of four bytes for 64 numbers
    assert weight_bytes([shard], "4bit") == packed + 2 * (100 * 64 + 64) + 7 * 8


def test_it_is_what_the_loaded_model_takes(checkpoint):
    model = load_performer(checkpoint, "cpu").model
    taken = sum(one.numel() * one.element_size() for one in model.parameters())
    assert weight_bytes([checkpoint / "model.safetensors"], "float32") == taken


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\xff" * 64, (5).to_bytes(8, "little") + b"[1]"])
def test_a_damaged_header_is_named(tmp_path, data):
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.safetensors of the model mine is cut off"):
        weight_bytes([file], "float32", "mine")


@given(needed=st.integers(1, 10**12), free=st.integers(0, 10**12))
def test_a_model_is_refused_exactly_where_it_cannot_fit(needed, free):
    if needed * 1.1 > free:
        with pytest.raises(OutOfMemoryError):
            check_memory("m", needed, free, "cuda", "bfloat16", needed // 4)
    else:
        check_memory("m", needed, free, "cuda", "bfloat16", needed // 4)


@pytest.mark.parametrize(
    ("precision", "device", "free", "told"),
    [
        (
            "bfloat16",
            "cuda",
            12,
            ["17.6 GB as bfloat16", "12.0 GB are free on cuda", "4bit, about 5.5"],
        ),
        ("bfloat16", "cuda", 4, ["smaller model"]),
        ("float32", "cpu", 12, ["--dtype bfloat16", "8.8 GB"]),
        ("4bit", "cuda", 12, ["smaller model, or one on a server"]),
    ],
)
def test_the_refusal_names_numbers_and_a_remedy(precision, device, free, told):
    with pytest.raises(OutOfMemoryError) as caught:
        check_memory("lab/m", 16 * GB, free * GB, device, precision, 5 * GB)
    for words in told:
        assert words in str(caught.value)


def test_a_model_that_cannot_fit_is_refused_before_it_is_loaded(checkpoint, monkeypatch):
    monkeypatch.setattr("napari_pathreason.models._loading.free_memory", lambda device: 1000)
    monkeypatch.setattr("napari_pathreason.models._loading.load_weights", pytest.fail)
    with pytest.raises(OutOfMemoryError, match="GB are free on cpu"):
        load_performer(checkpoint, "cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_weights_are_loaded_as_is_asked(checkpoint, precision):
    performer = load_performer(checkpoint, "cpu", precision=precision)
    assert performer.info.precision == precision
    assert performer.model.dtype is getattr(torch, precision)


def test_alone_small_weights_stay_exact(checkpoint):
    assert load_performer(checkpoint, "cpu").info.precision == "float32"
    dtype, name = resolve_precision("auto", torch.device("cuda", 0), 1 << 20)
    assert (dtype, name) == (torch.float32, "float32")


def test_four_bits_are_refused_where_they_cannot_be_had(monkeypatch):
    with pytest.raises(ModelError, match="need a CUDA device"):
        resolve_precision("4bit", torch.device("cpu"), 0)
    monkeypatch.setattr("napari_pathreason.models._runtime.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install 'napari-pathreason\\[4bit\\]'"):
        resolve_precision("4bit", torch.device("cuda"), 0)
    with pytest.raises(ModelError, match="not understood"):
        resolve_precision("8bit", torch.device("cpu"), 0)  # type: ignore[arg-type]
