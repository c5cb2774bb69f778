"""Results as the engine gives them, made by hand."""

from dataclasses import replace

import pytest

from napari_pathreason.engine import view_of
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
    Reading,
    Reliability,
    Request,
    Result,
    SlideInfo,
    TokenReport,
    View,
    Views,
)

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)


def result_with(*detections, mpp=(0.5, 0.25), **changes):
    """A detection result of one picture; boxes as (label, x, y, w, h)."""
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
    values |= changes
    picture = View(values["region"], (256, 224), 56)
    values.setdefault("views", Views((picture,), 1024, 1024))
    reading = Reading(
        (picture,),
        values["answer"],
        values["detections"],
        reliability=values["reliability"],
        visual_tokens=56,
    )
    values.setdefault("readings", (reading,))
    return Result(**values)


def windows_of(region, tokens, first=1, why=""):
    """Four windows of a region, row by row."""
    w, h = region.width // 2, region.height // 2
    places = [
        Region(region.x + x, region.y + y, region.width - w, region.height - h)
        for y in (0, h)
        for x in (0, w)
    ]
    views = [view_of(place, tokens, 32, "window") for place in places]
    return [replace(view, number=first + n, why=why) for n, view in enumerate(views)]


def windowed_with(**changes):
    """A result of four windows read coarsely, the second of them again; it shows a tumour."""
    region = changes.pop("region", Region(100, 200, 1000, 800))
    coarse = windows_of(region, 16)
    fine = windows_of(region, 64, 4, "window 2 showed 1 tumour")[1]
    box = Box(region.x + region.width * 0.6, region.y + region.height * 0.1, 40, 30)
    found = (Detection("tumour", box, 0.75),)
    some, nothing = Answer("centre: tumour", "1 tumour"), Answer("", "none found")
    reliable, low = Reliability("reliable"), Reliability("uncertain", ("low confidence",))
    readings = [
        Reading((coarse[0],), nothing, (), 0.9, reliable, visual_tokens=12),
        Reading((coarse[1],), some, found, 0.6, low, visual_tokens=12),
        Reading((coarse[2],), nothing, (), 0.9, reliable, visual_tokens=12),
        Reading((coarse[3],), nothing, (), None, reliable, visual_tokens=12),
        Reading((fine,), some, found, 0.75, reliable, visual_tokens=fine.tokens),
    ]
    views = Views((*coarse, fine), 775, 4 * 192, policy="again")
    rationale = f"{fine.name}: centre: tumour\n{coarse[0].name}: centre: nothing"
    values = {
        "region": region,
        "answer": Answer(rationale, "1 tumour"),
        "detections": found,
        "views": views,
        "readings": tuple(readings),
        "unread": (Region(region.x + 10, region.y + 10, 300, 300),) * 3,
        "tokens": TokenReport(0, 104, 104, 775, 768, 416, 120, 40, 5e9, 9e9, 8e9),
        "request": Request(region, Query("detection", options=("tumour",)), policy="again"),
    }
    return result_with(**{**values, **changes})


@pytest.fixture(scope="session")
def make_result():
    return result_with


@pytest.fixture(scope="session")
def make_windowed():
    return windowed_with


@pytest.fixture(scope="session")
def run():
    return new_run()
