"""Where its model is downloaded first, a project says its size and how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.exports import Feature, write_geojson
from napari_pathreason.geometry import Box
from napari_pathreason.widgets import AnswersWidget


@pytest.fixture
def slide(tmp_path: Path, marked_image: NDArray[np.uint8]) -> Path:
    """A slide with one annotation, and a list of it."""
    Image.fromarray(marked_image).save(tmp_path / "a.png")
    write_geojson(tmp_path / "a.geojson", [Feature(Box(200, 80, 320, 256))])
    (tmp_path / "slides.csv").write_text("slide\na.png\n")
    return tmp_path / "slides.csv"


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_project(
    make_dock: Any,
    missing: Any,
    follow_download: Any,
    slide: Path,
    qtbot: Any,
    messages: list[Any],
    cancelled: bool,
) -> None:
    viewer, ask = make_dock()
    made = missing(viewer)
    answers = AnswersWidget(viewer)
    viewer.window.add_dock_widget(answers, name="Answers")
    ask.form.task_box.choose("detection")
    ask.form.options_edit.setText("marker")
    ask.form.budget_box.choose("native")
    panel = answers.project
    panel.ask(slide)
    follow_download(panel.progress, made, panel.runner.cancel if cancelled else None)
    qtbot.waitUntil(lambda: not (panel.runner.running or panel.runner.closing), timeout=60_000)
    assert made[0].cancelled is cancelled
    ended = "Cancelled, 0 of 0 answered" if cancelled else "1 of 1 answered"
    assert panel.progress.label.text() == ended
    assert messages == []
