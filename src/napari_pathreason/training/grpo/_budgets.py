"""Which rung a picture is read at, while the performer learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from napari_pathreason.training.samples import Sample

BudgetPolicy = Callable[[Sample], Sequence[float]]
"""Of an allocator: chances of the recipe's rungs for a question, in their order."""


def mixed_chances(
    budgets: Mapping[int, float], policies: Sequence[Sequence[float]], floor: float
) -> list[float]:
    """Chances of rungs: ``floor`` of the recipe's weights, the rest as the policy has it.

    Without a floor the performer would forget the rungs that its allocator has given up, and the
    allocator could never find that they have become worth it.

    Parameters
    ----------
    budgets : mapping
        Relative weight of each rung.
    policies : sequence of sequence of float
        Chances of the rungs, one row a question about the picture; their mean counts.
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
    """Rung for the questions about one picture."""
    chances = mixed_chances(budgets, [policy(sample) for sample in samples], floor)
    return rng.choices(list(budgets), chances)[0]
