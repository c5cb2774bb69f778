"""docs/tutorial.md as a new user would follow it: real window, mouse, keys, model and shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

import napari_pathreason
from napari_pathreason.models._checkpoint import EMBEDDED
from napari_pathreason.viewer import go_to, unwrapped

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EMBEDDED.is_dir(), reason="asks the embedded model"),
]
SAMPLE = Path(napari_pathreason.__file__).parent / "_samples" / "CMU-1-Small-Region.svs"
CROWDED, GLASS = (1100, 700, 512, 512), (0, 1800, 256, 256)


class User:
    """Hands and eyes: presses what is on the screen and reads what it says."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.window = unwrapped(viewer).window._qt_window
        self.canvas = self.window._qt_viewer.canvas.native
        (self.image,) = viewer.open_sample("napari-pathreason", "skin")
        self.ask = self.dock("Ask")

    def dock(self, name: str) -> Any:
        return unwrapped(self.viewer).window.add_plugin_dock_widget("napari-pathreason", name)[1]

    def press(self, button: Any) -> None:
        self.qtbot.mouseClick(button, Qt.LeftButton)

    def look_at(self, region: tuple[int, int, int, int]) -> None:
        go_to(self.viewer, self.image, napari_pathreason.Region(*region), margin=0.4)
        QTest.qWait(500)

    def draw(self) -> None:
        """Press Draw and drag over the middle of the canvas."""
        self.press(
            next(
                b
                for b in self.ask.form.findChildren(type(self.ask.ask_button))
                if b.text() == "Draw"
            )
        )
        middle = self.canvas.rect().center()
        away = QPoint(120, 120)
        QTest.mouseMove(self.canvas, middle - away)
        QTest.mousePress(self.canvas, Qt.LeftButton, Qt.NoModifier, middle - away)
        for part in (-60, 0, 60, 120):
            QTest.mouseMove(self.canvas, middle + QPoint(part, part))
            QTest.qWait(50)
        QTest.mouseRelease(self.canvas, Qt.LeftButton, Qt.NoModifier, middle + away)
        QTest.qWait(500)

    def question(self, text: str, choices: str) -> str:
        """Type, press Ctrl+Enter, wait, read."""
        form = self.ask.form
        for field, words in ((form.question_edit, text), (form.options_edit, choices)):
            field.setFocus()
            self.qtbot.keyClick(field, Qt.Key_A, Qt.ControlModifier)
            self.qtbot.keyClicks(field, words)
        self.qtbot.keyClick(form.question_edit, Qt.Key_Return, Qt.ControlModifier)
        assert self.ask.runner.running
        self.qtbot.waitUntil(lambda: not self.ask.busy, timeout=120_000)
        return str(self.ask.answer.toPlainText())


@pytest.fixture
def user(make_napari_viewer_proxy: Callable[..., Any], qtbot: Any) -> Iterator[User]:
    viewer = make_napari_viewer_proxy(show=True)
    user = User(viewer, qtbot)
    user.window.resize(1280, 800)
    user.window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is user.window, timeout=5000)
    yield user
    user.ask.session.close_models()
    user.__dict__.clear()  # napari's fixture looks for viewers that someone still holds


def shell(*words: Any) -> str:
    command = [sys.executable, "-m", "napari_pathreason.cli", *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return done.stdout


@pytest.mark.timeout(900)
def test_the_tutorial(user: User, qtbot: Any, tmp_path: Path, messages: list[Any]) -> None:
    # 2
    user.look_at(CROWDED)
    user.draw()
    assert "px = 0." in user.ask.form.region_note.text()
    told = user.question("Are the nuclei dense or sparse?", "dense, sparse")
    assert "Confidence" in told
    assert "visual tokens" in told
    region = user.ask.session.entries[-1].result.region
    assert 300 < region.width < 800
    # 3
    zoom = user.viewer.camera.zoom
    for line in range(20, user.ask.answer.height(), 5):  # a link is somewhere in the rationale
        place = QPoint(30, line)
        if user.ask.answer.anchorAt(place):
            qtbot.mouseClick(user.ask.answer.viewport(), Qt.LeftButton, pos=place)
            break
    assert "cited place" in [layer.name for layer in user.viewer.layers]
    assert user.viewer.camera.zoom > zoom
    item = user.ask.history.item(0)
    qtbot.mouseClick(
        user.ask.history.viewport(),
        Qt.LeftButton,
        pos=user.ask.history.visualItemRect(item).center(),
    )
    assert "do not rely on this answer" in user.question("Is there tumour?", "yes, no")
    user.look_at(GLASS)
    user.draw()
    assert "no tissue to speak of" in user.question("Is there tumour?", "yes, no")
    # 4
    user.look_at(CROWDED)
    user.draw()
    budget = user.dock("Token budget")
    QTest.qWait(1000)
    assert (user.window.width(), user.window.height()) == (1280, 800)
    qtbot.keyClick(user.window, Qt.Key_Right, Qt.AltModifier)
    qtbot.keyClick(user.window, Qt.Key_Right, Qt.AltModifier)
    qtbot.keyClick(user.window, Qt.Key_Right, Qt.AltModifier)
    assert user.ask.form.budget == 16
    user.press(budget.preview_button)
    budget.grid_box.click()
    qtbot.waitUntil(lambda: len(budget._layers) == 2, timeout=20_000)
    assert budget._layers[1].visible
    # 5
    budget.tabs.setCurrentIndex(1)
    for rung, box in budget.compare.boxes.items():
        if box.isChecked() != (rung in (4, 64)):
            user.press(box)
    user.press(budget.compare.compare_button)
    qtbot.waitUntil(lambda: not budget.compare.runner.running, timeout=120_000)
    assert budget.compare.table.columnCount() == 2
    budget.tabs.setCurrentIndex(2)
    budget.history.export(str(tmp_path / "history.csv"))
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 6
    # 6
    entry = user.ask.session.entries[0]
    for ending in ("geojson", "html", "json"):
        with qtbot.waitSignal(user.ask.save_button.saved, timeout=60_000) as saved:
            user.ask.save_button.save([entry], str(tmp_path / f"answer.{ending}"))
        assert saved.args == [""]
    (again,) = user.viewer.open(tmp_path / "answer.geojson", plugin="napari-pathreason")
    assert again.nshapes >= 1
    asked = json.loads(shell("ask", "--from", tmp_path / "answer.json", SAMPLE, "--json", "-"))
    assert asked["answer"] == entry.result.answer.text
    assert [severity for severity, _ in messages if severity == "error"] == []
    # 7
    words = ("--lesions", "tumour", "--mpp", "1", "--tile", "384", "--budget", "64")
    assert "tiles with tissue" in shell("detect", SAMPLE, "-o", tmp_path / "run", *words)
    assert "nothing to do" in shell("detect", SAMPLE, "-o", tmp_path / "run", *words)
