"""A picture with a dark spot, and a model that finds it, in place of a slide and real weights."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.errors import ModelError
from napari_pathreason.models import LoadedModels
from napari_pathreason.types import (
    Allocation,
    Calibration,
    Completion,
    Metadata,
    ModelDims,
    ModelInfo,
    Query,
    Topic,
)

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)
SPOT = (256, 128, 64, 96)


class SpotFinder:
    info = ModelInfo("finder", "qwen3_vl", "relative", DIMS)

    def generate(self, prompt, settings, cancel):
        (pixels,) = prompt.pictures
        rows, columns = np.nonzero(pixels[..., 0] < 128)
        height, width = pixels.shape[:2]
        text = "<think>all white</think><answer>[]</answer>"
        if rows.size:
            corners = (
                columns.min() / width,
                rows.min() / height,
                (columns.max() + 1) / width,
                (rows.max() + 1) / height,
            )
            box = {"bbox_2d": [1000 * float(v) for v in corners], "label": "spot"}
            text = f"<think>one dark spot</think><answer>{json.dumps([box])}</answer>"
        yield text
        visual = height * width // 32**2
        yield Completion(text, visual + 20, visual, 30, "stop", 0.1)


NUCLEI = Query("vqa", "How many nuclei are there?")
TRAINED = Metadata(
    topics=(
        Topic("number of nuclei", "count", frozenset({"nuclei"}), NUCLEI),
        Topic(
            "spots",
            "boxes",
            frozenset({"dark", "spot"}),
            Query("detection", options=("spot",)),
        ),
        Topic(
            "cells",
            "choice",
            frozenset({"cell", "red", "white"}),
            Query("vqa", "Which cell is it?", ("red, old", "white")),
        ),
    ),
    labels=("spot",),
)


class Fixed64:
    overview_budget = 0

    def allocate(self, overview, query, native, effort):
        return Allocation(64, "fixed", effort=effort)


@pytest.fixture
def picture(tmp_path):
    """File of 640 x 480 px, white with one dark spot."""
    pixels = np.full((480, 640, 3), 255, np.uint8)
    x, y, w, h = SPOT
    pixels[y : y + h, x : x + w] = (40, 20, 50)  # black would be padding
    file = tmp_path / "spot.png"
    Image.fromarray(pixels).save(file)
    return str(file)


@pytest.fixture
def large(tmp_path):
    """File of 2000 x 1500 px, pink as tissue is, with one dark spot."""
    pixels = np.full((1500, 2000, 3), (230, 160, 200), np.uint8)
    pixels[700:800, 900:1000] = 0
    file = tmp_path / "large.png"
    Image.fromarray(pixels).save(file)
    return str(file)


@pytest.fixture
def loads(monkeypatch):
    """Put the finder in place of every model; the list tells what was asked for."""
    asked = []

    def load_models(model_id="embedded", device="auto", encoder="exact", precision="auto", **_):
        asked.append((model_id, device, encoder))
        if model_id == "unknown":
            raise ModelError("there is no model 'unknown'; give embedded or a folder")
        finder = SpotFinder()
        if encoder != "exact":
            finder.info = replace(finder.info, encoder=encoder)
        return LoadedModels(finder, Fixed64())

    def read_model_info(model):
        return None if model == "not/here" else SpotFinder.info

    monkeypatch.setattr("napari_pathreason.models.load_models", load_models)
    monkeypatch.setattr("napari_pathreason.models.read_model_info", read_model_info)
    monkeypatch.setattr("napari_pathreason.models.fetch", lambda *_: None)
    return asked


@pytest.fixture
def old_processor(loads, monkeypatch):
    """Let no machine have a fast encoder; the list tells what was asked for."""
    from napari_pathreason import models

    load_models = models.load_models

    def load_exactly(model_id="embedded", device="auto", encoder="exact", precision="auto", **_):
        loaded = load_models(model_id, device)
        loads[-1] = (model_id, device, encoder)
        if encoder != "exact":
            notes = ("the vision encoder runs exact: an old processor",)
            loaded.performer.info = replace(loaded.performer.info, notes=notes)
        return loaded

    monkeypatch.setattr("napari_pathreason.models.load_models", load_exactly)
    return loads


@pytest.fixture
def trained(loads, monkeypatch):
    """Let the finder say what it was trained on, and what was measured of it."""
    info = replace(SpotFinder.info, metadata=TRAINED, calibration=Calibration())
    monkeypatch.setattr(SpotFinder, "info", info)
    return loads


@pytest.fixture
def windowed(loads, monkeypatch):
    """Let the finder want windows of 500 px; the list tells what was loaded."""
    info = replace(SpotFinder.info, metadata=replace(TRAINED, window=500))
    monkeypatch.setattr(SpotFinder, "info", info)
    return loads


@pytest.fixture
def shell(capsys, monkeypatch):
    """Run a command line: returns exit code, stdout and stderr."""
    from napari_pathreason.cli import main

    for variable in ("TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(variable, "error" if "VERBOSITY" in variable else "1")

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        told = capsys.readouterr()
        return SimpleNamespace(code=code, out=told.out, err=told.err)

    return run
