"""Cited places: from the words to the slide, and from a box to the words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import QUrl

from napari_pathreason.geometry import Region
from napari_pathreason.viewer import box_to_data, is_overlay, region_in_view

Answered = tuple[Any, Any, Any]


@pytest.fixture
def answered(
    make_dock: Callable[..., tuple[Any, Any]],
    finish: Callable[[Any], None],
    marked_image: NDArray[np.uint8],
) -> Answered:
    """Viewer, dock and image after two answers; the rationale is "upper left: magenta"."""
    viewer, dock = make_dock(show=True)
    image = viewer.add_image(marked_image, rgb=True, scale=(0.5, 0.5), name="slide")
    # the marker at x 320..400, y 160..200 lies in the upper left ninth of this region
    viewer.add_shapes([box_to_data(Region(300, 140, 300, 240).box)], scale=(0.5, 0.5))
    dock.form.region_box.choose("shape")
    for task, words in (("detection", "marker"), ("vqa", "")):
        dock.form.task_box.choose(task)
        dock.form.options_edit.setText(words)
        dock.form.question_edit.setPlainText("Is there anything in the upper left?")
        dock.ask()
        finish(dock)
    return viewer, dock, image


def links_of(view: Any) -> list[tuple[str, str]]:
    """(target, words) of every link in a text view."""
    found = []
    block = view.document().begin()
    while block.isValid():
        pieces = block.begin()
        while not pieces.atEnd():
            part = pieces.fragment()
            if part.charFormat().isAnchor():
                found.append((part.charFormat().anchorHref(), part.text()))
            pieces += 1
        block = block.next()
    return found


def test_a_link_leads_to_its_place(answered: Answered) -> None:
    viewer, dock, image = answered
    assert links_of(dock.answer) == [("place:0", "upper left: magenta")]  # not in the question
    before = viewer.layers.selection.active.name
    for _ in range(2):
        dock.answer.anchorClicked.emit(QUrl("place:0"))
    (outline,) = [layer for layer in viewer.layers if layer.name == "cited place"]
    assert outline.data[0] == pytest.approx(box_to_data(Region(300, 140, 100, 80).box))
    corner = outline.data_to_world(outline.data[0][0])
    assert corner == pytest.approx(image.data_to_world((139.5, 299.5)))
    seen = region_in_view(viewer, image)
    assert seen.x <= 300
    assert seen.x + seen.width >= 400
    assert viewer.layers.selection.active.name == before
    dock.answer.anchorClicked.emit(QUrl("https://example.org"))  # leads nowhere


def test_a_box_selects_its_sentence(answered: Answered) -> None:
    viewer, dock, _ = answered
    (overlay,) = [layer for layer in viewer.layers if is_overlay(layer)]
    assert overlay.features["label"].tolist() == ["region", "marker", "region"]
    assert "yes" in dock.answer.toPlainText()
    overlay.selected_data = {0}  # a region: nothing is said of it
    assert not dock.answer.textCursor().hasSelection()
    overlay.selected_data = {1}
    assert dock.answer.textCursor().selectedText() == "upper left: magenta"
    assert "Find: marker" in dock.answer.toPlainText()  # the answer that the box belongs to
    assert dock.history.currentRow() == 0


def test_a_rationale_of_several_lines(answered: Answered) -> None:
    viewer, dock, image = answered
    first = dock.session.entries[0].result
    lines = replace(first.answer, rationale="upper left: magenta\nlower right: white")
    dock.session.add(replace(first, answer=lines), image.__wrapped__)
    dock.history.itemClicked.emit(dock.history.item(2))
    (overlay,) = [layer for layer in viewer.layers if layer.name.startswith("answers")]
    overlay.selected_data = {4}
    assert dock.answer.textCursor().selectedText() == "upper left: magenta"
    assert [words for _, words in links_of(dock.answer)][1] == "lower right: white"


def test_a_place_of_a_closed_image(answered: Answered, messages: list[Any]) -> None:
    viewer, dock, _ = answered
    viewer.layers.remove("slide")
    dock.answer.anchorClicked.emit(QUrl("place:0"))
    assert "was closed" in messages[-1][1]
