from __future__ import annotations

from collections.abc import Callable

import pytest

from napari_pathreason._geometry import Box, Region
from napari_pathreason._types import (
    Allocation,
    Answer,
    Detection,
    ModelDims,
    ModelInfo,
    Query,
    Result,
    SlideInfo,
    TokenReport,
)


@pytest.fixture
def make_result() -> Callable[..., Result]:
    """A detection result with the given region and boxes."""

    def make(region: Region, *boxes: Box, label: str = "tumour") -> Result:
        return Result(
            query=Query("detection", "", (label,)),
            region=region,
            slide=SlideInfo("coded", 400, 300),
            model=ModelInfo("fake", "qwen3_vl", "relative", ModelDims(*[1] * 12)),
            allocation=Allocation(64, "user"),
            answer=Answer("", f"{len(boxes)} {label}"),
            detections=tuple(Detection(label, box) for box in boxes),
            tokens=TokenReport(2, 64, 60, 1024, 240, 20, 10, 1.0, 2.0),
            picture_size=(256, 256),
            level=0,
            pixels_decoded=100,
        )

    return make
