"""From any number of visual tokens to a budget."""

import pytest

from napari_pathreason.tokens import BUDGET_GRID, snap


@pytest.mark.parametrize(
    ("number", "native", "budget"),
    [
        (64, 1000, 64),
        (127, 1000, 64),
        (1, 1000, 4),
        (2000, 5000, 1024),
        (999, 1000, 512),
        (1000, 1000, None),
        (10**9, 5000, None),
        (64, 64, None),
        (63, 64, 32),
        (3, 4, None),
        (1, 1, None),
    ],
)
def test_a_number_gets_the_highest_rung_below_it(number, native, budget):
    assert snap(number, native) == budget


def test_no_rung_asks_for_more_than_was_written_but_the_lowest():
    for number in range(1, 3000, 7):
        budget = snap(number, 2000)
        assert (2000 if budget is None else budget) <= max(number, BUDGET_GRID[0])
