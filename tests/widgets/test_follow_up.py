"""A follow-up question in the dock: the same pictures, all that was said, shown and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.widgets.test_ask import ask_question

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]
Array = NDArray[np.uint8]


def test_a_follow_up_is_about_what_the_answer_saw(
    make_dock: Make, finish: Wait, marked_image: Array, factory: Any
) -> None:
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    assert not dock.follow_button.isEnabled()
    ask_question(dock)
    finish(dock)
    assert dock.follow_button.isEnabled()
    dock.form.question_edit.setPlainText("How sure are you?")
    dock.form.region_box.choose("view")  # means nothing to it
    dock.follow_button.click()
    assert not dock.follow_button.isEnabled()
    finish(dock)
    first, second = dock.session.entries
    thread = second.result.request.thread
    assert [turn.query.question for turn in thread.turns] == ["Is it magenta?"]
    assert thread.turns[0].reply == first.result.answer.reply
    assert second.result.region == first.result.region
    ((_, models),) = factory.made
    one, other = models.performer.seen
    assert (one == other).all()
    assert second.former is None
    text = dock.answer.toPlainText()
    assert "Is it magenta? \N{RIGHTWARDS ARROW} yes" in text
    assert "How sure are you?" in text
    assert dock.history.item(1).text().startswith("2: follow-up: How sure are you?")
    dock.follow_button.click()
    finish(dock)
    last = dock.session.entries[-1].result
    assert len(last.request.thread.turns) == 2
    ask_question(dock)  # a new question starts over
    finish(dock)
    assert dock.session.entries[-1].result.request.thread is None


def test_what_is_missing_is_a_hint(make_dock: Make, finish: Wait, marked_image: Array) -> None:
    viewer, dock = make_dock()
    image = viewer.add_image(marked_image, rgb=True)
    ask_question(dock)
    finish(dock)
    dock.form.question_edit.setPlainText(" ")
    dock.follow_button.click()
    assert "The question is empty" in dock.answer.toPlainText()
    dock.form.question_edit.setPlainText("Why?")
    viewer.layers.remove(image)
    dock.follow_button.click()
    assert "was closed" in dock.answer.toPlainText()
    assert len(dock.session.entries) == 1
