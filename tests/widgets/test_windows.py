"""A large region in the Ask dock: windows light up, are cited, and more of them are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import QUrl

from napari_pathreason.engine import Planned, ViewRead
from napari_pathreason.geometry import Region
from napari_pathreason.types import Metadata, ModelDims, ModelInfo
from napari_pathreason.viewer import LayerFrame, box_to_data, region_in_view

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 100)
TOLD = Metadata(labels=("marker",), window=200, joint=True)
LOOKS = ModelInfo("fake", "qwen3_vl", "relative", DIMS, metadata=TOLD)
"""Tells in which windows it reads: 4 x 3 of the slide of these tests."""

Docked = tuple[Any, Any, Any]


@pytest.fixture
def tissue() -> NDArray[np.uint8]:
    """Pink, 800 x 600, with a magenta marker in its last window but one."""
    image = np.full((600, 800, 3), (230, 170, 200), np.uint8)
    image[410:450, 610:650] = (255, 0, 255)
    return image


@pytest.fixture
def docked(
    make_dock: Callable[..., tuple[Any, Any]], tissue: NDArray[np.uint8], factory: Any
) -> Docked:
    viewer, dock = make_dock(show=True)
    factory.info = LOOKS
    dock.session.describe = lambda model_id: LOOKS
    image = viewer.add_image(tissue, rgb=True, scale=(0.5, 0.5), name="slide")
    dock.form.region_box.choose("layer")
    dock.form.task_box.choose("detection")
    dock.form.options_edit.setText("marker")
    dock.form.settled.emit()
    return viewer, dock, image


def hover(viewer: Any, image: Any, x: float, y: float) -> tuple[float, float]:
    """Position in the world of level-0 pixels."""
    ((down, across),) = LayerFrame.of(image, viewer.dims.units).slide_to_world([(x, y)])
    return float(down), float(across)


def click(viewer: Any, position: tuple[float, float], moved: int = 0) -> None:
    event = SimpleNamespace(
        pos=np.array([5, 5]), type="mouse_press", position=position, modifiers=()
    )
    viewer = viewer.__wrapped__
    pressed = [callback(viewer, event) for callback in viewer.mouse_drag_callbacks]
    running = [one for one in pressed if one is not None and next(one, None) is None]
    if moved:
        event.type = "mouse_move"
        event.pos = event.pos + moved
        for one in running:
            next(one, None)
    event.type = "mouse_release"
    for one in running:
        next(one, None)


def test_windows_light_up_as_they_are_read(docked: Docked, finish: Callable[[Any], None]) -> None:
    viewer, dock, _ = docked
    dock.session.steering.policy = "uniform"
    seen: list[tuple[str, int]] = []
    lines: list[str] = []

    def note(event: Any) -> None:
        if isinstance(event, Planned | ViewRead):
            shown = dock.session.windows.shown
            seen.append((type(event).__name__, shown.read))
            dock.progress._show()
            lines.append(dock.progress.label.text())

    dock.runner.happened.connect(note)
    dock.look()
    assert "Read as windows: uniform." in dock.form.region_note.text()
    dock.ask()
    finish(dock)
    assert seen == [("Planned", 0), *(("ViewRead", count) for count in range(1, 13))]
    assert lines[0].endswith(", 12 windows…")
    assert lines[3] == "Window 3 of 12…"
    picture = viewer.layers["windows: slide"]
    assert picture.visible
    assert viewer.layers.index(picture) == 1  # under the boxes
    assert dock.session.windows.entry == 1
    assert not dock.windows.more_button.isEnabled()
    assert dock.windows.isVisible()


def test_what_a_window_said(docked: Docked, finish: Callable[[Any], None]) -> None:
    viewer, dock, image = docked
    dock.session.steering.policy = "uniform"
    dock.ask()
    finish(dock)
    for callback in list(viewer.__wrapped__.mouse_move_callbacks):
        callback(viewer, SimpleNamespace(position=hover(viewer, image, 700, 550)))
    assert dock.windows.line.text().startswith("Window 12: 36 visual tokens. Guess: 1 marker.")
    dock.windows.hover(hover(viewer, image, 10, 10))
    assert "none found" in dock.windows.line.text()
    before = dock.windows.line.text()
    dock.windows.hover(hover(viewer, image, -50, 10))
    assert dock.windows.line.text() == before
    assert not dock.answer.textCursor().hasSelection()
    click(viewer, hover(viewer, image, 700, 550), moved=40)
    assert not dock.answer.textCursor().hasSelection()
    click(viewer, hover(viewer, image, 700, 550))
    assert dock.answer.textCursor().selectedText() == "window 12: upper left: magenta"


def test_cited_windows_are_links(docked: Docked, finish: Callable[[Any], None]) -> None:
    from .test_evidence import links_of

    viewer, dock, image = docked
    dock.session.steering.policy = "uniform"
    dock.ask()
    finish(dock)
    rationale = dock.session.entries[0].result.answer.rationale
    assert rationale == "window 12: upper left: magenta"
    assert links_of(dock.answer) == [
        ("place:0", "window 12"),
        ("place:1", "upper left: magenta"),
    ]
    for link, region in (
        ("place:0", Region(600, 400, 200, 200)),
        ("place:1", Region(600, 400, 67, 67)),
    ):
        dock.answer.anchorClicked.emit(QUrl(link))
        (outline,) = [layer for layer in viewer.layers if layer.name.startswith("cited place")]
        assert outline.data[0] == pytest.approx(box_to_data(region.box))
        seen = region_in_view(viewer, image)
        assert seen.x <= region.x
        assert seen.width < 800


def test_a_box_selects_the_words_of_its_window(
    docked: Docked, finish: Callable[[Any], None]
) -> None:
    _, dock, _ = docked
    dock.session.steering.policy = "uniform"
    dock.ask()
    finish(dock)
    first = dock.session.entries[0].result
    said = "window 2: lower right: white\nwindow 12: upper left: magenta"
    dock.session.add(
        replace(first, answer=replace(first.answer, rationale=said)), dock._asked_image()
    )
    dock.history.itemClicked.emit(dock.history.item(1))
    overlay = dock.session.overlay_of(dock.session.inquiry.image)
    overlay.selected_data = {3}
    assert dock.answer.textCursor().selectedText() == "upper left: magenta"


def test_more_goes_on_with_the_next_windows(docked: Docked, finish: Callable[[Any], None]) -> None:
    _, dock, _ = docked
    dock.session.steering.policy = "surprise"
    dock.form.budget_box.choose(64)
    dock.ask()
    finish(dock)
    first = dock.session.entries[0].result
    assert len(first.readings) == 1
    assert dock.windows.more_button.isEnabled()
    assert f"{len(first.unread)} windows are" in dock.windows.more_button.toolTip()
    dock.windows.more_button.click()
    finish(dock)
    second = dock.session.entries[1]
    assert second.former is dock.session.entries[0]
    assert second.result.readings[0] == first.readings[0]
    assert len(second.result.readings) > 2
    read = {reading.view.region for reading in second.result.readings[1:]}
    assert first.readings[0].view.region not in read  # nothing is read twice
    assert first.unread[0] in read
    assert dock.session.windows.entry == 2
    assert dock.session.windows.shown.read == len(second.result.readings)
    assert "Goes on from answer 1." in dock.answer.toPlainText()
    assert "2: more of 1: Find: marker" in dock.history.item(1).text()
    dock.history.itemClicked.emit(dock.history.item(0))
    assert dock.session.windows.entry == 1
    assert "Goes on" not in dock.answer.toPlainText()


def test_an_answer_of_one_picture_has_no_windows(
    docked: Docked, finish: Callable[[Any], None]
) -> None:
    viewer, dock, _ = docked
    dock.ask()
    finish(dock)
    assert viewer.layers["windows: slide"].visible
    dock.session.steering.policy = "one_view"
    dock.ask()
    finish(dock)
    assert not viewer.layers["windows: slide"].visible
    assert not dock.windows.isVisible()


def test_windows_of_one_prompt(docked: Docked, finish: Callable[[Any], None]) -> None:
    viewer, dock, image = docked
    dock.form.task_box.choose("vqa")
    dock.form.question_edit.setPlainText("Is it magenta?")
    dock.ask()
    finish(dock)
    result = dock.session.entries[0].result
    assert result.readings[0].view.role == "overview"
    shown = dock.session.windows.shown
    assert shown.read == len(result.readings[0].views)
    dock.windows.hover(hover(viewer, image, 640, 420))
    assert "others in one prompt" in dock.windows.line.text()


def test_cancel_keeps_what_was_read(
    docked: Docked, factory: Any, finish: Callable[[Any], None], qtbot: Any
) -> None:
    _, dock, _ = docked
    factory.behaviour = "slow"
    dock.session.steering.policy = "uniform"
    dock.ask()
    qtbot.waitUntil(lambda: dock.session.windows.shown is not None, timeout=20_000)
    dock.cancel()
    finish(dock)
    assert dock.session.windows.entry == 0
    assert "not read yet" in dock.session.windows.shown.explain(11)
    assert "Cancelled" in dock.answer.toPlainText()


def test_an_outline_is_handed_on(docked: Docked, finish: Callable[[Any], None]) -> None:
    viewer, dock, _ = docked
    corners = [(0, 0), (400, 0), (0, 600)]  # (x, y): a triangle of the upper left
    shape = np.array([(y - 0.5, x - 0.5) for x, y in corners])
    viewer.add_shapes([shape], shape_type="polygon", scale=(0.5, 0.5), name="regions")
    viewer.layers["regions"].selected_data = {0}
    dock.form.region_box.choose("shape")
    dock.session.steering.policy = "uniform"
    dock.ask()
    finish(dock)
    result = dock.session.entries[0].result
    assert result.request.outline == tuple((float(x), float(y)) for x, y in corners)
    read = {reading.view.region for reading in result.readings}
    assert Region(0, 0, 200, 200) in read
    assert Region(200, 400, 200, 200) not in read
