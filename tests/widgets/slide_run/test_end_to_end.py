"""The Slide run dock with the embedded model in its child process, on the bundled slide."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from napari_pathreason.viewer import SLIDE_KEY, session_of

pytestmark = pytest.mark.slow
SLIDE = files("napari_pathreason") / "sample_data" / "CMU-1-Small-Region.svs"


@pytest.fixture
def dock(
    make_napari_viewer_proxy: Callable[..., Any],
    messages: list[tuple[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    viewer = make_napari_viewer_proxy()
    (image,) = viewer.open_sample("napari-pathreason", "skin")
    _, dock = viewer.window.add_plugin_dock_widget("napari-pathreason", "Slide run")
    dock.form.mpp_box.setValue(1)
    dock.form.tile_box.setValue(384)
    dock.form.folder_edit.setText(str(tmp_path / "dock"))
    yield dock
    session_of(viewer).close_models()
    image.metadata[SLIDE_KEY].close()


def test_the_same_files_as_the_shell(dock: Any, qtbot: Any, tmp_path: Path, files_of: Any) -> None:
    dock.start()
    qtbot.waitUntil(lambda: not dock.busy, timeout=200_000)
    assert "Done" in dock.progress.label.text()
    words = ["detect", str(SLIDE), "-o", str(tmp_path / "shell")]
    command = [sys.executable, "-m", "napari_pathreason.cli", *words]
    subprocess.run(command, check=True, capture_output=True)
    assert files_of(tmp_path / "dock" / SLIDE.name) == files_of(tmp_path / "shell" / SLIDE.name)


def test_a_second_start_goes_on_where_a_cancelled_run_ended(
    dock: Any, qtbot: Any, messages: list[Any]
) -> None:
    dock.start()
    qtbot.waitUntil(lambda: dock.runner.so_far.changes > 0, timeout=200_000)
    dock.cancel()
    qtbot.waitUntil(lambda: not dock.runner.running, timeout=10_000)
    assert "are kept" in dock.progress.label.text()
    qtbot.waitUntil(lambda: not dock.runner.closing, timeout=10_000)
    kept = dock.runner.so_far.changes
    dock.start()
    qtbot.waitUntil(lambda: not dock.busy, timeout=200_000)
    assert "Done" in dock.progress.label.text()
    assert 0 < kept < len(dock.runner.so_far.records)
    assert not messages
