import pytest
from hypothesis import given, strategies as st

from napari_pathreason.errors import QueryError, RegionError
from napari_pathreason.geometry import Region
from napari_pathreason.tokens import BUDGET_GRID, native_tokens, parse_budget, plan

cells = st.sampled_from([28, 32])
sides = st.integers(32, 100_000)
budgets = st.sampled_from(BUDGET_GRID) | st.integers(1, 5000)


@given(sides, sides, cells, budgets)
def test_realised_never_exceeds_requested_or_native(width, height, token_px, budget):
    made = plan(Region(5, 7, width, height), budget, token_px)
    assert 1 <= made.tokens <= min(budget, made.native)
    assert made.size == (made.grid[0] * token_px, made.grid[1] * token_px)
    assert made.requested == budget


@given(sides, sides, cells, budgets | st.none())
def test_a_plan_never_enlarges(width, height, token_px, budget):
    made = plan(Region(0, 0, width, height), budget, token_px)
    # rounding to whole cells may add up to half a cell
    assert made.size[0] <= width + token_px / 2
    assert made.size[1] <= height + token_px / 2


@given(sides, sides, cells)
def test_native_is_the_region_in_whole_cells(width, height, token_px):
    region = Region(0, 0, width, height)
    made = plan(region, None, token_px)
    assert made.requested is None
    assert made.tokens == made.native == native_tokens(region, token_px)


@given(sides, sides, cells)
def test_a_higher_rung_never_gives_fewer_tokens(width, height, token_px):
    tokens = [plan(Region(0, 0, width, height), budget, token_px).tokens for budget in BUDGET_GRID]
    assert tokens == sorted(tokens)


@given(st.integers(300, 20_000), st.integers(300, 20_000), st.sampled_from(BUDGET_GRID[2:]))
def test_most_of_a_budget_is_used_where_the_region_has_it(width, height, budget):
    if max(width, height) > 3 * min(width, height):
        return
    made = plan(Region(0, 0, width, height), budget, 28)
    assert made.tokens >= 0.4 * min(budget, made.native)


@pytest.mark.parametrize(("width", "height"), [(27, 500), (500, 27), (1, 1)])
def test_a_region_thinner_than_a_cell_is_refused(width, height):
    with pytest.raises(RegionError, match="mark a larger one"):
        plan(Region(0, 0, width, height), 64, 28)


@pytest.mark.parametrize(
    ("text", "budget"),
    [("auto", "auto"), (" Native ", "native"), ("64", 64), (256, 256), ("100", 100)],
)
def test_budgets_are_read(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "0", "-4", "6.5", "many", 0, "²"])
def test_other_budgets_are_refused(text):
    with pytest.raises(QueryError, match="give auto, native or a number"):
        parse_budget(text)
