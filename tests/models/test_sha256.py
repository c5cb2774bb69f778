"""A model is known by everything that can change its answers, wherever it lies."""

import json
import shutil

import pytest

from napari_pathreason.errors import ModelError
from napari_pathreason.models import checkpoint_sha256

WHOLE = (
    "model.safetensors",
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "merges.txt",
    "chat_template.jinja",
)
BESIDE = (
    "pathreason.json",
    "calibration.json",
    "ood.safetensors",
    "allocator.json",
    "allocator.safetensors",
    "windows_allocator.json",
    "windows_allocator.safetensors",
    "allocator/adapter_model.safetensors",
)


def write(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f'{{"of": "{name}"}}')
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "model", (*WHOLE, *BESIDE, "README.md", "run.json"))


@pytest.mark.parametrize("name", [*WHOLE, *BESIDE])
def test_every_file_that_can_change_an_answer_counts(folder, name):
    before = [checkpoint_sha256(folder, "m", performer_alone=alone) for alone in (False, True)]
    (folder / name).write_text('{"of": "another"}')
    after = [checkpoint_sha256(folder, "m", performer_alone=alone) for alone in (False, True)]
    assert after[0] != before[0]
    assert (after[1] != before[1]) == (name in WHOLE)
    (folder / name).unlink()
    assert checkpoint_sha256(folder, "m") not in (before[0], after[0])


def test_neither_place_nor_notes_count(folder, tmp_path):
    before = checkpoint_sha256(folder, "m")
    (folder / "README.md").write_text("another")
    (folder / "run.json").write_text("{}")
    assert checkpoint_sha256(shutil.copytree(folder, tmp_path / "copy"), "other") == before


@pytest.fixture
def adapter(folder, tmp_path):
    made = write(tmp_path / "adapter", ("adapter_model.safetensors",))
    base = {"base_model_name_or_path": "../model", "r": 16}
    (made / "adapter_config.json").write_text(json.dumps(base))
    return made


def test_the_base_of_an_adapter_counts_but_not_its_place(adapter, folder, tmp_path):
    before = checkpoint_sha256(adapter, "m")
    moved = folder.rename(tmp_path / "moved")
    config = {"r": 16, "base_model_name_or_path": str(moved)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert checkpoint_sha256(adapter, "m") == before
    (moved / "allocator.json").write_text("{}")  # of the base's own answers
    assert checkpoint_sha256(adapter, "m") == before
    (moved / "model.safetensors").write_text("another")
    assert checkpoint_sha256(adapter, "m") != before
    shutil.rmtree(moved)
    with pytest.raises(ModelError, match="moved"):
        checkpoint_sha256(adapter, "m")


def test_settings_of_an_adapter_count(adapter):
    before = checkpoint_sha256(adapter, "m")
    config = {"base_model_name_or_path": "../model", "r": 8}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert checkpoint_sha256(adapter, "m") != before
