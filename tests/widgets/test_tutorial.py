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
from napari_pathreason.models import EMBEDDED
from napari_pathreason.sample_data import sample
from napari_pathreason.viewer import SLIDE_KEY, go_to, unwrapped

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EMBEDDED.is_dir(), reason="asks the embedded model"),
]
CROWDED, GLASS = (1100, 700, 512, 512), (0, 1800, 256, 256)


class User:
    """Hands and eyes: presses what is on the screen and reads what it says."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.slides: list[Any] = []
        self.window = unwrapped(viewer).window._qt_window
        self.canvas = self.window._qt_viewer.canvas.native
        self.open("lymph_node")
        self.ask = self.dock("Ask")

    def open(self, key: str) -> None:
        """Open a sample over what is there, and look at all of it."""
        (self.image,) = self.viewer.open_sample("napari-pathreason", key)
        self.slides.append(self.image.metadata[SLIDE_KEY])
        self.viewer.reset_view()
        QTest.qWait(500)

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

    def choose(self, box: Any, text: str) -> None:
        """Choose a line of a combo box by its first word; a blank would open its list."""
        box.setFocus()
        self.qtbot.keyClicks(box, text.partition(" ")[0])
        assert box.currentText() == text

    def click_ask(self) -> str:
        """Press Ask, wait, read."""
        self.press(self.ask.ask_button)
        assert self.ask.runner.running
        self.qtbot.waitUntil(lambda: not self.ask.busy, timeout=120_000)
        return f"{self.ask.reliability.text}\n{self.ask.answer.toPlainText()}"

    def type(self, text: str, choices: str) -> None:
        """Write a question and its choices."""
        form = self.ask.form
        for field, words in ((form.question_edit, text), (form.options_edit, choices)):
            field.setFocus()
            self.qtbot.keyClick(field, Qt.Key_A, Qt.ControlModifier)
            self.qtbot.keyClicks(field, words)

    def question(self, text: str, choices: str) -> str:
        """Type, press Ctrl+Enter, wait, read."""
        self.type(text, choices)
        form = self.ask.form
        self.qtbot.keyClick(form.question_edit, Qt.Key_Return, Qt.ControlModifier)
        assert self.ask.runner.running
        self.qtbot.waitUntil(lambda: not self.ask.busy, timeout=120_000)
        return f"{self.ask.reliability.text}\n{self.ask.answer.toPlainText()}"


@pytest.fixture
def user(make_napari_viewer_proxy: Callable[..., Any], qtbot: Any) -> Iterator[User]:
    viewer = make_napari_viewer_proxy(show=True)
    user = User(viewer, qtbot)
    user.window.resize(1280, 800)
    user.window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is user.window, timeout=5000)
    yield user
    user.ask.session.close_models()
    for slide in user.slides:
        slide.close()
    user.__dict__.clear()  # napari's fixture looks for viewers that someone still holds


def shell(*words: Any) -> str:
    command = [sys.executable, "-m", "napari_pathreason.cli", *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return done.stdout


@pytest.mark.timeout(900)
def test_the_tutorial(user: User, qtbot: Any, tmp_path: Path, messages: list[Any]) -> None:
    # 2
    form = user.ask.form
    assert form.region_note.text() == "384 × 384 px = 0.37 × 0.37 mm"
    text = user.click_ask()
    assert "Confidence" in text
    assert " tokens (" in text
    assert text.startswith(("Reliable", "Uncertain"))
    assert user.ask.session.entries[-1].result.query == sample("lymph_node").questions[0].query
    user.choose(form.task_box, "Lesion detection")
    user.click_ask()
    assert user.ask.session.entries[-1].result.query.options == ("tumour",)
    # 3
    zoom = user.viewer.camera.zoom
    item = user.ask.history.item(0)
    back = user.ask.history.visualItemRect(item).center()
    qtbot.mouseClick(user.ask.history.viewport(), Qt.LeftButton, pos=back)
    for line in range(20, user.ask.answer.height(), 5):  # a link is somewhere in the rationale
        place = QPoint(30, line)
        if user.ask.answer.anchorAt(place):
            qtbot.mouseClick(user.ask.answer.viewport(), Qt.LeftButton, pos=place)
            break
    assert "cited place" in [layer.name for layer in user.viewer.layers]
    assert user.viewer.camera.zoom > zoom
    qtbot.mouseClick(user.ask.history.viewport(), Qt.LeftButton, pos=back)
    user.choose(form.task_box, "Question")
    user.look_at((96, 192, 192, 192))
    user.click_ask()
    region = user.ask.session.entries[-1].result.region
    assert region.width < 384 or region.height < 384
    # 4
    user.open("skin")
    assert form.question_edit.toPlainText() == "Is there tumour in this field?"
    text = user.click_ask()
    assert text.startswith("No reliable answer: unlike the training images")
    assert "Guess: " in text
    user.look_at(GLASS)
    user.draw()
    assert "almost no tissue in this region" in user.click_ask()
    user.type("Is there necrosis?", "yes, no")
    line = user.ask.form.outlook_line
    qtbot.waitUntil(lambda: line.words.startswith("Not trained on: necrosis"), timeout=5000)
    line.linkActivated.emit("0")
    assert line.words == "Trained on questions like this."
    # 5
    user.look_at(CROWDED)
    user.draw()
    user.question("Are the nuclei dense or sparse?", "dense, sparse")
    budget = user.dock("Token budget")
    QTest.qWait(1000)
    assert (user.window.width(), user.window.height()) == (1280, 800)
    qtbot.keyClick(user.window, Qt.Key_Right, Qt.AltModifier)
    qtbot.keyClick(user.window, Qt.Key_Right, Qt.AltModifier)
    qtbot.keyClick(user.window, Qt.Key_Right, Qt.AltModifier)
    assert user.ask.form.budget_box.value == 16
    user.press(budget.preview_button)
    budget.grid_box.click()
    qtbot.waitUntil(lambda: len(budget._layers) == 2, timeout=20_000)
    assert budget._layers[1].visible
    # 6
    budget.tabs.setCurrentIndex(1)
    for tokens, box in budget.compare.boxes.items():
        if box.isChecked() != (tokens in (4, 64)):
            user.press(box)
    user.press(budget.compare.compare_button)
    qtbot.waitUntil(lambda: not budget.compare.runner.running, timeout=120_000)
    assert budget.compare.table.rowCount() == 2
    budget.tabs.setCurrentIndex(2)
    budget.history.export(str(tmp_path / "history.csv"))
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert len(lines) == 1 + len(user.ask.session.entries) == 1 + 6 + 2
    # 7
    entry = user.ask.session.entries[-3]  # before the comparison
    for ending in ("geojson", "html", "json"):
        with qtbot.waitSignal(user.ask.save_button.saved, timeout=60_000) as saved:
            user.ask.save_button.save([entry], str(tmp_path / f"answer.{ending}"))
        assert saved.args == [""]
    (layer,) = user.viewer.open(tmp_path / "answer.geojson", plugin="napari-pathreason")
    assert layer.nshapes >= 1
    again = shell("ask", "--from", tmp_path / "answer.json", sample("skin").path, "--json", "-")
    asked = json.loads(again)
    assert asked["answer"] == entry.result.answer.text
    assert [severity for severity, _ in messages if severity == "error"] == []
    # 8
    words = ("--lesions", "tumour", "--mpp", "1", "--tile", "384", "--budget", "64")
    run = (sample("skin").path, "-o", tmp_path / "run", *words)
    assert "tiles with tissue" in shell("detect", *run)
    assert "nothing to do" in shell("detect", *run)
