import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.support import make_tiny_checkpoint

FAMILIES = ("qwen3_vl", "qwen2_5_vl")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tiny checkpoint of each family, shared by all tests; nobody writes into them."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {family: make_tiny_checkpoint(folder / family, family) for family in FAMILIES}  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def talkative(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose greedy answer never ends: its end-of-turn token has logit 0."""
    folder = tmp_path_factory.mktemp("talkative") / "talkative"
    shutil.copytree(checkpoints["qwen3_vl"], folder)
    weights = load_file(folder / "model.safetensors")
    stop = json.loads((folder / "config.json").read_text())["text_config"]["eos_token_id"]
    (embedding,) = (name for name in weights if name.endswith("language_model.embed_tokens.weight"))
    weights[embedding][stop] = 0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def checkpoint(checkpoints: dict[str, Path], family: str) -> Path:
    return checkpoints[family]


@pytest.fixture
def copy(checkpoints, tmp_path) -> Path:
    """A whole checkpoint that a test may spoil."""
    return Path(shutil.copytree(checkpoints["qwen3_vl"], tmp_path / "copy"))
