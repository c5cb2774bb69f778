"""Slides whose pixels say where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import write_synthetic_slide

WIDTH, HEIGHT = 1500, 1100
ZOOMS = (1, 2.7, 6.3)


@pytest.fixture(scope="session")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 1500 x 1100 pyramid with levels at 1, 2.7 and 6.3, tiles of 128 px."""
    path = tmp_path_factory.mktemp("slides") / "coded.ome.tif"
    return write_synthetic_slide(path, WIDTH, HEIGHT, ZOOMS, tile=128)
