from pathlib import Path

import pytest

from napari_pathreason.models._tiny import make_tiny_checkpoint

FAMILIES = ("qwen3_vl", "qwen2_5_vl")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tiny checkpoint of each family, shared by all tests; nobody writes into them."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {family: make_tiny_checkpoint(folder / family, family) for family in FAMILIES}  # type: ignore[arg-type]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def checkpoint(checkpoints: dict[str, Path], family: str) -> Path:
    return checkpoints[family]
