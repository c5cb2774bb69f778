from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.geometry import Region
from napari_pathreason.types import Allocation, Result
from napari_pathreason.viewer import allocation_notes, budget_costs

REGION = Region(0, 0, 2048, 1024)
LEVELS = [(4096, 4096), (1024, 1024)]


def test_each_rung_states_its_cost() -> None:
    costs = budget_costs(REGION, 32, LEVELS)
    assert [cost.budget for cost in costs] == [*BUDGET_GRID, "native"]
    native = costs[-1]
    assert native.plan.tokens == 64 * 32
    assert native.saved == 0
    assert native.pixels == 2048 * 1024
    assert native.memory == 2048 * 1024 * 15
    assert costs[0].pixels == 512 * 256  # from the coarse level
    assert costs[0].saved == pytest.approx(1 - costs[0].plan.tokens / 2048)
    assert all(cost.seconds is None and cost.probability is None for cost in costs)


def test_probabilities_follow_the_ladder() -> None:
    probabilities = tuple(i / 45 for i in range(10))
    costs = budget_costs(REGION, 32, LEVELS, allocation=Allocation(64, "policy", 16, probabilities))
    assert tuple(cost.probability for cost in costs) == probabilities


def test_what_an_allocator_that_writes_has_said_is_told() -> None:
    chosen = Allocation(32, "policy", 16, tuple(float(cost == 32) for cost in (*BUDGET_GRID, None)))
    assert allocation_notes(True, [], chosen) == [
        "The allocator names one budget and weighs no other."
    ]
    (silent,) = allocation_notes(True, [], Allocation(256, "fixed", 16))
    assert "wrote no number" in silent
    (weighed,) = allocation_notes(True, [], Allocation(64, "policy", 4, (0.1,) * 10))
    assert "Probabilities are the allocator's" in weighed


def test_seconds_are_those_of_answers_at_as_many_tokens(
    make_result: Callable[..., Result],
) -> None:
    made = make_result(REGION)
    tokens = dataclasses.replace(made.tokens, realised=32)
    past = [
        dataclasses.replace(made, tokens=tokens, seconds={"read": 1.0, "generate": g})
        for g in (1.0, 2.0, 9.0)
    ]
    costs = budget_costs(REGION, 32, LEVELS, past)
    known = {cost.plan.tokens: cost.seconds for cost in costs if cost.seconds is not None}
    assert known == {32: 3.0}
