"""How far an answer may be relied on, as the docks and the canvas say it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.utils.colormaps.standardize_color import transform_color
from napari.utils.theme import get_theme
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QColor, QFont, QPalette
from qtpy.QtWidgets import QLabel

from napari_pathreason.geometry import Box
from napari_pathreason.types import (
    Answer,
    Calibration,
    Detection,
    Metadata,
    ModelInfo,
    Query,
    Reliability,
    Topic,
)
from napari_pathreason.viewer import LEVELS, is_overlay
from napari_pathreason.widgets import ReliabilityStrip

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]
YES_NO = ("yes", "no")
RAW = '<think>crowded</think><answer>[{"bbox_2d":[0,0,670,1000],"label":"tum'


def topic(name: str, form: Any, query: Query, *words: str) -> Topic:
    return Topic(name, form, frozenset(words), query)


METADATA = Metadata(
    topics=(
        topic("presence", "yes/no", Query("vqa", "Is it magenta?", YES_NO), "magenta"),
        topic("markers", "boxes", Query("detection", "", ("marker",)), "marker"),
    ),
    labels=("marker",),
)


@pytest.fixture
def info(factory: Any) -> ModelInfo:
    """What the fake model says of itself, which is calibrated and confident."""
    factory.confident = True
    factory.info = replace(factory.info, calibration=Calibration(), metadata=METADATA)
    return factory.info


@pytest.fixture
def dock(make_dock: Make, info: ModelInfo, marked_image: NDArray[np.uint8]) -> tuple[Any, Any]:
    """Viewer and dock, ready to be asked about a picture."""
    viewer, dock = make_dock()
    dock.session.describe = lambda model_id: info
    viewer.add_image(marked_image, rgb=True)
    dock.form.region_box.choose("layer")
    return viewer, dock


def ask(dock: Any, finish: Wait, query: Query) -> Any:
    dock.form.fill(query)
    dock.ask()
    finish(dock)
    return dock.session.entries[-1].result


def bold(view: Any) -> list[str]:
    """Pieces of text that are set in bold."""
    found, block = [], view.document().begin()
    while block.isValid():
        pieces = block.begin()
        while not pieces.atEnd():
            if pieces.fragment().charFormat().fontWeight() >= QFont.Bold:
                found.append(pieces.fragment().text())
            pieces += 1
        block = block.next()
    return found


def captions(viewer: Any) -> list[str]:
    (overlay,) = [layer for layer in viewer.layers if is_overlay(layer)]
    return [str(caption) for caption in overlay.features["caption"]]


def test_a_reliable_answer(dock: Any, finish: Wait) -> None:
    viewer, dock = dock
    ask(dock, finish, Query("vqa", "Is it magenta?", YES_NO))
    assert not dock.reliability.isHidden()
    assert dock.reliability.text == "Reliable"
    assert bold(dock.answer) == ["yes"]
    assert "Confidence: high (100 %" in dock.answer.toPlainText()
    assert dock.history.item(0).text().endswith("\N{RIGHTWARDS ARROW} yes")
    assert captions(viewer) == ["1"]


def test_an_uncertain_answer_says_why(dock: Any, finish: Wait, factory: Any) -> None:
    viewer, dock = dock
    factory.info = replace(factory.info, calibration=None)
    ask(dock, finish, Query("vqa", "Is it magenta?", YES_NO))
    assert dock.reliability.text == (
        "Uncertain: nobody has measured how reliable this model is; `pathreason calibrate` does"
    )
    assert bold(dock.answer) == ["yes"]
    assert dock.history.item(0).text().endswith("yes (uncertain)")
    assert "nobody has measured" in dock.history.item(0).toolTip()
    assert captions(viewer) == ["1?"]


def test_where_there_is_no_reliable_answer_the_guess_stands_small(dock: Any, finish: Wait) -> None:
    viewer, dock = dock
    ask(dock, finish, Query("vqa", "Is there necrosis?", YES_NO))
    assert dock.reliability.text == "No reliable answer: not trained on: necrosis"
    text = dock.answer.toPlainText()
    assert "Guess: yes" in text
    assert "onfidence" not in text
    assert bold(dock.answer) == []
    shown = dock.history.item(0).text()
    assert shown.endswith("No reliable answer (guess: yes)")
    assert "not trained on: necrosis" in dock.history.item(0).toolTip()
    assert captions(viewer) == ["1 (unreliable)"]


def test_going_back_brings_each_answers_own_reliability(dock: Any, finish: Wait) -> None:
    _, dock = dock
    ask(dock, finish, Query("vqa", "Is it magenta?", YES_NO))
    ask(dock, finish, Query("vqa", "Is there necrosis?", YES_NO))
    dock.history.itemClicked.emit(dock.history.item(0))
    assert dock.reliability.text == "Reliable"
    dock.history.itemClicked.emit(dock.history.item(1))
    assert dock.reliability.text.startswith("No reliable answer")
    dock.ask()
    assert dock.reliability.isHidden()  # nothing is said of an answer that is being written
    finish(dock)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (Query("detection", "", ("marker",)), "Unknown: the reply could not be read."),
        (Query("vqa", "Is it magenta?", YES_NO), "The model's reply could not be read."),
    ],
)
def test_a_reply_that_cannot_be_read_is_no_answer(
    dock: Any, finish: Wait, query: Query, words: str
) -> None:
    viewer, dock = dock
    known = ask(dock, finish, Query("vqa", "Is it magenta?", YES_NO))
    unread = replace(
        known,
        query=query,
        answer=Answer("crowded", "", (), False, RAW),
        detections=(Detection("marker", Box(1, 2, 3, 4)),),
        reliability=Reliability("none", ("the model's reply could not be read",)),
    )
    dock.session.add(unread, dock.form.image_box.image)
    dock.history.itemClicked.emit(dock.history.item(1))
    assert dock.reliability.text == "No reliable answer: the model's reply could not be read"
    text = dock.answer.toPlainText()
    assert words in text
    assert "none found" not in text
    assert "bbox" not in text  # until it is wanted
    dock.answer.anchorClicked.emit(QUrl("reply:"))
    assert RAW in dock.answer.toPlainText()
    assert bold(dock.answer) == []
    dock.answer.anchorClicked.emit(QUrl("reply:"))
    assert "bbox" not in dock.answer.toPlainText()
    shown = dock.history.item(1).text()
    assert words.removesuffix(".") in shown
    assert "bbox" not in shown
    (overlay,) = [layer for layer in viewer.layers if is_overlay(layer)]
    assert overlay.features["label"].tolist() == ["region", "region"]


@pytest.mark.parametrize(
    "reply",
    [
        '<think>crowded nuclei</think><answer>[{"bbox_2d": [1, 2, 3, 4]}]</answer>',
        '[{"bbox_2d":[0,0,670,1000],"label":"tumour"}]',
        '<think>[{"bbox_2d":[0,0,670,1000]}]</think><answer>yes</answer>',
        '```json\n[{"bbox_2d": [1, 2, 3, 4]}]\n```',
    ],
)
@pytest.mark.parametrize("task", ["vqa", "detection"])
def test_neither_tags_nor_json_are_shown_while_it_writes(dock: Any, reply: str, task: Any) -> None:
    _, dock = dock
    dock.answer.begin(Query(task, "What is it?", ("marker",) if task == "detection" else ()))
    for letter in reply:
        dock.answer.write(letter)
        text = dock.answer.toPlainText()
        assert not any(part in text for part in ("<", "bbox", "[", "{", "`"))
        assert bold(dock.answer) == []


def test_boxes_that_may_not_be_relied_on_are_greyed_and_say_so(dock: Any, finish: Wait) -> None:
    viewer, dock = dock
    ask(dock, finish, Query("detection", "", ("marker",)))
    (overlay,) = [layer for layer in viewer.layers if is_overlay(layer)]
    known = dock.session.entries[0].result
    assert known.reliability.level == "reliable"
    doubted = replace(
        known,
        detections=(Detection("marker", Box(10, 20, 30, 40)),),
        reliability=Reliability("none", ("unlike the training images", "low confidence")),
    )
    dock.session.add(doubted, dock.form.image_box.image)
    dock.history.itemClicked.emit(dock.history.item(1))
    assert overlay.features["caption"].tolist() == [
        "1, 2 (unreliable)",
        "1: marker",
        "",
        "2: marker (unreliable)",
    ]
    assert overlay.features["reliability"].tolist() == ["reliable"] * 2 + ["none"] * 2
    assert overlay.features["reasons"][3] == "unlike the training images | low confidence"
    assert overlay.edge_color[3] == pytest.approx(transform_color("#5f6368")[0])
    assert list(overlay.face_color[:, 3] > 0) == [False, False, False, True]


def test_a_place_that_a_guess_cites_is_grey(dock: Any, finish: Wait) -> None:
    viewer, dock = dock
    for question in ("Is it magenta?", "Is there necrosis?", "Is it magenta?"):
        ask(dock, finish, Query("vqa", question, YES_NO))
        dock.answer.anchorClicked.emit(QUrl("place:0"))
        (outline,) = [one for one in viewer.layers if one.name.startswith("cited place")]
        doubted = "necrosis" in question
        assert outline.name == ("cited place (unreliable)" if doubted else "cited place")
        grey = transform_color("#5f6368")[0]
        assert np.allclose(outline.edge_color[0], grey) is doubted


def test_compared_answers_say_how_reliable_they_are(dock: Any, finish: Wait, qtbot: Any) -> None:
    from napari_pathreason.widgets import BudgetWidget

    viewer, dock = dock
    budget = BudgetWidget(viewer)
    viewer.window.add_dock_widget(budget, name="Token budget")
    dock.form.fill(Query("vqa", "Is there necrosis?", YES_NO))
    budget.look()
    assert budget.outlook_line.words.startswith("Not trained on: necrosis.")
    budget.compare.check([16, 64])
    budget.compare.compare()
    qtbot.waitUntil(budget.compare.compare_button.isEnabled, timeout=20_000)
    row = [budget.compare.table.item(0, column).text() for column in range(4)]
    assert row == ["16", "Guess: yes", *["\N{EN DASH}"] * 2]  # no confidence in a guess
    spoken = budget.compare.table.item(0, 1).data(Qt.AccessibleTextRole)
    assert spoken == "No reliable answer: Guess: yes"
    tip = budget.history.table.item(0, 0).toolTip()
    assert tip.endswith("No reliable answer: not trained on: necrosis")


def html_of(strip: Any) -> str:
    """The words of a strip as they are set."""
    return "".join(label.text() for label in strip.findChildren(QLabel))


def test_reasons_wrap_and_very_long_ones_stand_in_the_tip(qtbot: Any) -> None:
    strip = ReliabilityStrip()
    qtbot.addWidget(strip)
    strip.resize(300, 100)
    strip.show_reliability(Reliability("uncertain", ("low confidence",)))
    low = strip.sizeHint().height()
    reasons = tuple(f"reason {number} of very many, none of them short" for number in range(9))
    strip.show_reliability(Reliability("uncertain", reasons))
    assert strip.sizeHint().height() > low
    assert "reason 8" in strip.toolTip()
    assert "reason 8" in strip.text
    assert "reason 8" not in html_of(strip)
    assert "\N{HORIZONTAL ELLIPSIS}" in html_of(strip)


def test_a_slide_run_says_first_how_many_tiles_are_reliable(qtbot: Any) -> None:
    strip = ReliabilityStrip()
    qtbot.addWidget(strip)
    why = "low confidence (2 of 40 tiles)"
    strip.show_tiles(Reliability("uncertain", (why,)), "38 of 40 tiles reliable, 2 uncertain")
    assert strip.text == "38 of 40 tiles reliable: 2 uncertain"
    assert why in strip.toolTip()


def luminance(color: QColor) -> float:
    parts = [part / 255 for part in color.getRgb()[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def colors_of(level: Any, theme: str, qtbot: Any) -> tuple[str, QColor]:
    """Colour of a level's words, and the tint of their ground, on a dock of a theme."""
    strip = ReliabilityStrip()
    qtbot.addWidget(strip)
    palette = QPalette()
    palette.setColor(QPalette.WindowText, QColor("white" if theme == "dark" else "black"))
    strip.setPalette(palette)
    strip.show_reliability(Reliability(level))
    (words,) = re.findall(r"color: (#[0-9a-f]{6})", html_of(strip))
    (tint,) = re.findall(r"rgba\((\d+), (\d+), (\d+), (\d+)\)", strip.styleSheet())
    return words, QColor(*map(int, tint))


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("level", LEVELS)
def test_levels_are_legible_in_both_themes(theme: str, level: Any, qtbot: Any) -> None:
    words, tint = colors_of(level, theme, qtbot)
    ground = np.asarray(QColor(get_theme(theme).background.as_hex()).getRgb()[:3])
    sign = np.asarray(tint.getRgb()[:3])
    tinted = QColor(*(int(v) for v in ground + (sign - ground) * tint.alphaF()))
    for behind in (tinted, QColor(*map(int, ground))):  # the strip, and the line in the form
        low, high = sorted((luminance(QColor(words)), luminance(behind)))
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_colours_follow_the_theme(dock: Any, finish: Wait, qtbot: Any) -> None:
    viewer, dock = dock
    dock.form.fill(Query("vqa", "Is there necrosis?", YES_NO))
    dock.reliability.show_reliability(Reliability("none", ("not trained on: necrosis",)))
    dark, light = (colors_of("none", theme, qtbot)[0] for theme in ("dark", "light"))
    assert dark != light
    for theme, color in (("light", light), ("dark", dark)):
        viewer.theme = theme
        qtbot.waitUntil(lambda color=color: color in html_of(dock.reliability))
        assert color in dock.form.outlook_line.text()
