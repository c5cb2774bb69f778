"""The dock with real, though untaught, weights in a child process, on the bundled slide."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from napari_pathreason.engine import result_to_dict
from napari_pathreason.geometry import Region
from napari_pathreason.viewer import SLIDE_KEY, box_to_data, placement, session_of
from tests.support import make_tiny_checkpoint

pytestmark = pytest.mark.slow
REGION = Region(600, 900, 640, 512)
SLIDE = str(files("napari_pathreason") / "sample_data" / "CMU-1-Small-Region.svs")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture
def dock(
    make_napari_viewer_proxy: Callable[..., Any],
    messages: list[tuple[str, str]],
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    viewer = make_napari_viewer_proxy()
    (image,) = viewer.open_sample("napari-pathreason", "skin")
    shapes = viewer.add_shapes([box_to_data(REGION.box)], **placement(image))
    shapes.selected_data = {0}
    _, dock = viewer.window.add_plugin_dock_widget("napari-pathreason", "Ask")
    dock.form.region_box.choose("shape")
    dock.form.budget_box.choose(64)
    dock.form.model_box.model_id = str(checkpoint)
    dock.form.question_edit.setPlainText("How many nuclei?")
    yield dock
    session_of(viewer).close_models()
    image.metadata[SLIDE_KEY].close()


def shell(checkpoint: Path, *words: str) -> Any:
    region = (str(v) for v in (REGION.x, REGION.y, REGION.width, REGION.height))
    command = [sys.executable, "-m", "napari_pathreason.cli", "ask", SLIDE, "--region", *region]
    command += ["--budget", "64", "--model", str(checkpoint), "--json", "-", *words]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("task", ["vqa", "detection"])
def test_same_json_as_the_shell(
    dock: Any, finish: Callable[[Any], None], checkpoint: Path, task: str
) -> None:
    words = ["--task", task, "--question", "How many nuclei?"]
    dock.form.task_box.choose(task)
    if task != "vqa":
        dock.form.question_edit.setPlainText("How many nuclei?")  # each task keeps its own words
        dock.form.options_edit.setText("tumour, nucleus")
        words += ["--choices", "tumour,nucleus"]
    dock.ask()
    finish(dock)
    (entry,) = dock.session.entries
    mine = json.loads(json.dumps(result_to_dict(entry.result)))
    printed = shell(checkpoint, *words)
    del mine["seconds"], printed["seconds"]
    # what the screen decoded for the view is not decoded again for the answer
    assert mine.pop("pixels_decoded") <= printed.pop("pixels_decoded")
    assert mine == printed


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals that freeze a process")
@pytest.mark.parametrize("fate", ["killed", "cancelled"])
def test_child_that_hangs_is_replaced(
    dock: Any, finish: Callable[[Any], None], qtbot: Any, messages: list[Any], fate: str
) -> None:
    dock.ask()
    finish(dock)
    first = dock.session.models(dock.form.model_box.model_id).pid
    os.kill(first, signal.SIGSTOP)  # so that it cannot have answered before
    dock.ask()
    qtbot.waitUntil(lambda: "Writing" in dock.progress.label.text())
    if fate == "killed":
        os.kill(first, signal.SIGKILL)
    else:
        dock.cancel()
    finish(dock)
    if fate == "killed":
        assert [severity for severity, _ in messages] == ["error"]
        assert "ask again" in messages[0][1]
    else:
        assert "Cancelled" in dock.answer.toPlainText()
    dock.ask()
    finish(dock)
    assert len(dock.session.entries) == 2
    assert dock.session.models(dock.form.model_box.model_id).pid not in (None, first)


def test_cancel_keeps_the_child(dock: Any, finish: Callable[[Any], None], qtbot: Any) -> None:
    dock.ask()
    finish(dock)
    child = dock.session.models(dock.form.model_box.model_id).pid
    dock.ask()
    qtbot.waitUntil(lambda: "Writing" in dock.progress.label.text())
    dock.cancel()
    finish(dock)
    assert "Cancelled" in dock.answer.toPlainText()
    assert len(dock.session.entries) == 1
    assert dock.session.models(dock.form.model_box.model_id).pid == child


def test_closing_the_dock_ends_the_child(
    dock: Any, finish: Callable[[Any], None], qtbot: Any
) -> None:
    dock.ask()
    finish(dock)
    models = dock.session.models(dock.form.model_box.model_id)
    assert models.pid is not None
    dock.stop()
    qtbot.waitUntil(lambda: models.pid is None)
