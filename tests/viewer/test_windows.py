"""Windows of a region as a map over its slide, and what a user says of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from napari_pathreason.budgets import plan
from napari_pathreason.engine import Planned, cost_of, view_of
from napari_pathreason.errors import PathreasonError
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import (
    Allocation,
    Answer,
    Metadata,
    ModelDims,
    ModelInfo,
    Query,
    Reading,
    Reliability,
    Request,
    Result,
    View,
    Views,
    WindowChoice,
)
from napari_pathreason.viewer import (
    FRAMES,
    PICKED,
    STYLES,
    Entry,
    Preferences,
    Session,
    Steering,
    WindowLayer,
    WindowMap,
    choices_line,
    cost_line,
    kind_of,
    more_of,
    pace,
    reads_windows,
    realised_line,
    show_windows,
)

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 100)
MODEL = ModelInfo("fake", "qwen3_vl", "relative", DIMS, metadata=Metadata(window=500))
WHOLE = Region(100, 200, 2000, 1500)
RELIABLE, DOUBT = Reliability("reliable"), Reliability("uncertain", ("low confidence",))


def windows(*places: tuple[int, int], tokens: int = 64, first: int = 1) -> tuple[View, ...]:
    """Windows of 500 px at columns and rows of a side-by-side grid of `WHOLE`."""
    return tuple(
        replace(
            view_of(Region(100 + 500 * x, 200 + 500 * y, 500, 500), tokens, 32, "window"),
            number=number,
            why=f"reason {number}",
        )
        for number, (x, y) in enumerate(places, first)
    )


def reading(view: View, text: str = "2 tumour", how: Reliability = RELIABLE) -> Reading:
    answer = Answer("centre: crowded", text)
    return Reading((view,), answer, (), 0.83, how, visual_tokens=view.tokens - 4)


def views_of(*views: View) -> Views:
    return Views(views, 2900, 12 * 225, policy="surprise")


def part_of(value: int) -> tuple[int, int]:
    return divmod(value - 1, STYLES) if value else (-1, -1)


def middle(shown: WindowMap, region: Region) -> tuple[int, int]:
    """Part and style of the pixel in the middle of a region; -1 both where nothing is painted."""
    rows, columns = shown.values.shape
    y = int((region.y + region.height / 2 - shown.box.y) * rows / shown.box.h)
    x = int((region.x + region.width / 2 - shown.box.x) * columns / shown.box.w)
    return part_of(int(shown.values[y, x]))


def corner(shown: WindowMap, region: Region) -> tuple[int, int]:
    rows, columns = shown.values.shape
    y = round((region.y - shown.box.y) * rows / shown.box.h)
    x = round((region.x - shown.box.x) * columns / shown.box.w)
    return part_of(int(shown.values[y, x]))


def test_a_window_is_an_outline_until_it_is_read() -> None:
    first, second = windows((0, 0), (2, 1))
    shown = WindowMap(WHOLE, views_of(first, second), MODEL)
    kind = kind_of(first.tokens, 225)
    assert corner(shown, first.region) == (0, FRAMES + kind)
    assert middle(shown, first.region)[0] == -1
    shown.take(reading(first))
    assert middle(shown, first.region) == (0, kind)
    assert corner(shown, first.region) == (0, FRAMES + kind)
    assert middle(shown, second.region)[0] == -1
    assert shown.read == 1
    shown.finish()  # the other one is damaged
    assert shown.windows[1].state == "damaged"
    assert "damaged" in shown.explain(1)


def test_what_a_window_says() -> None:
    first, second = windows((0, 0), (2, 1))
    shown = WindowMap(WHOLE, views_of(first, second), MODEL)
    assert shown.explain(0) == f"Window 1: {first.tokens} visual tokens, reason 1, not read yet"
    shown.take(reading(first))
    shown.take(reading(second, "none found", DOUBT))
    assert shown.explain(0) == (
        f"Window 1: {first.tokens - 4} visual tokens, reason 1. 2 tumour, confidence 0.83. Reliable"
    )
    assert shown.explain(1).endswith("None found, confidence 0.83. Uncertain: low confidence")
    guess = replace(reading(first), reliability=Reliability("none", ("not trained on: x",)))
    shown.take(guess)
    assert shown.explain(0).endswith("Guess: 2 tumour. No reliable answer: not trained on: x")
    shown.take(replace(guess, answer=Answer("", "")))
    assert "could not be read" in shown.explain(0)
    together = Reading((first, second), Answer("", "yes"))
    shown.take(together)
    assert shown.explain(0).endswith("Read with 1 others in one prompt")


def test_choices_are_shown_before_they_are_planned() -> None:
    (first,) = windows((0, 0))
    banned, pinned = (one.region for one in windows((1, 0), (3, 2)))
    choices = (WindowChoice(banned, 0), WindowChoice(pinned, 128), WindowChoice(first.region, 32))
    shown = WindowMap(WHOLE, views_of(first), MODEL, choices)
    assert [one.name for one in shown.windows] == ["left out", "window 1", "window"]
    assert shown.explain(0) == "Left out by you"
    # 121 are what a budget of 128 is of such a window
    assert shown.explain(2) == "Window: 121 visual tokens, pinned by you, not read yet"
    assert middle(shown, banned) == (0, kind_of(0, 225))
    assert middle(shown, pinned)[0] == -1
    assert corner(shown, pinned) == (2, FRAMES + kind_of(128, 225))


def test_what_is_said_of_a_planned_window_shows_at_once() -> None:
    first, second = windows((0, 0), (2, 1))
    shown = WindowMap(WHOLE, views_of(first, second), MODEL)
    pin = WindowChoice(second.region, 16, second.why)
    steered = shown.with_choices([pin])
    assert steered.explain(0) == shown.explain(0)
    assert steered.explain(1) == "Window 2: 16 visual tokens, pinned by you; reason 2, not read yet"
    usual = shown.with_choices([WindowChoice(second.region)])
    assert usual.windows[1].view == replace(second, why="pinned by you")
    thin = WindowChoice(Region(300, 200, 20, 400))  # refused once it is planned
    assert len(shown.with_choices([thin]).windows) == 3


def test_places_without_a_window_can_be_picked() -> None:
    overview = view_of(WHOLE, 64, 32, "overview")
    (first,) = windows((0, 0))
    shown = WindowMap(WHOLE, views_of(overview, first), MODEL)
    assert shown.place_at(150, 250) == first.region
    assert shown.explain_place(150, 250) == shown.explain(1)
    assert shown.place_at(1700, 1200) == Region(1600, 1200, 500, 500)
    assert shown.explain_place(1700, 1200) == shown.explain(0)  # the overview shows it
    assert shown.place_at(99, 250) is None
    assert shown.explain_place(99, 250) == ""
    assert WindowMap(WHOLE, views_of(first), MODEL).explain_place(1700, 1200).startswith("No win")
    place = Region(1600, 1200, 500, 500)
    shown.select([place])
    assert corner(shown, place)[1] == PICKED
    shown.select([])
    assert corner(shown, place)[1] != PICKED


def test_a_second_round_goes_on_from_the_first() -> None:
    first, second = windows((0, 0), (2, 1), tokens=16)
    shown = WindowMap(WHOLE, views_of(first, second), MODEL)
    shown.take(reading(first))
    (finer,) = windows((0, 0), tokens=64, first=3)
    again = shown.planned_again(views_of(first, second, finer))
    assert [one.state for one in again.windows] == ["read", "waiting", "waiting"]
    again.take(reading(finer))
    assert again.at(150, 250) == 2  # the later one has the better word
    zoom = replace(view_of(Region(300, 300, 64, 64), 4, 32, "zoom"), number=4)
    again.take(reading(zoom))
    assert again.at(320, 320) == 3
    assert again.explain(3).startswith("Zoom 4: ")


def test_features_name_every_value() -> None:
    first, second = windows((0, 0), (2, 1))
    shown = WindowMap(WHOLE, views_of(first, second), MODEL)
    shown.take(reading(first))
    table = shown.features()
    assert {len(column) for column in table.values()} == {4}
    painted = set(np.unique(shown.values)) - {0}
    assert painted <= set(table["index"].tolist())
    assert table["window"][:2] == ["window 1", "window 2"]
    assert table["answer"][:2] == ["2 tumour", ""]


@settings(max_examples=60, deadline=None)
@example(600, 600, 1 - 2**-53, 1 - 2**-53)
@given(
    st.integers(600, 60_000),
    st.integers(600, 60_000),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_every_place_of_a_region_has_a_window(
    width: int, height: int, across: float, down: float
) -> None:
    region = Region(70, 30, width, height)
    shown = WindowMap(region, Views((), 1, 1), MODEL)
    assert max(shown.values.shape) <= 1024
    # the sum may be rounded to the far edge, which lies outside
    x = min(region.x + across * width, math.nextafter(region.x + width, 0))
    y = min(region.y + down * height, math.nextafter(region.y + height, 0))
    place = shown.place_at(x, y)
    assert place is not None
    x1, y1, x2, y2 = place.box.corners
    assert x1 - 1 <= x <= x2 + 1
    assert y1 - 1 <= y <= y2 + 1
    shown.select([place])
    assert corner(shown, place)[1] == PICKED


def test_steering_is_of_an_image() -> None:
    class Layer:
        pass

    steering, one, other = Steering(), Layer(), Layer()
    changes: list[int] = []
    steering.changed.connect(lambda: changes.append(1))
    first, second = Region(0, 0, 100, 100), Region(200, 0, 100, 100)
    steering.give(one, map(WindowChoice, (first, second)))  # type: ignore[arg-type]
    steering.give(one, [WindowChoice(first, 0)])  # type: ignore[arg-type]
    assert steering.choices_of(one) == (  # type: ignore[arg-type]
        WindowChoice(second, None),
        WindowChoice(first, 0),
    )
    assert choices_line(steering.choices_of(one)) == "1 pinned, 1 left out"  # type: ignore[arg-type]
    assert steering.choices_of(other) == ()  # type: ignore[arg-type]
    inside = steering.within(one, Region(0, 0, 120, 120))  # type: ignore[arg-type]
    assert inside == (WindowChoice(first, 0),)
    cut = Region(0, 0, 70, 120)
    (part,) = steering.within(one, cut)  # type: ignore[arg-type]
    assert part == WindowChoice(Region(0, 0, 70, 100), 0)
    steering.give(one, [WindowChoice(part.region, 16)], cut)  # type: ignore[arg-type]
    assert len(steering.choices_of(one)) == 2  # type: ignore[arg-type]
    steering.release(one, [part.region], cut)  # type: ignore[arg-type]
    assert steering.choices_of(one) == (WindowChoice(second),)  # type: ignore[arg-type]
    steering.give(one, [WindowChoice(first, 0)])  # type: ignore[arg-type]
    steering.release(one, [first])  # type: ignore[arg-type]
    steering.clear(one)  # type: ignore[arg-type]
    steering.clear(one)  # type: ignore[arg-type]  # nothing to clear
    steering.policy = "surprise"
    steering.policy = "surprise"
    assert len(changes) == 8


@pytest.fixture
def answered(make_result: Callable[..., Result]) -> Result:
    """Two windows of twelve, read one by one."""
    first, second = windows((0, 0), (2, 1))
    query = Query("detection", "", ("tumour",))
    result = make_result(WHOLE)
    return replace(
        result,
        query=query,
        model=MODEL,
        views=views_of(first, second),
        readings=(reading(first), reading(second)),
        unread=tuple(view.region for view in windows((1, 0), (3, 0), (0, 1), (1, 1), (3, 1))),
        request=Request(WHOLE, query, policy="surprise"),
        seconds={"generate": 0.5},
    )


def entry_of(result: Result, image: Any, former: Entry | None = None) -> tuple[Session, Entry]:
    session = Session(describe=lambda model: MODEL)
    return session, session.add(result, image, former)


@pytest.fixture
def canvas(make_napari_viewer_proxy: Callable[..., Any]) -> tuple[Any, Any]:
    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros((1700, 2100, 3), np.uint8), rgb=True, name="slide", scale=(0.5, 0.5))
    return viewer, viewer.layers[0].__wrapped__


def test_more_reads_as_many_again(canvas: Any, answered: Result) -> None:
    _, image = canvas
    session, entry = entry_of(answered, image)
    more = more_of(session, entry, Preferences())
    request = more.question.request
    spent = sum(view.tokens for view in answered.views.views)  # type: ignore[union-attr]
    assert request.budget == spent + 256  # four usual windows are more than the two were
    assert (request.policy, request.region) == ("surprise", WHOLE)
    assert more.question.before == answered.readings
    session.steering.give(image, [WindowChoice(answered.unread[2], 128)])
    pinned = more_of(session, entry, Preferences()).question.request
    assert pinned.windows == (WindowChoice(answered.unread[2], 128),)
    assert pinned.budget == spent + 256 + 128
    with pytest.raises(PathreasonError, match="all windows"):
        more_of(session, replace(entry, result=replace(answered, unread=())), Preferences())


def test_more_of_a_list_takes_the_next_windows(canvas: Any, answered: Result) -> None:
    _, image = canvas
    listed = tuple(WindowChoice(one.view.region, 64) for one in answered.readings)
    request = Request(WHOLE, answered.query, policy="listed", windows=listed)
    session, entry = entry_of(replace(answered, request=request), image)
    windows = more_of(session, entry, Preferences()).question.request.windows
    assert windows == (*listed, *(WindowChoice(region) for region in answered.unread[:4]))


def test_costs_in_words(answered: Result) -> None:
    views = answered.views
    assert views is not None
    cost = cost_of(views.views, MODEL, ((2100, 1700),))
    line = cost_line(Planned(Allocation(None, "rule"), views, cost), 2.0)
    assert line.startswith(f"2 windows, surprise: {views.tokens} of 2,700 visual tokens (")
    assert line.endswith(", about 2.0 s.")
    assert "GFLOPs" in line
    assert " s." not in cost_line(Planned(Allocation(None, "rule"), views, cost), None)
    realised = realised_line(answered)
    assert realised.startswith("2 windows read, surprise: 60 of 2,700 visual tokens (2 %)")
    assert realised.endswith(f"0.5 s; {views.tokens} planned.")


def test_pace_is_of_the_same_model_and_of_whole_answers(canvas: Any, answered: Result) -> None:
    _, image = canvas
    session, entry = entry_of(answered, image)
    assert pace(session.entries, MODEL) == pytest.approx(1.0 / 0.5)
    session.add(replace(answered, seconds={"generate": 9.0}), image, entry)
    assert pace(session.entries, MODEL) == pytest.approx(1.0 / 0.5)
    assert pace(session.entries, replace(MODEL, name="other")) is None


def test_which_regions_are_read_by_windows() -> None:
    small = Request(Region(0, 0, 900, 900), Query("vqa", "Is there tumour?"))
    assert not reads_windows(small, MODEL)
    assert reads_windows(replace(small, region=WHOLE), MODEL)
    assert not reads_windows(replace(small, region=WHOLE), None)
    assert not reads_windows(replace(small, region=Region(0, 0, 3, 3), budget=64), MODEL)
    holds = replace(MODEL, metadata=Metadata(window=500, max_visual_tokens=100))
    assert reads_windows(replace(small, budget=512), holds)
    assert not reads_windows(replace(small, budget=64), holds)


def test_the_layer_follows_what_is_read(canvas: Any, answered: Result) -> None:
    viewer, image = canvas
    views = answered.views
    assert views is not None
    viewer.add_shapes([[[0, 0], [0, 9], [9, 9], [9, 0]]], name="mine")
    layer = WindowLayer()
    changes: list[int] = []
    layer.changed.connect(lambda: changes.append(1))
    shown = WindowMap(WHOLE, views, MODEL)
    layer.show(viewer, image, shown)
    assert [one.name for one in viewer.layers] == ["slide", "windows: slide", "mine"]
    assert viewer.layers.selection.active.name == "mine"
    picture = viewer.layers[1]
    rows, columns = picture.data.shape
    low, high = (
        picture.data_to_world((-0.5, -0.5)),
        picture.data_to_world((rows - 0.5, columns - 0.5)),
    )
    assert low == pytest.approx(image.data_to_world((199.5, 99.5)))
    assert high == pytest.approx(image.data_to_world((1699.5, 2099.5)))
    before = np.count_nonzero(picture.data)
    layer.take(answered.readings[0])
    assert np.count_nonzero(picture.data) == before
    layer.refresh(viewer)
    assert np.count_nonzero(picture.data) > before
    assert len(changes) == 2
    layer.refresh(viewer)  # nothing new
    assert len(changes) == 2
    layer.hide(viewer)
    assert not picture.visible
    assert layer.shown is None
    layer.show(viewer, image, shown)
    assert picture.visible
    viewer.layers.remove(picture)  # what the user closed stays closed until the next windows
    layer.take(answered.readings[1])
    layer.refresh(viewer)
    assert len(viewer.layers) == 2


def test_windows_of_an_answer_and_of_one_picture(canvas: Any, answered: Result) -> None:
    viewer, image = canvas
    session, entry = entry_of(answered, image)
    show_windows(viewer, session, entry)
    assert session.windows.entry == 1
    assert session.windows.shown is not None
    assert session.windows.shown.read == 2
    one = session.add(replace(answered, views=None, readings=()), image)
    show_windows(viewer, session, one)
    assert session.windows.shown is None
    assert not viewer.layers["windows: slide"].visible


def test_a_window_that_covers_all_has_the_size_of_its_plan() -> None:
    whole = plan(WHOLE, 64, 32)
    view = View(WHOLE, whole.size, whole.tokens, "window", 1)
    shown = WindowMap(WHOLE, views_of(view), MODEL)
    assert shown.touched(Box(100, 200, 1, 1)) == [0]
    assert shown.touched(Box(0, 0, 50, 50)) == []
