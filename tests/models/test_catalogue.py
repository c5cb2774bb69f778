"""What may be fetched, and what lies in the hub's cache, without asking a network."""

import shutil
import socket

import pytest

from napari_pathreason.models import FAMILIES, LISTED, cached_models


@pytest.fixture
def cache(checkpoints, tmp_path):
    """A cache as the hub's library lays it out: two models, one half fetched, one of text alone."""
    for hub_id, family in {"lab/one": "qwen3_vl", "lab/two--b": "qwen2_5_vl"}.items():
        folder = tmp_path / f"models--{hub_id.replace('/', '--')}"
        shutil.copytree(checkpoints[family], folder / "snapshots" / "abc")
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("abc")
    half = tmp_path / "models--lab--half" / "snapshots" / "abc"
    shutil.copytree(checkpoints["qwen3_vl"], half)
    (half / "model.safetensors").unlink()
    text = tmp_path / "models--lab--text" / "snapshots" / "abc"
    text.mkdir(parents=True)
    (text / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "models--lab--empty").mkdir()
    (tmp_path / "datasets--lab--slides").mkdir()
    return tmp_path


def test_whole_models_of_the_cache_are_found_without_a_network(cache, checkpoints, monkeypatch):
    monkeypatch.setattr(socket, "socket", pytest.fail)
    one, two = cached_models(cache)
    assert (one.hub_id, one.family.model_type) == ("lab/one", "qwen3_vl")
    assert (two.hub_id, two.family.model_type) == ("lab/two--b", "qwen2_5_vl")
    assert one.size == (checkpoints["qwen3_vl"] / "model.safetensors").stat().st_size
    assert one.folder == cache / "models--lab--one" / "snapshots" / "abc"


def test_the_snapshot_that_was_fetched_last_is_taken(cache):
    folder = cache / "models--lab--one"
    shutil.copytree(folder / "snapshots" / "abc", folder / "snapshots" / "def")
    (folder / "refs" / "main").write_text("def")
    assert cached_models(cache)[0].folder.name == "def"
    (folder / "refs" / "main").unlink()
    assert cached_models(cache)[0].folder.name in ("abc", "def")


def test_there_may_be_no_cache(tmp_path):
    assert cached_models(tmp_path / "none") == []


def test_each_listed_model_is_of_a_family_that_loads_and_tells_what_it_takes():
    assert len({model.hub_id for model in LISTED}) == len(LISTED) > 10
    for model in LISTED:
        assert model.family in FAMILIES
        assert model.command == f"hf download {model.hub_id}"
        assert model.licence
        assert model.good_for
        assert 0 < model.gigabytes_packed < model.gigabytes
