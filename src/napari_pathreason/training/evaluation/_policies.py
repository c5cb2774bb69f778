"""Who chooses the budget: what each policy would have scored, from answers at every budget."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from napari_pathreason.budgets import BUDGET_GRID, plan
from napari_pathreason.engine import Allocator
from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Pictures, Sample
from napari_pathreason.types import Allocation, Effort

from ._prediction import Prediction
from ._table import Row, Run, policy_table

Policy = Literal["native", "fixed", "random", "cascade", "oracle", "allocator"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
BUDGETS: tuple[int | None, ...] = (*BUDGET_GRID, None)
FIRST, CONFIDENT = 16, 0.8
"""A cascade's first budget, and the confidence at which it leaves it at that."""

AnswersByBudget = dict[int | None, Prediction]
"""The answers to one question by budget."""


@dataclass(frozen=True, slots=True)
class Look:
    """An allocation, and the seconds that it took to read the overview and to choose."""

    allocation: Allocation
    seconds: float


def check_policies(policies: Iterable[str], allocator: Allocator) -> None:
    """Refuse what cannot be measured, before anything is asked.

    Raises
    ------
    QueryError
        If a policy is unknown, or needs an allocator that has learnt something.
    """
    unknown = sorted(set(policies) - set(POLICIES))
    if unknown:
        raise QueryError(f"there is no policy {unknown[0]!r}; choose of {', '.join(POLICIES)}")
    if {"random", "allocator"} & set(policies) and not allocator.overview_budget:
        raise QueryError(
            "the model has no learned allocator, which the policies allocator and random need; "
            "run `pathreason train allocator`, or leave them out of --policies"
        )


def policy_rows(
    items: Sequence[Prediction],
    policies: Sequence[str],
    chosen: Callable[[Effort], Sequence[Look]],
    run: Run,
    seed: int = 0,
) -> list[Row]:
    """Rows of every policy but the fixed budgets and native, which stand in the main table.

    Parameters
    ----------
    items : sequence of Prediction
        Answers of the model to every question at each of `BUDGETS`.
    policies : sequence of str
    chosen : callable
        What the allocator allocates each question, in the order of their ``index``, at an effort.
    run : Run
    """
    each_by_budget: dict[int, AnswersByBudget] = {}
    for item in items:
        if item.condition == "model":
            each_by_budget.setdefault(item.index, {})[item.budget] = item
    asked = [each_by_budget[index] for index in sorted(each_by_budget)]
    rows: list[Row] = []

    def add(policy: str, answers: Sequence[Prediction], effort: Effort | None = None) -> None:
        rows.extend(policy_table(answers, replace(run, policy=policy, effort=effort), seed))

    if "cascade" in policies:
        add("cascade", [cascade(by_budget) for by_budget in asked])
    if "oracle" in policies:
        add("oracle", [oracle(by_budget) for by_budget in asked])
    for effort, looks in _at_each_effort(chosen) if {"allocator", "random"} & set(policies) else ():
        given = [
            score_allocation(by_budget, look) for by_budget, look in zip(asked, looks, strict=True)
        ]
        if "allocator" in policies:
            add("allocator", given, effort)
        if "random" in policies:
            tokens = sum(item.tokens for item in given) / len(given)
            blind = at_random(asked, [look.allocation.budget for look in looks], tokens)
            add("random", blind, effort)
    return rows


def _at_each_effort(
    chosen: Callable[[Effort], Sequence[Look]],
) -> Iterator[tuple[Effort, Sequence[Look]]]:
    """Looks at each effort; of an allocator that knows one alone, once and under that name."""
    told: set[Effort] = set()
    for effort in get_args(Effort):
        looks = chosen(effort)
        own = looks[0].allocation.effort or effort
        if own not in told:
            yield own, looks
        told.add(own)
        if own != effort:
            return


def allocations(
    samples: Sequence[Sample],
    pictures: Pictures,
    allocator: Allocator,
    token_px: int,
    effort: Effort,
) -> list[Look]:
    """What an allocator allocates each question, from the overview that the main job would read."""
    given = []
    for sample in samples:
        region = pictures.region(sample)
        reading = plan(region, allocator.overview_budget, token_px)
        pictures.slide(sample)  # where it lies is no matter of the allocator
        since = time.perf_counter()
        overview = pictures.read(sample, region, reading.size)
        chosen = allocator.allocate(overview, sample.query, reading.native, effort)
        given.append(Look(chosen, time.perf_counter() - since))
    return given


def oracle(by_budget: AnswersByBudget) -> Prediction:
    """The cheapest of the best answers: a bound that no policy can pass."""
    return min(by_budget.values(), key=lambda item: (-item.score, item.flops))


def score_allocation(by_budget: AnswersByBudget, look: Look) -> Prediction:
    """The answer at the allocated budget, the allocator's own look counted."""
    item = by_budget[look.allocation.budget]
    return replace(
        item,
        tokens=item.tokens + look.allocation.tokens_spent,
        flops=item.flops + look.allocation.flops,
        seconds=item.seconds + look.seconds,
    )


def cascade(by_budget: AnswersByBudget) -> Prediction:
    """A cheap look first; where its confidence is low, native size on top (as VisionThink does)."""
    look, native = by_budget[FIRST], by_budget[None]
    if (look.confidence or 0.0) >= CONFIDENT or look.tokens == native.tokens:
        return look
    return replace(
        native,
        tokens=native.tokens + look.tokens,
        flops=native.flops + look.flops,
        seconds=native.seconds + look.seconds,
    )


def at_random(
    asked: Sequence[AnswersByBudget], chosen: Sequence[int | None], tokens: float
) -> list[Prediction]:
    """Expected answers where budgets are drawn as often as in ``chosen``, but blindly.

    The odds are tilted until the mean of the visual tokens is ``tokens``, an allocator's look
    included, so that both spend the same.
    """
    often = Counter(chosen)
    # in the order of the budget grid, not in that of the answers: the mean must rise with the tilt
    budgets = [budget for budget in BUDGETS if often[budget]]
    ranks = {budget: rank for rank, budget in enumerate(BUDGETS)}

    def odds(tilt: float) -> list[float]:
        weights = [often[budget] * math.exp(tilt * ranks[budget]) for budget in budgets]
        return [weight / sum(weights) for weight in weights]

    def mean(tilt: float) -> float:
        return sum(
            share * by_budget[budget].tokens
            for by_budget in asked
            for share, budget in zip(odds(tilt), budgets, strict=True)
        ) / len(asked)

    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < tokens else (low, middle)
    shares = odds(low)

    def expected(by_budget: AnswersByBudget, of: Callable[[Prediction], float]) -> float:
        parts = zip(shares, budgets, strict=True)
        return sum(share * of(by_budget[budget]) for share, budget in parts)

    return [
        replace(
            by_budget[None],
            score=expected(by_budget, lambda item: item.score),
            tokens=expected(by_budget, lambda item: item.tokens),
            flops=expected(by_budget, lambda item: item.flops),
            seconds=expected(by_budget, lambda item: item.seconds),
            cited=0,
            confirmed=0,
            shuffled=None,
            matched=None,
            confidence=None,
        )
        for by_budget in asked
    ]
