"""One answer in words; the result is made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from napari_pathreason.geometry import Region
from napari_pathreason.types import (
    Allocation,
    Answer,
    Calibration,
    ModelDims,
    ModelInfo,
    Query,
    Reliability,
    Result,
    SlideInfo,
    TokenReport,
)
from napari_pathreason.widgets import AnswerView

MODEL = ModelInfo("by hand", "qwen3_vl", "relative", ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 9))
RESULT = Result(
    query=Query("vqa", "Is there tumour?", ("yes", "no")),
    region=Region(0, 0, 320, 320),
    slide=SlideInfo("slide.svs", 640, 480, (0.5, 0.5), "file"),
    model=MODEL,
    allocation=Allocation(64, "fixed"),
    answer=Answer("throughout: tumour", "yes"),
    detections=(),
    tokens=TokenReport(0, 64, 64, 100, 100, 256, 80, 5, 1.0, 2.0, 2.0),
    picture_size=(256, 256),
    level=0,
    pixels_decoded=65_536,
    reliability=Reliability("reliable"),
)


@pytest.fixture
def shown(qtbot: Any) -> Any:
    view = AnswerView()
    qtbot.addWidget(view)

    def show(**changes: Any) -> str:
        view.show_result(replace(RESULT, **changes))
        return str(view.toPlainText())

    return show


@pytest.mark.parametrize(
    ("calibration", "line"),
    [
        (Calibration(), "Confidence: high (83 %)"),
        (None, "Confidence: high (83 %, not calibrated)"),
    ],
)
def test_confidence_stands_between_answer_and_rationale(
    shown: Any, calibration: Calibration | None, line: str
) -> None:
    text = shown(confidence=0.834, model=replace(MODEL, calibration=calibration)).splitlines()
    words = [one for one in text if one]
    assert words[1:4] == ["yes", line, "throughout: tumour"]


def test_nothing_is_said_where_the_model_does_not_tell(shown: Any) -> None:
    assert "onfidence" not in shown()


def test_remarks_are_notes(shown: Any) -> None:
    assert "Note: the region was cut to the slide" in shown(
        warnings=("the region was cut to the slide",)
    )


def test_a_reply_of_nothing_has_nothing_to_show(shown: Any) -> None:
    text = shown(answer=Answer("", "", (), False), reliability=Reliability("none"))
    assert "The model's reply could not be read." in text
    assert "It wrote nothing." in text
