"""Results as the engine gives them, made by hand."""

import pytest

from napari_pathreason.exports import new_run
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import (
    Allocation,
    Answer,
    Detection,
    GenerationSettings,
    ModelDims,
    ModelInfo,
    Query,
    Reliability,
    Result,
    SlideInfo,
    TokenReport,
)

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)


def result_with(*detections, mpp=(0.5, 0.25), **changes):
    """A detection result; boxes as (label, x, y, w, h)."""
    values = {
        "query": Query("detection", "Where is it?", ("tumour",)),
        "region": Region(100, 200, 1000, 800),
        "slide": SlideInfo("a.svs", 5000, 4000, mpp, "file" if mpp else "unknown"),
        "model": ModelInfo("finder", "qwen3_vl", "relative", DIMS),
        "allocation": Allocation(64, "fixed"),
        "answer": Answer("one dark spot", f"{len(detections)} found"),
        "detections": tuple(Detection(label, Box(*box)) for label, *box in detections),
        "tokens": TokenReport(2, 64, 60, 1024, 1024, 240, 20, 10, 1.0, 2.0, 2.0),
        "picture_size": (256, 224),
        "level": 1,
        "pixels_decoded": 1000,
        "seconds": {"read": 0.1},
        "settings": GenerationSettings(seed=3),
        "reliability": Reliability("reliable"),
    }
    return Result(**{**values, **changes})


@pytest.fixture(scope="session")
def make_result():
    return result_with


@pytest.fixture(scope="session")
def run():
    return new_run()
