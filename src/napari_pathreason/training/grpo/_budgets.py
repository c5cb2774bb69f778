"""Which budget a picture is read at, while the performer learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from napari_pathreason.training.samples import Sample

BudgetPolicy = Callable[[Sample], Sequence[float]]
"""Of an allocator: probabilities of the recipe's budgets for a question, in their order."""


def mixed_probabilities(
    budgets: Mapping[int, float], policies: Sequence[Sequence[float]], floor: float
) -> list[float]:
    """Chances of budgets: ``floor`` of the recipe's weights, the rest as the policy has it.

    Without a floor the performer would forget the budgets that its allocator has given up, and the
    allocator could never find that they have become worth it.

    Parameters
    ----------
    budgets : mapping
        Relative weight of each budget.
    policies : sequence of sequence of float
        Chances of the budgets, one row a question about the picture; their mean counts.
    floor : float
        0 to 1.
    """
    whole = sum(budgets.values())
    columns = zip(*policies, strict=True)
    return [
        floor * weight / whole + (1 - floor) * sum(column) / len(policies)
        for weight, column in zip(budgets.values(), columns, strict=True)
    ]


def draw_budget(
    samples: Sequence[Sample],
    policy: BudgetPolicy,
    budgets: Mapping[int, float],
    floor: float,
    rng: Random,
) -> int:
    """Budget for the questions about one picture."""
    probabilities = mixed_probabilities(budgets, [policy(sample) for sample in samples], floor)
    return rng.choices(list(budgets), probabilities)[0]
