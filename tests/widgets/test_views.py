"""The windows of a large region in the Token budget dock: planned, priced, steered, realised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathreason.geometry import Box, Region
from napari_pathreason.models import TextForm, UnloadedWindows
from napari_pathreason.types import WindowChoice
from napari_pathreason.viewer import NEW_WINDOWS, box_to_data, picks_of

from .test_windows import Docked, click, docked, hover, tissue  # noqa: F401

Docks = tuple[Any, Any, Any, Any]


@pytest.fixture
def docks(docked: Docked, qtbot: Any) -> Docks:  # noqa: F811
    """Viewer, Ask dock, Token budget dock and slide, with a plan of windows unlike the others."""
    from napari_pathreason.widgets import BudgetWidget

    viewer, ask, image = docked
    dock = BudgetWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Token budget")
    dock.show()
    choose(dock, "surprise")
    planned(dock, qtbot)
    return viewer, ask, dock, image


def choose(dock: Any, policy: str) -> None:
    dock.policy_box.choose(policy)
    dock.policy_box.activated.emit(dock.policy_box.currentIndex())


def planned(dock: Any, qtbot: Any) -> None:
    """Wait until what the form says has a plan."""

    def done() -> bool:
        dock.look()
        return dock.views.plan is not None and not dock.views._planning

    qtbot.waitUntil(done, timeout=20_000)
    dock.look()
    qtbot.waitUntil(done, timeout=20_000)


def regions(dock: Any) -> list[Region]:
    return [one.region for one in dock.views.table.windows]


def test_windows_are_shown_before_anything_is_spent(docks: Docks, factory: Any) -> None:
    viewer, _, dock, _ = docks
    assert dock.pages.currentWidget() is dock.views
    page = dock.views
    assert [page.table.item(row, 0).text() for row in range(page.table.rowCount())] == [
        "window 1",
        "window 2",
    ]
    assert page.table.item(0, 3).text().startswith("unlike the others (")
    assert page.table.isColumnHidden(2)  # nothing has answered
    assert page.cost.text().startswith("2 windows, surprise: 72 of 432 visual tokens (17 %), about")
    assert "Mpx to decode" in page.cost.text()
    assert " s." not in page.cost.text()  # nothing is known of this machine yet
    assert viewer.layers["windows: slide"].visible
    assert not factory.made


def test_the_policy_and_the_budget_change_the_plan(docks: Docks, qtbot: Any) -> None:
    _, ask, dock, _ = docks
    choose(dock, "uniform")
    planned(dock, qtbot)
    assert dock.views.table.rowCount() == 12
    dock.views.budget_box.choose(64)
    dock.views.budget_box.activated.emit(0)
    planned(dock, qtbot)
    assert ask.form.budget_box.value == 64
    assert dock.views.plan.views.tokens <= 64
    choose(dock, "one_view")
    assert dock.pages.currentWidget() is dock.grid
    assert dock.session.windows.shown is None


def test_realised_after_the_answer(docks: Docks, finish: Callable[[Any], None], qtbot: Any) -> None:
    _, ask, dock, _ = docks
    ask.ask()
    finish(ask)
    dock.look()
    page = dock.views
    assert page.cost.text().startswith("2 windows read, surprise: 72 of 432 visual tokens")
    assert not page.table.isColumnHidden(2)
    assert {page.table.item(row, 2).text() for row in range(2)} == {
        "guess: 1 marker",
    }
    for _ in range(3):  # it stays until something else is wanted
        dock.look()
    assert dock.session.windows.entry == 1
    choose(dock, "uniform")
    planned(dock, qtbot)
    assert dock.session.windows.entry == 0
    assert page.cost.text().startswith("12 windows, uniform: 432 of 432")
    assert page.cost.text().endswith(" s.")  # by the answer before


def test_pin_raise_ban_and_clear(docks: Docks, qtbot: Any) -> None:
    _, _, dock, image = docks
    page, first = dock.views, regions(dock)[0]
    assert not page.buttons.pin.isEnabled()
    page.table.selectRow(0)
    assert page.picked == [first]
    page.buttons.ban.click()
    assert page.table.item(0, 0).text() == "left out"  # at once
    assert page.picked == []
    planned(dock, qtbot)
    said = dock.session.steering.choices_of(image.__wrapped__)
    assert said == (WindowChoice(first, 0),)
    assert first not in [view.region for view in page.plan.views.views]
    assert "By you: 1 left out." in page.cost.text()

    second = page.plan.views.views[0].region
    page.table.selectRow(1)
    assert page.picked == [second]
    page.pin_box.choose(16)
    page.buttons.pin.click()
    planned(dock, qtbot)
    view = next(view for view in page.plan.views.views if view.region == second)
    assert view.tokens == 16
    assert view.why.startswith("pinned by you; unlike the others (")
    place = regions(dock).index(second)
    page.table.selectRow(place)
    page.buttons.higher.click()
    planned(dock, qtbot)
    assert dock.session.steering.choices_of(image.__wrapped__)[-1] == WindowChoice(second, 32)

    for tokens in (25, 36):  # a budget of 32 is 25 tokens: above it comes native size
        view = next(view for view in page.plan.views.views if view.region == second)
        assert view.tokens == tokens
        page.table.selectRow(regions(dock).index(second))
        page.buttons.higher.click()
        planned(dock, qtbot)

    page.table.selectRow(regions(dock).index(second))
    page.buttons.release.click()
    planned(dock, qtbot)
    assert dock.session.steering.choices_of(image.__wrapped__) == (WindowChoice(first, 0),)
    page.clear_button.click()
    planned(dock, qtbot)
    assert regions(dock)[0] == first
    assert not page.clear_button.isEnabled()


def test_a_model_that_writes_its_windows_shows_them_once_it_is_asked(
    docks: Docks, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, dock, _ = docks
    unloaded = UnloadedWindows(TextForm(64, 24, "balanced"))
    monkeypatch.setattr("napari_pathreason.viewer._views.find_windows", lambda model: unloaded)
    choose(dock, "auto")
    words = "The model itself chooses the windows of a large region; ask to see them."

    def said() -> bool:
        dock.look()
        return bool(dock.views.cost.text() == words)

    qtbot.waitUntil(said, timeout=20_000)
    assert dock.views.plan is None


def test_a_click_on_the_slide_picks(
    docks: Docks, finish: Callable[[Any], None], qtbot: Any
) -> None:
    viewer, ask, dock, image = docks
    page = dock.views
    place = next(
        Region(x, y, 200, 200)
        for x in (0, 200, 400)
        for y in (0, 200)
        if all(abs(r.x - x) >= 200 or abs(r.y - y) >= 200 for r in regions(dock))
    )
    there = hover(viewer, image, place.x + 100, place.y + 100)
    page.hover(there)
    assert page.hover_line.text() == "No window is read here"
    click(viewer, there)
    assert page.picked == [place]
    click(viewer, there)  # once more: not any longer
    assert page.picked == []
    click(viewer, there)
    known = regions(dock)[0]
    click(viewer, hover(viewer, image, known.x + 10, known.y + 10))
    assert page.picked == [place, known]
    assert page.table.picked == [known]
    page.pin_box.choose(None)
    page.buttons.pin.click()
    assert place in regions(dock)
    planned(dock, qtbot)
    ask.ask()
    finish(ask)
    result = ask.session.entries[0].result
    assert [reading.view.region for reading in result.readings[:2]] == [place, known]
    assert result.request.windows == (WindowChoice(place), WindowChoice(known))


def test_a_drawn_rectangle_becomes_a_window(docks: Docks, qtbot: Any) -> None:
    viewer, ask, dock, image = docks
    page = dock.views
    viewer.layers.selection.active = image
    page.add_button.click()
    layer = picks_of(viewer, image, NEW_WINDOWS)
    assert viewer.layers.selection.active.name == layer.name
    assert str(layer.mode) == "add_rectangle"
    layer.add_rectangles([box_to_data(Box(-20, 310, 150, 120)), box_to_data(Box(5, 5, 3, 3))])
    planned(dock, qtbot)
    drawn = Region(0, 310, 130, 120)
    assert dock.session.steering.choices_of(image.__wrapped__) == (WindowChoice(drawn),)
    assert page.plan.views.views[0].region == drawn
    assert not len(layer.data)
    assert viewer.layers.selection.active.name == "slide"
    assert ask.form.image_box.image.name == "slide"


def test_the_region_stays_marked_while_windows_are_drawn(docks: Docks, qtbot: Any) -> None:
    viewer, ask, dock, image = docks
    viewer.add_shapes([box_to_data(Box(0, 0, 700, 500))], scale=(0.5, 0.5), name="regions")
    ask.form.region_box.choose("shape")
    planned(dock, qtbot)
    assert dock.session.windows.shown.region == Region(0, 0, 700, 500)
    dock.views.add_button.click()
    layer = picks_of(viewer, image, NEW_WINDOWS)
    layer.add_rectangles([box_to_data(Box(100, 100, 150, 150))])
    planned(dock, qtbot)
    assert dock.session.windows.shown.region == Region(0, 0, 700, 500)
    assert dock.views.plan.views.views[0].region == Region(100, 100, 150, 150)


def test_a_pinned_window_is_cut_to_what_is_asked_about(docks: Docks, qtbot: Any) -> None:
    viewer, ask, dock, image = docks
    page = dock.views
    page.add_button.click()
    layer = picks_of(viewer, image, NEW_WINDOWS)
    layer.add_rectangles([box_to_data(Box(560, 310, 200, 120))])
    planned(dock, qtbot)
    whole = Region(560, 310, 200, 120)
    assert page.plan.views.views[0].region == whole
    viewer.add_shapes([box_to_data(Box(0, 0, 700, 500))], scale=(0.5, 0.5), name="regions")
    ask.form.region_box.choose("shape")
    planned(dock, qtbot)
    part = Region(560, 310, 140, 120)
    assert page.plan.views.views[0].region == part
    assert [one.region for one in dock.session.windows.shown.windows].count(part) == 1
    page.table.selectRow(regions(dock).index(part))
    page.buttons.ban.click()  # in place of what was said of the whole
    assert dock.session.steering.choices_of(image.__wrapped__) == (WindowChoice(part, 0),)
    planned(dock, qtbot)
    page.table.selectRow(regions(dock).index(part))
    page.buttons.release.click()
    assert dock.session.steering.choices_of(image.__wrapped__) == ()


def test_why_a_window_was_read_stays_after_the_answer(
    docks: Docks, finish: Callable[[Any], None], qtbot: Any
) -> None:
    _, ask, dock, _ = docks
    page = dock.views
    page.table.selectRow(0)
    page.buttons.pin.click()
    planned(dock, qtbot)
    before = [page.table.item(row, 3).text() for row in range(page.table.rowCount())]
    assert before[0].startswith("pinned by you; unlike the others (")
    assert before[1].startswith("unlike the others (")
    ask.ask()
    finish(ask)
    dock.look()
    assert [page.table.item(row, 3).text() for row in range(len(before))] == before
    readings = ask.session.entries[0].result.readings
    assert [reading.view.why for reading in readings] == before


def test_the_map_can_be_taken_off_the_slide(docks: Docks, qtbot: Any) -> None:
    viewer, _, dock, _ = docks
    dock.views.show_box.setChecked(False)
    layer = viewer.layers["windows: slide"]
    assert not layer.visible
    choose(dock, "uniform")
    planned(dock, qtbot)
    assert not layer.visible
    assert dock.views.table.rowCount() == 12
    dock.views.show_box.setChecked(True)
    assert layer.visible


def test_a_row_leads_to_its_window(docks: Docks) -> None:
    from napari_pathreason.viewer import region_in_view

    viewer, _, dock, image = docks
    dock.views.table.cellDoubleClicked.emit(0, 0)
    seen, window = region_in_view(viewer, image), regions(dock)[0]
    assert seen.x <= window.x
    assert seen.width < 800


def test_an_answer_stays_while_the_view_moves(
    docks: Docks, finish: Callable[[Any], None], qtbot: Any
) -> None:
    viewer, ask, dock, _ = docks
    ask.form.region_box.choose("view")
    viewer.reset_view()
    for _ in range(2):
        dock.look()
    planned(dock, qtbot)
    ask.ask()
    finish(ask)
    dock.look()
    viewer.scene.camera.zoom *= 1.1
    for _ in range(3):
        dock.look()
    assert dock.session.windows.entry == 1
    dock.views.plan_button.click()
    qtbot.waitUntil(lambda: dock.session.windows.entry == 0, timeout=20_000)


def test_a_region_of_glass(
    docks: Docks,
    qtbot: Any,
    tissue: NDArray[np.uint8],  # noqa: F811
) -> None:
    viewer, _, dock, _ = docks
    white = viewer.add_image(np.full_like(tissue, 255), rgb=True, name="white")
    viewer.layers.selection.active = white

    def said() -> bool:
        dock.look()
        return "bare glass" in dock.views.cost.text()

    qtbot.waitUntil(said, timeout=20_000)
    assert dock.session.windows.shown is None


def test_a_slide_that_cannot_be_read(
    docks: Docks, qtbot: Any, monkeypatch: pytest.MonkeyPatch, messages: list[Any]
) -> None:
    from napari_pathreason.errors import SlideError

    def broken(*_: Any) -> None:
        raise SlideError("the slide is damaged; copy it again")

    _, _, dock, _ = docks
    monkeypatch.setattr("napari_pathreason.slides.Slide.read_region", broken)
    choose(dock, "uniform")
    qtbot.waitUntil(lambda: "copy it again" in dock.views.cost.text(), timeout=20_000)
    for _ in range(3):
        dock.look()  # it is not tried again and again
    assert not dock.views._planning
    assert not messages


def test_a_closed_dock_hears_no_more(
    docks: Docks, finish: Callable[[Any], None], qtbot: Any
) -> None:
    viewer, ask, dock, _ = docks
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.wait(50)
    ask.ask()
    finish(ask)
    assert ask.session.windows.entry == 1
    ask.session.steering.policy = "uniform"


def test_a_closed_slide_takes_its_windows_along(docks: Docks, qtbot: Any) -> None:
    viewer, _, dock, _ = docks
    viewer.layers.remove("slide")
    assert dock.session.windows.shown is None
    assert not viewer.layers["windows: slide"].visible
    assert dock.views.table.rowCount() == 0
    dock.look()
    assert dock.pages.currentWidget() is dock.grid
