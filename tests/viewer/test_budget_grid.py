from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from napari.layers import Image

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.geometry import Region
from napari_pathreason.types import Allocation, Result
from napari_pathreason.viewer import Session, budget_costs, estimate_costs

REGION = Region(0, 0, 2048, 1024)
LEVELS = [(4096, 4096), (1024, 1024)]


def test_each_budget_states_its_cost() -> None:
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


def test_probabilities_follow_the_budget_grid() -> None:
    probabilities = tuple(i / 45 for i in range(10))
    costs = budget_costs(REGION, 32, LEVELS, allocation=Allocation(64, "policy", 16, probabilities))
    assert tuple(cost.probability for cost in costs) == probabilities


ONE_BUDGET = tuple(float(budget == 32) for budget in (*BUDGET_GRID, "native"))


@pytest.mark.parametrize(
    ("allocation", "note"),
    [
        (Allocation(32, "policy", 16, ONE_BUDGET), "The allocator names one budget"),
        (Allocation(256, "fixed", 16), "The allocator wrote no number"),
        (Allocation(64, "policy", 4, (0.1,) * 10), "Probabilities are the allocator's"),
        (Allocation(64, "fixed"), "This model has a fixed budget"),
        (Allocation(64, "user"), "Ask once to see which budget Auto prefers"),
    ],
)
def test_the_note_says_why_there_are_probabilities_or_none(
    make_result: Callable[..., Result], allocation: Allocation, note: str
) -> None:
    image = Image(np.zeros((1024, 2048, 3), np.uint8), rgb=True)
    session = Session(describe=lambda _: None)
    answer = dataclasses.replace(make_result(REGION), allocation=allocation)
    _, before = estimate_costs(session, image, REGION, answer.query, "some/model")
    assert before.startswith("This model was not loaded yet")
    session.add(answer, image)
    session.known_models["some/model"] = answer.model
    costs, after = estimate_costs(session, image, REGION, answer.query, "some/model")
    assert after.startswith(note)
    probabilities = tuple(cost.probability for cost in costs if cost.probability is not None)
    assert probabilities == (allocation.probabilities or ())


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
    seconds = {cost.plan.tokens: cost.seconds for cost in costs if cost.seconds is not None}
    assert seconds == {32: 3.0}
