"""The index beside the weights names the model's own tensors, and those alone."""

import json

import pytest
from safetensors import safe_open

from napari_pathreason.errors import ModelError
from napari_pathreason.models import EMBEDDED, check_whole, read_index, weight_files, write_index
from tests.support import checkpoints

INDEX = "model.safetensors.index.json"


@pytest.mark.skipif(not EMBEDDED.is_dir(), reason="needs the embedded model")
def test_the_embedded_folder_has_the_index_of_its_weights():
    index = json.loads((EMBEDDED / INDEX).read_text())
    assert index == read_index(EMBEDDED)
    with safe_open(EMBEDDED / "model.safetensors", framework="numpy") as weights:
        assert set(index["weight_map"]) == set(weights.keys())
        size = sum(weights.get_tensor(name).nbytes for name in weights.keys())
    assert index["metadata"]["total_size"] == size
    assert set(index["weight_map"].values()) == {"model.safetensors"}
    assert [file.name for file in weight_files(EMBEDDED, "embedded")] == ["model.safetensors"]


def test_a_checkpoint_that_is_saved_has_its_index(tmp_path, blank_checkpoint):
    from napari_pathreason.training.model import save_checkpoint

    model, tokenizer = blank_checkpoint
    save_checkpoint(tmp_path, model, tokenizer, "small")
    index = json.loads((tmp_path / INDEX).read_text())
    assert index == read_index(tmp_path)
    assert index["weight_map"]
    assert check_whole(tmp_path, "small") == (tmp_path / "model.safetensors").stat().st_size


@pytest.fixture
def blank_checkpoint():
    from transformers import AutoModelForImageTextToText

    tokenizer = checkpoints.byte_tokenizer()
    model = AutoModelForImageTextToText.from_config(checkpoints.tiny_config("qwen3_vl", tokenizer))
    return model, tokenizer


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, b"\x02" + b"\x00" * 7 + b"{]"])
def test_damaged_weights_are_one_line(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors of .* is damaged; fetch it again"):
        write_index(tmp_path)


def test_weights_in_shards_keep_their_index(tmp_path):
    (tmp_path / INDEX).write_text("{}")
    write_index(tmp_path)
    assert (tmp_path / INDEX).read_text() == "{}"
