"""What the docks have in common: their place, and low screens."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QLineEdit, QTextEdit

from napari_pathreason.types import Query
from napari_pathreason.widgets import (
    AnswersWidget,
    AnswerView,
    AskWidget,
    BudgetWidget,
    SlideRunWidget,
)

Make = Callable[..., tuple[Any, Any]]


def test_the_second_dock_becomes_a_tab_and_the_window_does_not_grow(
    make_dock: Make, qtbot: Any
) -> None:
    viewer, ask = make_dock(show=True)
    window = ask.window()
    window.resize(1280, 800)
    budget = BudgetWidget(viewer)
    viewer.window.add_dock_widget(budget, name="Token budget", area="right")
    first, second = ask.parent(), budget.parent()
    assert isinstance(first, QDockWidget)
    qtbot.waitUntil(lambda: first in window.tabifiedDockWidgets(second), timeout=5000)
    qtbot.waitUntil(lambda: not budget.visibleRegion().isEmpty(), timeout=5000)
    assert (window.width(), window.height()) == (1280, 800)
    assert ask.visibleRegion().isEmpty()


@pytest.mark.parametrize("kind", [AskWidget, BudgetWidget, SlideRunWidget])
@pytest.mark.parametrize(("height", "scrolls"), [(740, False), (200, True)])
def test_a_dock_scrolls_where_it_is_too_low_and_only_there(
    make_dock: Make, qtbot: Any, kind: Any, height: int, scrolls: bool
) -> None:
    """740 px are what a window of 1280 x 800 leaves to a dock; 200 px, two on a low screen."""
    viewer, _ = make_dock()
    dock = kind(viewer)
    qtbot.addWidget(dock)
    dock.resize(310, height)
    dock.show()
    (scroll,) = (part for part in dock.children() if hasattr(part, "verticalScrollBar"))
    qtbot.waitUntil(lambda: dock.height() == height, timeout=5000)
    QApplication.processEvents()
    assert dock.width() < 380  # of 1280
    assert (scroll.verticalScrollBar().maximum() > 0) is scrolls
    assert scroll.widget().width() <= scroll.viewport().width()  # nothing is cut at the right


@pytest.mark.parametrize("kind", [AskWidget, AnswersWidget, SlideRunWidget])
def test_no_placeholder_is_cut_off(make_dock: Make, qtbot: Any, kind: Any) -> None:
    viewer, _ = make_dock()
    dock = kind(viewer)
    qtbot.addWidget(dock)
    dock.resize(310, 740)
    dock.show()
    edits = [*dock.findChildren(QLineEdit), *dock.findChildren(QTextEdit)]
    assert any(edit.placeholderText() for edit in edits)
    for edit in filter(lambda one: one.isVisible(), edits):
        words = edit.fontMetrics().horizontalAdvance(edit.placeholderText())
        assert words < edit.width() - 8, edit.placeholderText()


def test_words_can_be_read_in_narrow_tables(make_dock: Make, qtbot: Any, finish: Any) -> None:
    """Question and answer have room, whatever the numbers beside them take."""
    viewer, ask = make_dock()
    viewer.add_image(np.full((400, 600, 3), 255, np.uint8), rgb=True)
    ask.form.question_edit.setPlainText("Is it white?")
    ask.form.region_box.choose("layer")
    ask.ask()
    finish(ask)
    dock = BudgetWidget(viewer)
    qtbot.addWidget(dock)
    dock.resize(310, 740)
    dock.show()
    dock.compare.table.add(ask.session.entries[0], "#000000")
    for page, columns in ((dock.history, (5, 6)), (dock.compare, (1,))):
        dock.tabs.setCurrentWidget(page)
        QApplication.processEvents()
        header = page.table.horizontalHeader()
        for column in columns:
            assert header.sectionSize(column) >= 90
            left = header.sectionViewportPosition(column)
            assert left + header.sectionSize(column) <= page.table.viewport().width()


def test_the_wheel_over_a_choice_scrolls_the_dock(make_dock: Make) -> None:
    _, dock = make_dock(show=True)
    box = dock.form.budget_box
    at, down = QPointF(5, 5), QPoint(0, -120)
    turn = QWheelEvent(at, at, QPoint(), down, Qt.NoButton, Qt.NoModifier, Qt.NoScrollPhase, False)
    QApplication.sendEvent(box, turn)
    assert box.currentIndex() == 0
    assert not turn.isAccepted()


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ground", ["#121212", "#ffffff"])
def test_texts_stand_out_in_both_themes(qtbot: Any, ground: str) -> None:
    """Contrast of WCAG 2; the grounds are those of a text field in napari's themes."""
    view = AnswerView()
    qtbot.addWidget(view)
    view.begin(Query("vqa", "How many nuclei are there?"))
    view.note("Open a slide first.")
    colors = set(re.findall(r"[ ;\"]color: ?(#[0-9a-f]{6})", view.toHtml()))
    assert len(colors) == 2
    for color in colors:
        low, high = sorted((luminance(color), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) > 4.2


def test_a_download_tells_its_size_and_how_far_it_is(qtbot: Any) -> None:
    from napari_pathreason.models import Fetched
    from napari_pathreason.viewer import ModelLoading
    from napari_pathreason.widgets import StageProgress

    progress = StageProgress()
    qtbot.addWidget(progress)
    shown = []
    for done in (0, 5_000_000_000, 20_000_000_000):
        progress.follow(ModelLoading("a/b", Fetched("a/b", done, 20_000_000_000)))
        qtbot.wait(80)
        shown.append((progress.label.text(), progress.bar.value()))
    words, steps = zip(*shown, strict=True)
    assert words[0].startswith("Downloading a/b: 0.0 of 20.0 GB")
    assert words[1].startswith("Downloading a/b: 5.0 of 20.0 GB")
    assert words[2].startswith("Loading the model")
    assert steps[1] == progress.bar.maximum() // 4
    assert steps[0] == steps[2] == 0
