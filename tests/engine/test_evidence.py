"""Doubts that stand beside an answer."""

from dataclasses import replace

import numpy as np
import pytest
from napari_pathreason.engine._evidence import evidence_warnings

from napari_pathreason._geometry import Region
from napari_pathreason._types import ModelInfo, Query
from napari_pathreason.engine import Job, ask

from .conftest import DIMS

REGION = Region(0, 0, 896, 896)
GLASS, PINK = (243, 241, 244), (214, 130, 180)
MODEL = ModelInfo("m", "qwen3_vl", "relative", DIMS, mpp=(0.5, 2.0))
NO_TISSUE, NOT_SURE = "no tissue to speak of", "not sure of this answer"


def picture(share: float = 1.0, side: int = 224):
    pixels = np.full((side, side, 3), GLASS, np.uint8)
    pixels[: round(share * side)] = PINK
    return pixels


def warnings(pixels=None, mpp=(0.5, 0.5), model=MODEL, confidence=0.9):
    pixels = picture() if pixels is None else pixels
    return evidence_warnings(REGION, mpp, pixels, model, confidence)


@pytest.mark.parametrize(("share", "told"), [(0, True), (0.02, False), (1, False)])
def test_a_region_outside_tissue(share, told):
    assert any(NO_TISSUE in line for line in warnings(picture(share))) is told


def test_what_is_dark_all_over_counts_as_tissue():
    """As in fluorescence: only what is white has nothing on it."""
    assert warnings(np.zeros((224, 224, 3), np.uint8)) == []


@pytest.mark.parametrize(
    ("side", "mpp", "told"),
    [
        (224, 0.5, None),  # 2 um a pixel
        (64, 0.5, "coarser"),  # 7 um
        (448, 0.1, "finer"),  # 0.2 um
        (64, None, None),
    ],
)
def test_scales_that_the_model_was_not_trained_on(side, mpp, told):
    found = warnings(picture(side=side), None if mpp is None else (mpp, mpp))
    if told is None:
        assert found == []
    else:
        (line,) = found
        assert f"{told} than the training pictures (0.5 to 2 um per pixel)" in line


def test_a_model_that_names_no_scales_warns_of_none():
    assert warnings(picture(side=32), model=replace(MODEL, mpp=None)) == []


@pytest.mark.parametrize(("confidence", "told"), [(None, False), (0.59, True), (0.6, False)])
def test_low_confidence(confidence, told):
    assert any(NOT_SURE in line for line in warnings(confidence=confidence)) is told


def test_they_are_among_the_warnings_of_an_answer(slide, performer, allocator):
    result = ask(Job(slide, Region(0, 0, 320, 320), Query("vqa", "?"), 64), performer, allocator)
    assert [NO_TISSUE in line for line in result.warnings].count(True) == 1
    marked = Region(880, 680, 340, 240)
    result = ask(Job(slide, marked, Query("vqa", "?"), 64), performer, allocator)
    assert not any(NO_TISSUE in line for line in result.warnings)
