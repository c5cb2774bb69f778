"""Where in a region something is, from what windows say."""

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.geometry import Region
from napari_pathreason.tasks import (
    PLACES,
    aggregate,
    asks_most,
    asks_place,
    combine_places,
    place_at,
)
from napari_pathreason.types import Answer, Query, Reading, View

REGION = Region(100, 200, 1600, 1600)
WINDOWS = [Region(100 + 400 * x, 200 + 400 * y, 400, 400) for y in range(4) for x in range(4)]
WHERE = Query("vqa", "Where is the tumour?", (*PLACES, "nowhere"))
CORNERS = Query("vqa", "Where are most nuclei?", ("upper left", "upper right", "lower left"))


def answers(**at):
    """Nowhere but in the windows named ``w<number>``."""
    return [(at.get(f"w{i}", "nowhere"), 0.9) for i in range(16)]


@pytest.mark.parametrize(
    ("window", "place", "wanted"),
    [
        (0, "upper left", "upper left"),
        (0, "lower right", "upper left"),
        (5, "lower right", "centre"),
        (15, "centre", "lower right"),
        (3, "centre", "upper right"),
        (4, "centre left", "centre left"),
    ],
)
def test_a_place_in_a_window_is_one_of_the_region(window, place, wanted):
    told = combine_places(answers(**{f"w{window}": place}), WINDOWS, REGION, WHERE.options)
    assert (told.text, told.support, told.contradictions) == (wanted, (window,), "")
    assert told.confidence == 0.9


def test_nowhere_takes_all_windows():
    told = combine_places(answers(), WINDOWS, REGION, WHERE.options)
    assert told.text == "nowhere"
    assert set(told.support) == set(range(16))


def test_several_places_are_said_and_the_likelier_one_counts():
    several = answers(w0="centre", w1="upper left", w15="centre")
    told = combine_places(several, WINDOWS, REGION, WHERE.options)
    assert told.text == "upper left"
    assert "1 in the lower right" in told.contradictions


@given(st.integers(0, 15), st.sampled_from(PLACES))
def test_the_point_that_a_window_means_lies_at_the_place(window, place):
    row, column = divmod(PLACES.index(place), 3)
    own = WINDOWS[window]
    x, y = own.x + 400 * (2 * column + 1) / 6, own.y + 400 * (2 * row + 1) / 6
    told = combine_places(answers(**{f"w{window}": place}), WINDOWS, REGION, WHERE.options)
    assert told.text == PLACES[place_at(x, y, REGION)]


def test_which_questions_ask_for_places():
    assert asks_place(WHERE)
    assert not asks_most(WHERE)
    assert asks_most(CORNERS)
    assert not asks_place(Query("vqa", "Is it?", ("yes", "no")))
    assert not asks_place(Query("vqa", "Where?"))
    assert not asks_place(Query("vqa", "Which?", ("nowhere", "no tumour")))


def test_an_aggregate_speaks_of_the_region():
    readings = [
        Reading((View(one, (64, 64), 4, "window", i + 1),), Answer("seen", text), (), 0.9)
        for i, (one, (text, _)) in enumerate(zip(WINDOWS, answers(w12="centre"), strict=True))
    ]
    told = aggregate(WHERE, readings, REGION)
    assert told.answer.text == "lower left"
    assert told.answer.rationale == "window 13: seen"
