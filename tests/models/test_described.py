"""What a model says of itself before it is loaded."""

import json
import shutil
import socket
import subprocess
import sys

import pytest
from huggingface_hub import constants

from napari_pathreason.errors import ModelError
from napari_pathreason.models import load_performer, read_model_info, write_metadata
from napari_pathreason.types import Metadata, Query, Topic

TOPIC = Topic("grade", "choice", frozenset({"grade"}), Query("vqa", "Which grade?", ("1", "2")))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_it_is_what_the_loaded_model_says(checkpoint):
    assert read_model_info(checkpoint) == load_performer(checkpoint, "cpu").info


def test_a_folder_tells_what_it_was_trained_on(copy):
    assert read_model_info(str(copy)).metadata is None
    write_metadata(copy, "kidney", Metadata((TOPIC,), max_visual_tokens=64))
    info = read_model_info(str(copy))
    assert (info.name, info.max_visual_tokens, info.metadata.topics) == ("kidney", 64, (TOPIC,))


@pytest.mark.parametrize("name", ["nothing", "/no/such/folder", "a b/c", "", "some/body", "a--b/c"])
def test_nothing_is_known_of_what_is_not_here(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert read_model_info(name) is None


def test_a_cached_hub_model_is_known(monkeypatch, tmp_path, checkpoints):
    repo = tmp_path / "models--somebody--something"
    shutil.copytree(checkpoints["qwen3_vl"], repo / "snapshots" / "abc123")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    info = read_model_info("somebody/something")
    assert (info.name, info.family) == ("somebody/something", "qwen3_vl")


def test_an_adapter_without_a_config_has_its_bases_dimensions_and_its_own_training(copy, tmp_path):
    write_metadata(copy, "base", Metadata((TOPIC,)))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    named = {"base_model_name_or_path": str(copy)}
    (adapter / "adapter_config.json").write_text(json.dumps(named))
    info = read_model_info(adapter)
    assert (info.name, info.metadata) == ("adapter", None)
    assert info.dims == read_model_info(copy).dims
    named = {"base_model_name_or_path": "somebody/elsewhere"}
    (adapter / "adapter_config.json").write_text(json.dumps(named))
    assert read_model_info(adapter) is None


def test_damage_is_named(copy):
    (copy / "pathreason.json").write_text("{")
    with pytest.raises(ModelError, match=r"pathreason.json of the model copy is damaged"):
        read_model_info(copy)
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match=r"lacks config.json; fetch the whole model"):
        read_model_info(copy)


def test_torch_is_not_loaded_for_it():
    code = (
        "import sys; from napari_pathreason.models import read_model_info;"
        "print(read_model_info('embedded') is None, read_model_info('some/body'),"
        "'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["None", "False", "False"]
