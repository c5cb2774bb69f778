"""A result as text for people, made by hand."""

from dataclasses import replace

import pytest

from napari_pathreason import Box, Region
from napari_pathreason.cli import describe
from napari_pathreason.types import (
    Allocation,
    Answer,
    Calibration,
    Detection,
    ModelDims,
    ModelInfo,
    Query,
    Reliability,
    Result,
    SlideInfo,
    TokenReport,
)

MODEL = ModelInfo("by hand", "qwen3_vl", "relative", ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 9))


@pytest.fixture
def result():
    return Result(
        query=Query("detection", options=("spot",)),
        region=Region(0, 0, 320, 320),
        slide=SlideInfo("slide.svs", 640, 480, (0.5, 0.5), "file"),
        model=MODEL,
        allocation=Allocation(64, "fixed"),
        answer=Answer("", "1 spot"),
        detections=(Detection("spot", Box(10, 20, 30, 40), 0.625),),
        tokens=TokenReport(0, 64, 64, 100, 100, 256, 80, 5, 1.0, 2.0, 2.0),
        picture_size=(256, 256),
        level=0,
        pixels_decoded=65_536,
        confidence=0.834,
        reliability=Reliability("reliable"),
    )


def lines(result):
    return [line.rstrip() for line in describe(result).splitlines()]


def test_confidence_stands_below_the_answer_and_behind_each_box(result):
    told = lines(result)
    assert "Confidence   0.83 (not calibrated)" in told
    assert told.index("Answer       1 spot") + 1 == told.index("Confidence   0.83 (not calibrated)")
    assert "Box          spot: 10 20 30 40 (confidence 0.62)" in told


def test_a_calibrated_model_needs_no_remark(result):
    told = lines(replace(result, model=replace(MODEL, calibration=Calibration())))
    assert "Confidence   0.83" in told


def test_where_it_is_not_told_nothing_is_said(result):
    plain = replace(result, confidence=None, detections=(Detection("spot", Box(10, 20, 30, 40)),))
    assert "onfidence" not in describe(plain)
    assert "Box          spot: 10 20 30 40" in lines(plain)
