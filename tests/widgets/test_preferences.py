"""Preferences at work in the docks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathreason.models import remember_model
from napari_pathreason.viewer import Compute
from napari_pathreason.widgets import CompareView

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]


@pytest.fixture
def section() -> Any:
    """What File > Preferences > PathReason sets."""
    from napari.settings import get_plugin_settings

    return get_plugin_settings("napari-pathreason").pathreason


def ask(dock: Any, finish: Wait) -> None:
    dock.form.region_box.choose("layer")
    dock.form.question_edit.setPlainText("Is it magenta?")
    dock.ask()
    finish(dock)


def test_other_preferences_reload_the_model_at_the_next_question(
    make_dock: Make, finish: Wait, factory: Any, section: Any, marked_image: NDArray[Any]
) -> None:
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    section.device = "cpu"
    ask(dock, finish)
    ask(dock, finish)
    assert factory.computes == [Compute("cpu")]
    section.threads, section.offline = 2, True
    assert len(factory.computes) == 1  # nothing is loaded before it is needed
    ask(dock, finish)
    assert factory.computes[1:] == [Compute("cpu", 2, True)]
    assert factory.made[0][1].performer.closed.is_set()
    section.encoder = "fast"
    ask(dock, finish)
    assert factory.computes[2:] == [Compute("cpu", 2, True, "fast")]
    section.effort = "high"  # is no matter of the model's process
    ask(dock, finish)
    assert len(factory.made) == 3


@pytest.mark.parametrize("effort", ["low", "balanced", "high"])
def test_effort_reaches_the_allocator(
    make_dock: Make,
    finish: Wait,
    section: Any,
    marked_image: NDArray[Any],
    factory: Any,
    effort: str,
) -> None:
    section.effort = effort
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    ask(dock, finish)
    assert factory.made[0][1].allocator.efforts == [effort]


@pytest.mark.parametrize("zoom", [True, False])
def test_a_zoom_is_the_users_choice(
    make_dock: Make,
    finish: Wait,
    section: Any,
    marked_image: NDArray[Any],
    factory: Any,
    zoom: bool,
) -> None:
    section.zoom = zoom
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    ask(dock, finish)
    assert [one.zoom for one in factory.made[0][1].performer.settings] == [zoom]


def test_a_bad_value_is_warned_of_once_and_the_question_is_answered(
    make_dock: Make,
    finish: Wait,
    factory: Any,
    section: Any,
    marked_image: NDArray[Any],
    messages: list[tuple[str, str]],
) -> None:
    section.model = "toaster"
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    ask(dock, finish)
    ask(dock, finish)
    assert [severity for severity, _ in messages] == ["warning"]
    assert "Model is 'toaster'; embedded is used" in messages[0][1]
    assert factory.computes == [Compute()]
    assert len(dock.session.entries) == 2


def test_the_preferred_model_is_offered_and_a_chosen_one_stays(
    make_dock: Make, section: Any, tmp_path: Any
) -> None:
    section.model = str(tmp_path)
    _, dock = make_dock()
    assert dock.form.model_box.model_id == str(tmp_path)
    section.model = "nobody/another"
    dock.session.inquiry.prefer(dock.session.preferences().model)
    assert dock.form.model_box.model_id == "nobody/another"
    dock.form.model_box.model_id = "embedded"
    section.model = str(tmp_path)
    dock.session.inquiry.prefer(dock.session.preferences().model)
    assert dock.form.model_box.model_id == "embedded"
    assert dock.form.model_box.offered == ["embedded", str(tmp_path), "nobody/another"]


def test_models_that_were_trained_here_are_offered(
    make_dock: Make, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATHREASON_HOME", str(tmp_path / "home"))
    (tmp_path / "kidney").mkdir()
    (tmp_path / "kidney/config.json").write_text("{}")
    remember_model(tmp_path / "kidney")
    _, dock = make_dock()
    assert dock.form.model_box.offered == ["embedded", str(tmp_path / "kidney")]
    assert dock.form.model_box.model_id == "embedded"


def test_compare_follows_them_too(
    make_dock: Make, factory: Any, section: Any, marked_image: NDArray[Any], qtbot: Any
) -> None:
    section.threads = 1
    viewer, dock = make_dock()
    viewer.add_image(np.tile(marked_image, (2, 2, 1)), rgb=True)
    dock.form.region_box.choose("layer")
    dock.form.question_edit.setPlainText("Is it magenta?")
    compare = CompareView(dock._viewer, dock.session)
    qtbot.addWidget(compare)
    compare.compare()
    qtbot.waitUntil(lambda: not compare.runner.running, timeout=20_000)
    assert factory.computes == [Compute(threads=1)]
    assert len(dock.session.entries) == 2


def test_a_slide_run_begins_with_them(make_dock: Make, section: Any) -> None:
    from napari_pathreason.widgets import SlideRunWidget

    section.model, section.effort = "nobody/model", "low"
    viewer, _ = make_dock()
    dock = SlideRunWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Slide run")
    assert dock.form.model_box.model_id == "nobody/model"
    assert dock.form.effort_box.currentData() == "low"


def test_they_stand_in_napari_s_own_dialog(
    make_dock: Make, section: Any, qtbot: Any, messages: list[tuple[str, str]]
) -> None:
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog

    make_dock()
    dialog = PreferencesDialog()
    qtbot.addWidget(dialog)
    pages = [dialog._list.item(i).text() for i in range(dialog._list.count())]
    page = dialog._stack.widget(pages.index("PathReason")).widget()
    from qtpy.QtWidgets import QComboBox, QLabel

    shown = {label.text() for label in page.findChildren(QLabel)}
    assert {"Device", "Encoder", "Model", "CPU threads (0", "Effort"} <= {
        name.partition(":")[0] for name in shown
    }
    device, encoder, precision, effort = page.findChildren(QComboBox)
    assert device.findText("cuda:1") > 0
    encoder.setCurrentText("fast")
    precision.setCurrentText("bfloat16")
    effort.setCurrentText("low")
    assert (section.encoder, section.precision, section.effort) == ("fast", "bfloat16", "low")
    dialog.reject()  # Cancel brings back what was there
    assert (section.encoder, section.precision, section.effort) == ("exact", "auto", "balanced")
