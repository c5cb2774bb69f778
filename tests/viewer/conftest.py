from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from napari_pathreason.exports import UsedModel
from napari_pathreason.geometry import Box, Region
from napari_pathreason.slide_run import FORMAT, Identity, RunPlan, RunSettings, lay_tiles
from napari_pathreason.types import (
    Allocation,
    Answer,
    Detection,
    ModelDims,
    ModelInfo,
    Query,
    Reliability,
    Result,
    SlideInfo,
    TokenReport,
)

RELIABLE = Reliability("reliable")


@pytest.fixture(autouse=True)
def _own_config(config_folder: Path) -> None:
    """Answers of a session are kept beside the settings: no test writes to the user's."""


@pytest.fixture
def make_result() -> Callable[..., Result]:
    """A detection result with the given region and boxes."""

    def make(
        region: Region,
        *boxes: Box,
        label: str = "tumour",
        reliability: Reliability = RELIABLE,
    ) -> Result:
        return Result(
            query=Query("detection", "", (label,)),
            region=region,
            slide=SlideInfo("coded", 400, 300),
            model=ModelInfo("fake", "qwen3_vl", "relative", ModelDims(*[1] * 12)),
            allocation=Allocation(64, "user"),
            answer=Answer("", f"{len(boxes)} {label}"),
            detections=tuple(Detection(label, box) for box in boxes),
            tokens=TokenReport(2, 64, 60, 1024, 1024, 240, 20, 10, 1.0, 2.0, 2.0),
            picture_size=(256, 256),
            level=0,
            pixels_decoded=100,
            reliability=reliability,
        )

    return make


DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)


def _plan(width: int, height: int, side: int, **settings: Any) -> RunPlan:
    slide = SlideInfo("slide", width, height, (0.5, 0.5), "file")
    model = ModelInfo("model", "qwen3_vl", "relative", DIMS)
    wanted = RunSettings(mpp=0.5, tile=side, **settings)
    tiles = tuple(
        replace(tile, tissue=0.01 if tile.index % 3 == 2 else 0.9)
        for tile in lay_tiles(width, height, (side, side), wanted.overlap)
    )
    identity = Identity(slide, "", wanted, "")
    used = UsedModel("model", "", "cpu", "")
    return RunPlan(FORMAT, "", "", identity, used, model, {}, 1, 0, tiles)


@pytest.fixture
def make_plan() -> Callable[..., RunPlan]:
    """RunPlan of a slide of (width, height) in tiles of a side; every third tile is glass."""
    return _plan


@pytest.fixture
def plan() -> RunPlan:
    """5 x 4 tiles of at most 64 visual tokens."""
    return _plan(1000, 800, 256)
