"""Families that answer here and cannot be trained are refused before their weights are read."""

import pytest

from napari_pathreason.errors import ModelError
from napari_pathreason.training.model import start_lora
from napari_pathreason.training.recipe import LoraRecipe
from tests.support import make_other_checkpoint, make_tiny_checkpoint


@pytest.mark.parametrize("family", ["gemma3", "qwen3_5"])
def test_it_is_said_what_can_be_trained(tmp_path, monkeypatch, family):
    make = make_other_checkpoint if family == "gemma3" else make_tiny_checkpoint
    folder = make(tmp_path / family, family)
    monkeypatch.setattr("napari_pathreason.models.load_weights", pytest.fail)
    with pytest.raises(
        ModelError, match=r"cannot be trained; start from a Qwen3-VL or Qwen2\.5-VL"
    ):
        start_lora(str(folder), LoraRecipe(), 0)
