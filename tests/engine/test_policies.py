"""Which windows policies choose, within a budget and without one."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_pathreason.engine import Scene, State, lay_grid, overview_size, policy_named
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import Answer, Detection, Query, Reading, View

BUDGETS = (4, 8, 16, 32, 64, 128, 256)
FIND = Query("detection", options=("tumour",))
COUNT = Query("vqa", "How many nuclei are there?")
NAMES = ("uniform", "random", "surprise", "again", "table", "listed")


def scene(rows=4, columns=4, odd=((4, 10),), glass=0):
    grid = lay_grid(Region(0, 0, 512 * columns, 512 * rows), 512, 32)
    width, height = overview_size(grid)
    overview = np.random.default_rng(1).integers(150, 170, (height, width, 3), dtype=np.uint8)
    cell = height // (grid.rows + 1)
    for row, column in odd:
        overview[row * cell : (row + 2) * cell, column * cell : (column + 2) * cell, 1] -= 70
    overview[:, : glass * cell] = 255
    return Scene(grid, overview)


def state(query=FIND, left=None, on=None, **fields):
    return State(query, on or scene(), BUDGETS, left, **fields)


def reading(region, tokens, boxes=0, answer="none found", confidence=0.9):
    found = tuple(Detection("tumour", Box(region.x, region.y, 9, 9)) for _ in range(boxes))
    view = View(region, (64, 64), tokens, "window", 1)
    return Reading((view,), Answer("", answer), found, confidence, visual_tokens=tokens)


@given(st.sampled_from(NAMES), st.integers(4, 20_000), st.integers(0, 5))
def test_no_policy_spends_more_than_it_may(name, left, seed):
    choice = policy_named(name).choose(state(left=left, seed=seed))
    assert sum(pick.tokens for pick in choice.picks) <= left
    assert all(pick.tokens in BUDGETS for pick in choice.picks)
    regions = [pick.region for pick in choice.picks]
    assert len(set(regions)) == len(regions)
    assert not set(regions) & set(choice.order)


def test_uniform_reads_all_windows_alike():
    choice = policy_named("uniform").choose(state())
    assert len(choice.picks) == 16
    assert {pick.tokens for pick in choice.picks} == {64}
    assert not choice.order
    assert {pick.tokens for pick in policy_named("uniform").choose(state(COUNT)).picks} == {16}


@pytest.mark.parametrize(
    ("left", "count", "tokens"), [(4096, 16, 256), (1024, 16, 64), (128, 8, 16)]
)
def test_uniform_spends_a_budget_on_all_or_on_evenly_spread_ones(left, count, tokens):
    choice = policy_named("uniform").choose(state(left=left))
    assert len(choice.picks) == count
    assert {pick.tokens for pick in choice.picks} == {tokens}
    assert len(choice.order) == 16 - count
    if count < 16:
        assert len({pick.region.y for pick in choice.picks}) == 4


def test_random_windows_hang_on_the_seed_alone():
    def regions(seed):
        choice = policy_named("random").choose(state(left=256, seed=seed))
        return [pick.region for pick in choice.picks]

    assert regions(1) == regions(1)
    assert len({tuple(regions(seed)) for seed in range(5)}) > 1
    assert len(regions(0)) == 4


def test_surprise_reads_what_is_unlike_the_others_first():
    choice = policy_named("surprise").choose(state(on=scene(8, 8)))
    first = choice.picks[0]
    assert (first.region.x, first.region.y) == (10 * 256, 4 * 256)
    assert "unlike the others" in first.why
    assert len(choice.picks) == 8  # an eighth of 64
    assert choice.flops > 0


@pytest.mark.parametrize(("effort", "count"), [("low", 4), ("balanced", 8), ("high", 16)])
def test_effort_says_how_many(effort, count):
    choice = policy_named("surprise").choose(state(on=scene(8, 8), effort=effort))
    assert len(choice.picks) == count


def test_chosen_windows_show_little_twice():
    picks = policy_named("surprise").choose(state(on=scene(8, 8), left=64 * 30)).picks
    boxes = [pick.region for pick in picks]
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            width = min(a.x, b.x) + 512 - max(a.x, b.x)
            height = min(a.y, b.y) + 512 - max(a.y, b.y)
            assert max(0, width) * max(0, height) <= 0.25 * 512**2


@pytest.mark.parametrize("left", [None, 64, 640])
def test_surprise_orders_all_windows_whatever_may_be_spent(left):
    """Whoever goes on reads on in one and the same order to the last window."""
    on = scene(16, 16)
    choice = policy_named("surprise").choose(state(on=on, left=left))
    whole = [*(pick.region for pick in choice.picks), *choice.order]
    most = policy_named("surprise").choose(state(on=on, left=64 * 10_000))
    assert whole == [pick.region for pick in most.picks]
    assert not most.order
    boxes = np.array([region.box.corners for region in whole])
    centres = [on.grid.window(int(place)).box for place in on.grid.cover]
    for box in centres:  # nothing worth reading lies far off all of them
        x, y = box.x + box.w / 2, box.y + box.h / 2
        near = (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])
        assert near.any()


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 40))
@pytest.mark.slow
def test_what_shows_much_of_a_pin_is_not_chosen(x, y, place):
    on = scene(8, 8)
    taken = (Region(x, y, 512, 512), on.grid.window(place))
    for region in policy_named("surprise").choose(state(on=on, left=640, taken=taken)).order:
        for other in taken:
            width = min(region.x, other.x) + 512 - max(region.x, other.x)
            height = min(region.y, other.y) + 512 - max(region.y, other.y)
            assert max(0, width) * max(0, height) <= 0.25 * 512**2


def test_glass_is_never_read():
    on = scene(4, 4, glass=4)
    for name in NAMES:
        for pick in policy_named(name).choose(state(on=on, left=4096)).picks:
            assert pick.region.x >= 512


def test_what_was_taken_is_not_chosen_again():
    taken = (Region(10 * 256, 4 * 256, 512, 512),)
    picks = policy_named("surprise").choose(state(on=scene(8, 8), left=64, taken=taken)).picks
    assert picks[0].region != taken[0]
    picks = policy_named("uniform").choose(state(left=4096, taken=(Region(0, 0, 512, 512),))).picks
    assert len(picks) == 15


class TestAgain:
    def test_first_all_coarsely_with_half_of_the_budget(self):
        choice = policy_named("again").choose(state(left=1024))
        assert len(choice.picks) == 16
        assert {pick.tokens for pick in choice.picks} == {16}

    def test_then_what_was_positive_finer(self):
        on = scene()
        windows = [on.grid.window(int(place)) for place in on.cover]
        readings = tuple(reading(w, 16, boxes=i == 5) for i, w in enumerate(windows))
        choice = policy_named("again").choose(
            state(on=on, left=512, readings=readings, taken=tuple(windows))
        )
        (pick,) = choice.picks
        assert pick.region == windows[5]
        assert pick.tokens == 256
        assert "window 1 showed" in pick.why

    def test_doubt_is_read_again_in_words(self):
        on = scene()
        windows = [on.grid.window(int(place)) for place in on.cover]
        query = Query("vqa", "Is there tumour?", ("yes", "no"))
        readings = tuple(
            reading(w, 16, answer="no", confidence=0.3 if i == 2 else 0.99)
            for i, w in enumerate(windows)
        )
        choice = policy_named("again").choose(
            state(query, on=on, readings=readings, taken=tuple(windows))
        )
        assert [pick.region for pick in choice.picks] == [windows[2]]
        assert "doubtful" in choice.picks[0].why

    def test_it_ends_where_nothing_calls_for_more(self):
        on = scene()
        windows = [on.grid.window(int(place)) for place in on.cover]
        readings = tuple(reading(w, 16) for w in windows)
        choice = policy_named("again").choose(state(on=on, readings=readings, taken=tuple(windows)))
        assert not choice.picks


def test_the_table_goes_by_the_kind_of_answer():
    table = policy_named("table")
    assert len(table.choose(state(COUNT)).picks) == 16
    assert {pick.tokens for pick in table.choose(state(FIND)).picks} == {16}
    kinds = Query("subtyping", "", ("adenocarcinoma", "squamous cell carcinoma"))
    (first, _) = table.choose(state(kinds)).picks
    assert "unlike the others" in first.why
    vote = Query("vqa", "Are the nuclei dense or sparse?", ("dense", "sparse", "cannot tell"))
    assert {pick.tokens for pick in table.choose(state(vote)).picks} == {16}
    assert len(table.choose(state(vote)).picks) == 16
    assert policy_named("auto").name == "table"


def test_a_slide_too_large_to_be_read_coarsely_is_read_where_it_is_unlike_the_rest():
    on = scene(40, 40, odd=((30, 30),))
    picks = policy_named("again").choose(state(on=on, effort="low")).picks
    assert len(picks) == 32  # half of 1,024 tokens
    assert picks[0].region == Region(30 * 256, 30 * 256, 512, 512)


def test_a_list_is_all_that_is_read():
    choice = policy_named("listed").choose(state(left=4096))
    assert not choice.picks
    assert len(choice.order) == 16


def test_without_a_budget_a_whole_slide_has_an_end():
    on = scene(40, 40)
    for name, most in (("uniform", 4096), ("again", 2048), ("surprise", 4096)):
        picks = policy_named(name).choose(state(on=on)).picks
        assert 0 < sum(pick.tokens for pick in picks) <= most
