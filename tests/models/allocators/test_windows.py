"""A learned allocator of windows: what it takes and spends, and that it lies beside a model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from napari_pathreason.engine import Grid, Scene, State, lay_grid, overview_size
from napari_pathreason.errors import ModelError
from napari_pathreason.geometry import Box, Region
from napari_pathreason.models import (
    LEVELS,
    SHAPES,
    FixedAllocator,
    Offer,
    WindowAllocator,
    WindowInputs,
    expected,
    gains,
    load_windows,
    near_windows,
    new_weights,
    save_windows,
    see,
    take,
    take_within,
    window_inputs,
    window_net_flops,
)
from napari_pathreason.types import Answer, Detection, Query, Reading, View

BUDGETS = (4, 8, 16, 32, 64, 128, 256)
FLOPS = tuple(float(2 * one) for one in BUDGETS)
FIND = Query("detection", options=("tumour",))
LAMBDAS = {"low": 2.0, "balanced": 0.5, "high": 0.1}


def scene(rows=4, columns=4, dark=((4, 2),)):
    grid = lay_grid(Region(0, 0, 512 * columns, 512 * rows), 512, 32)
    width, height = overview_size(grid)
    overview = np.random.default_rng(1).integers(150, 170, (height, width, 3), dtype=np.uint8)
    cell = height // (grid.rows + 1)
    for row, column in dark:
        overview[row * cell : (row + 2) * cell, column * cell : (column + 2) * cell, 1] -= 70
    return Scene(grid, overview)


def state(on=None, left=None, **fields):
    fields.setdefault("flops", FLOPS)
    return State(fields.pop("query", FIND), on or scene(), BUDGETS, left, **fields)


def reading(region, tokens, boxes=0, answer="none found", confidence=0.9):
    found = tuple(Detection("tumour", Box(region.x, region.y, 9, 9)) for _ in range(boxes))
    view = View(region, (64, 64), tokens, "window", 1)
    return Reading((view,), Answer("", answer), found, confidence, visual_tokens=tokens)


def allocator(seed=0, bias=0.0, **changed):
    weights = new_weights(seed)
    weights["gain.bias"] = weights["gain.bias"] + np.float32(bias)
    return WindowAllocator(weights | changed, LAMBDAS)


def offer(gains, costs=(0.1, 0.2, 0.4), saturation=1e-6, tokens=(16, 64, 256), near=None):
    gains = np.array(gains, float)
    if near is None:
        near = np.arange(len(gains))[:, None]
    return Offer(gains, np.ones(gains.shape, bool), saturation, np.array(costs), tokens, near)


def overlap(a, b):
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(0, width) * max(0, height) / (a.width * a.height)


GAINS = st.lists(st.tuples(*[st.floats(-1, 1)] * 3).map(list), min_size=1, max_size=12)


@given(GAINS, st.floats(0, 5), st.integers(0, 2000), st.booleans(), st.floats(1e-6, 3))
def test_what_is_taken_stays_within_the_limit(each, lambda_, limit, must, saturation):
    for taken in (
        take(offer(each, saturation=saturation), lambda_, limit, must=must),
        take_within(offer(each, saturation=saturation), limit, must=must),
    ):
        assert sum((16, 64, 256)[level] for _, level in taken.picks) == taken.tokens <= limit
        places = [place for place, _ in taken.picks]
        assert len(set(places)) == len(places)
        assert len(places) >= (must and limit >= 16)


@given(GAINS, st.floats(0, 5), st.floats(0, 5))
def test_a_higher_price_never_spends_more(each, a, b):
    low, high = sorted((a, b))
    cheap, dear = (take(offer(each), lambda_) for lambda_ in (low, high))
    assert dear.tokens <= cheap.tokens


def test_each_window_is_read_at_the_budget_that_pays():
    each = [[0.5, 0.5, 0.5], [0.1, 0.5, 0.5], [0.0, 0.0, 0.5], [0.04, 0.04, 0.04]]
    assert take(offer(each), 0.5).picks == [(0, 0), (1, 1), (2, 2)]
    assert take(offer(each), 0.0).picks[-1] == (3, 0)
    assert take(offer(each), 100, must=True).picks == [(0, 0)]
    assert take(offer(each), 100).picks == []


def test_gains_that_saturate_are_taken_fewer_times():
    each = [[0.5, 0.5, 0.5]] * 10
    assert len(take(offer(each), 1.0).picks) == 10
    assert len(take(offer(each, saturation=2.0), 1.0).picks) == 2


def test_a_budget_is_spent_where_the_gain_is_for_what_it_costs():
    each = [[0.1, 0.3, 0.9]] + [[0.2, 0.2, 0.2]] * 9
    assert take_within(offer(each, (0.01, 0.04, 0.16)), 16 * 9).picks == [
        (place, 0) for place in range(1, 10)
    ]
    everything = take_within(offer(each, (0.01, 0.04, 0.16)), 10_000)
    assert everything.picks[0] == (0, 2)
    assert len(everything.picks) == 10


def test_windows_that_show_the_same_are_not_taken_beside_one_another():
    grid = scene().grid
    near = near_windows(grid)
    assert isinstance(grid, Grid)
    for place in range(len(grid)):
        shown = {other for other in range(len(grid)) if grid.overlap(place, other) > 0.25}
        assert set(near[place].tolist()) == shown


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 20_000), st.integers(0, 3), st.sampled_from([0.0, 0.1, 0.5]))
def test_it_never_spends_more_than_it_may(left, seed, bias):
    first_state = state(left=left)
    choice = allocator(seed, bias).choose(first_state)
    assert choice.picks
    assert sum(pick.tokens for pick in choice.picks) <= left
    assert all(pick.tokens in BUDGETS for pick in choice.picks)
    regions = [pick.region for pick in choice.picks]
    assert not set(regions) & set(choice.order)
    assert all(overlap(a, b) <= 0.25 for a in regions for b in regions if a != b)
    first = tuple(reading(pick.region, pick.tokens) for pick in choice.picks)
    spent = sum(one.visual_tokens for one in first)
    again = allocator(seed, bias).choose(
        replace(first_state, readings=first, taken=tuple(regions), left=left - spent)
    )
    assert spent + sum(pick.tokens for pick in again.picks) <= left
    finer = {one.view.region: one.view.tokens for one in first}
    assert all(pick.tokens > finer.get(pick.region, 0) for pick in again.picks)


def test_a_huge_price_reads_one_window_coarsely_and_none_again():
    own = replace(allocator(bias=0.3), lambdas=dict.fromkeys(LAMBDAS, 1e6))
    (pick,) = own.choose(state()).picks
    assert pick.tokens == 16
    first = (reading(pick.region, 16),)
    assert own.choose(state(readings=first, taken=(pick.region,))).picks == ()


def test_efforts_are_prices():
    counts = [len(allocator(1, 0.05).choose(state(effort=one)).picks) for one in LAMBDAS]
    tokens = [
        sum(pick.tokens for pick in allocator(1, 0.05).choose(state(effort=one)).picks)
        for one in LAMBDAS
    ]
    assert tokens == sorted(tokens)
    assert tokens[0] < tokens[-1]
    assert counts[0] >= 1


def test_what_the_user_pinned_is_not_read_twice():
    pinned = Region(512, 512, 512, 512)
    picks = allocator(bias=0.5).choose(state(taken=(pinned,))).picks
    assert picks
    assert all(overlap(pick.region, pinned) <= 0.25 for pick in picks)


def test_each_pick_says_what_it_is_expected_to_add():
    (pick, *_) = allocator(bias=0.5).choose(state()).picks
    assert pick.why.startswith("expected to add 0.")
    first = reading(pick.region, 16, 1, "1 tumour")
    again = allocator(bias=0.5).choose(state(readings=(first,), taken=(pick.region,)))
    (why,) = (one.why for one in again.picks if one.region == pick.region)
    assert why.startswith("window 1 said 1 tumour; expected to add ")


def test_answers_change_what_is_expected():
    own, on = allocator(3), scene()
    region = on.grid.window(8)

    def of(*readings):
        return expected(own.weights, window_inputs(state(on, readings=readings)))[0]

    found, none = reading(region, 16, 1, "1 tumour"), reading(region, 16)
    assert not np.allclose(of(found), of(none))
    assert not np.allclose(of(found), of())
    assert not np.allclose(of(found), of(replace(found, confidence=0.2)))
    assert not np.allclose(of(found)[9], of()[9])  # a neighbour hears of it


def test_what_it_sees_changes_what_is_expected():
    own = allocator(3).weights
    features = [expected(own, window_inputs(state(scene(dark=d))))[0] for d in ((), ((4, 2),))]
    changed = np.abs(features[0] - features[1]).max(1).reshape(7, 7)
    assert changed.argmax() == 4 * 7 + 2


def test_tensors_and_arrays_give_the_same():
    own, inputs = new_weights(2), window_inputs(state())
    as_arrays, rho = expected(own, inputs)
    tensors = {name: torch.from_numpy(np.array(getattr(inputs, name))) for name in inputs.names()}
    weights = {name: torch.from_numpy(array) for name, array in own.items()}
    each, root = gains(
        weights, see(weights, tensors["quarters"].float() / 127.5 - 1), WindowInputs(**tensors)
    )
    np.testing.assert_allclose(each.numpy(), as_arrays, atol=1e-5)
    np.testing.assert_allclose(root.numpy(), rho, atol=1e-5)


def test_its_flops_are_counted_and_few():
    choice = allocator().choose(state())
    assert choice.flops > window_net_flops(64, 49, 4) > 1e6
    # beside 1e9 FLOPs of a window's answer by the embedded model at 16 tokens
    assert choice.flops < 0.1e9


def test_it_lies_beside_a_model(tmp_path):
    own = allocator(5, 0.1)
    assert load_windows(tmp_path) is None
    save_windows(tmp_path, own)
    again = load_windows(tmp_path)
    assert again.lambdas == LAMBDAS
    assert again.levels == LEVELS
    assert again.choose(state()) == own.choose(state())
    assert {path.name for path in tmp_path.iterdir()} == {
        "windows_allocator.json",
        "windows_allocator.safetensors",
    }


@pytest.mark.parametrize("file", ["windows_allocator.json", "windows_allocator.safetensors"])
def test_a_damaged_file_names_the_remedy(tmp_path, file):
    save_windows(tmp_path, allocator())
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:50])
    with pytest.raises(ModelError, match="fetch the whole model"):
        load_windows(tmp_path)


def test_weights_of_another_net_are_told(tmp_path):
    other = allocator(**{"gain": np.zeros((SHAPES["gain"][0] + 1, 3), np.float32)})
    save_windows(tmp_path, other)
    with pytest.raises(ModelError, match="another version"):
        load_windows(tmp_path)


def test_a_fixed_allocator_has_learnt_nothing_of_windows():
    assert not hasattr(FixedAllocator(), "windows")
