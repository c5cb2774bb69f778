import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_pathreason.geometry import Region
from napari_pathreason.tasks import sum_counts

REGION = Region(1000, 500, 600, 600)
WINDOWS = [
    Region(1000 + x, 500 + y, 100, 100) for y in range(0, 600, 100) for x in range(0, 600, 100)
]


def estimate(field, order, number, strata=None):
    """From the first ``number`` of the windows in this order."""
    read, rest = order[:number], order[number:]
    return sum_counts(
        REGION,
        [WINDOWS[i] for i in read],
        [float(field[i]) for i in read],
        [WINDOWS[i] for i in rest],
        () if strata is None else [int(strata[i]) for i in order],
    )


@given(st.lists(st.integers(0, 200), min_size=36, max_size=36), st.permutations(range(36)))
def test_all_windows_give_the_sum(counts, order):
    told = estimate(counts, order, 36, np.arange(36) % 3)
    assert told.total == told.low == told.high == sum(counts)
    assert told.exact
    assert told.read_share == 1
    assert told.error == 0


@given(st.integers(2, 7), st.integers(2, 7), st.sampled_from((0.5, 0.75)), st.integers(1, 50))
def test_what_overlaps_is_not_counted_twice(columns, rows, step, density):
    """Things spread evenly, 100 px windows at half or three quarter steps."""
    stride = int(100 * step)
    windows = [
        Region(x * stride, y * stride, 100, 100) for x in range(columns) for y in range(rows)
    ]
    region = Region(0, 0, stride * (columns - 1) + 100, stride * (rows - 1) + 100)
    told = sum_counts(region, windows, [density] * len(windows))
    assert told.total == pytest.approx(density * region.box.area / 100**2)
    assert told.exact
    half = Region(0, 0, region.width // 2, region.height)
    assert sum_counts(half, windows, [density] * len(windows)).total == pytest.approx(
        density * half.box.area / 100**2
    )


@pytest.mark.parametrize("number", [1, 2, 5, 12])
def test_the_estimate_is_unbiased(number):
    """Over draws of windows from a field that is far from even."""
    rng = np.random.default_rng(number)
    field = np.where(np.arange(36) % 7 == 0, 40, np.arange(36) % 5)
    totals = [estimate(field, rng.permutation(36), number).total for _ in range(600)]
    error = np.std(totals) / len(totals) ** 0.5
    assert abs(np.mean(totals) - field.sum()) < 3.5 * error


def test_strata_are_unbiased_and_narrower_where_they_tell_windows_apart():
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], [28, 8])
    field = np.where(strata == 1, 50, 2) + np.arange(36) % 3
    wide, narrow, totals = [], [], []
    for _ in range(300):
        empty, full = rng.permutation(28), 28 + rng.permutation(8)
        order = np.concatenate([empty[:4], full[:4], empty[4:], full[4:]])
        told = estimate(field, order, 8, strata)
        assert told.low <= field.sum() <= told.high
        narrow.append(told.high - told.low)
        totals.append(told.total)
        other = estimate(field, rng.permutation(36), 8)
        wide.append(other.high - other.low)
    assert np.mean(totals) == pytest.approx(field.sum(), rel=0.01)
    assert np.mean(narrow) < np.mean(wide) / 3


@pytest.mark.parametrize(("mean", "number"), [(0.3, 12), (2, 9), (10, 9), (10, 24), (60, 18)])
def test_the_interval_holds_the_truth_of_scattered_things(mean, number):
    """Poisson fields; 600 of them, of which 95 % are 570, give or take 11."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(600):
        field = rng.poisson(mean, 36)
        told = estimate(field, rng.permutation(36), number)
        held += told.low <= field.sum() <= told.high
    assert 0.93 <= held / 600 <= 0.995


def test_the_interval_holds_the_truth_of_clustered_things():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(600):
        field = rng.poisson(rng.gamma(2, 10, 36))
        told = estimate(field, rng.permutation(36), 12)
        held += told.low <= field.sum() <= told.high
    assert 0.92 <= held / 600 <= 0.99


@given(
    st.lists(st.integers(0, 30), min_size=36, max_size=36),
    st.integers(1, 36),
    st.permutations(range(36)),
    st.lists(st.integers(0, 4), min_size=36, max_size=36),
)
def test_the_interval_is_sensible_whatever_was_read(field, number, order, strata):
    told = estimate(field, order, number, strata)
    counted = sum(field[i] for i in order[:number])
    assert 0 <= counted <= told.low <= told.total + 1e-9
    assert told.total <= told.high < float("inf")
    assert told.read_share == pytest.approx(number / 36)
    if number < 36:
        assert told.high > told.total
        assert not told.exact


def test_one_or_two_windows_tell_little():
    few = [estimate([10] * 36, range(36), number) for number in (1, 2, 12, 35)]
    widths = [told.high - told.low for told in few]
    assert [told.total for told in few] == [360] * 4
    assert widths == sorted(widths, reverse=True)
    assert few[1].high > 2 * 360
    assert few[-1].high < 1.1 * 360
    assert estimate([0] * 36, range(36), 2).high > 36, "none in two is not none in all"


def test_doubts_of_windows_add_up_and_reach_what_was_not_read():
    full = sum_counts(REGION, WINDOWS, [10] * 36, errors=[1] * 36)
    assert full.error == 36
    assert full.low == pytest.approx(360 - 1.96 * 36, abs=0.1)
    assert full.high == pytest.approx(360 + 1.96 * 36, abs=0.1)
    half = sum_counts(REGION, WINDOWS[:18], [10] * 18, WINDOWS[18:], errors=[1] * 18)
    assert half.high > full.high
    assert half.low < full.low


def test_what_lies_in_no_window_is_empty():
    told = sum_counts(REGION, WINDOWS[:9], [3] * 9)
    assert (told.total, told.exact, told.read_share) == (27, True, 1.0)
    part = sum_counts(REGION, WINDOWS[:9], [3] * 9, WINDOWS[9:12])
    assert part.read_share == 0.75


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="meets the region"):
        sum_counts(REGION, [Region(0, 0, 10, 10)], [3])
    with pytest.raises(ValueError, match="meets the region"):
        sum_counts(REGION, [], [])
    with pytest.raises(ValueError, match="2 counts for 1 windows"):
        sum_counts(REGION, WINDOWS[:1], [3, 4])
    with pytest.raises(ValueError, match="1 strata for 2 windows"):
        sum_counts(REGION, WINDOWS[:1], [3], WINDOWS[1:2], [0])
