"""Who chooses the budget: what each policy would have scored, from answers at every rung."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from napari_pathreason.engine import Allocator
from napari_pathreason.errors import QueryError
from napari_pathreason.tokens import LADDER, plan
from napari_pathreason.training.samples import Pictures, Sample
from napari_pathreason.types import Allocation, Effort

from ._item import Item
from ._table import Row, Run, policy_table

Policy = Literal["native", "fixed", "random", "cascade", "oracle", "allocator"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
RUNGS: tuple[int | None, ...] = (*LADDER, None)
FIRST, SURE = 16, 0.8
"""A cascade's first rung, and the confidence at which it leaves it at that."""

Ladder = dict[int | None, Item]
"""The answers to one question by rung."""


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
    items: Sequence[Item],
    policies: Sequence[str],
    chosen: Callable[[Effort], Sequence[Look]],
    run: Run,
    seed: int = 0,
) -> list[Row]:
    """Rows of every policy but the fixed rungs and native, which stand in the main table.

    Parameters
    ----------
    items : sequence of Item
        Answers of the model to every question at each of `RUNGS`.
    policies : sequence of str
    chosen : callable
        What the allocator allots each question, in the order of their ``index``, at an effort.
    run : Run
    """
    ladders: dict[int, Ladder] = {}
    for item in items:
        if item.arm == "model":
            ladders.setdefault(item.index, {})[item.budget] = item
    asked = [ladders[index] for index in sorted(ladders)]
    rows: list[Row] = []

    def add(policy: str, answers: Sequence[Item], effort: Effort | None = None) -> None:
        rows.extend(policy_table(answers, replace(run, policy=policy, effort=effort), seed))

    if "cascade" in policies:
        add("cascade", [cascade(ladder) for ladder in asked])
    if "oracle" in policies:
        add("oracle", [oracle(ladder) for ladder in asked])
    for effort, looks in _at_each_effort(chosen) if {"allocator", "random"} & set(policies) else ():
        given = [allotted(ladder, look) for ladder, look in zip(asked, looks, strict=True)]
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
    samples: Sequence[Sample], pictures: Pictures, allocator: Allocator, cell: int, effort: Effort
) -> list[Look]:
    """What an allocator allots each question, from the overview that the main job would read."""
    given = []
    for sample in samples:
        region = pictures.region(sample)
        reading = plan(region, allocator.overview_budget, cell)
        pictures.slide(sample)  # where it lies is no matter of the allocator
        since = time.perf_counter()
        overview = pictures.read(sample, region, reading.size)
        chosen = allocator.allocate(overview, sample.query, reading.native, effort)
        given.append(Look(chosen, time.perf_counter() - since))
    return given


def oracle(ladder: Ladder) -> Item:
    """The cheapest of the best answers: a bound that no policy can pass."""
    return min(ladder.values(), key=lambda item: (-item.score, item.flops))


def allotted(ladder: Ladder, look: Look) -> Item:
    """The answer at the allotted rung, the allocator's own look counted."""
    item = ladder[look.allocation.budget]
    return replace(
        item,
        tokens=item.tokens + look.allocation.tokens_spent,
        flops=item.flops + look.allocation.flops,
        seconds=item.seconds + look.seconds,
    )


def cascade(ladder: Ladder) -> Item:
    """A cheap look first; where its confidence is low, native size on top (as VisionThink does)."""
    look, native = ladder[FIRST], ladder[None]
    if (look.confidence or 0.0) >= SURE or look.tokens == native.tokens:
        return look
    return replace(
        native,
        tokens=native.tokens + look.tokens,
        flops=native.flops + look.flops,
        seconds=native.seconds + look.seconds,
    )


def at_random(asked: Sequence[Ladder], budgets: Sequence[int | None], tokens: float) -> list[Item]:
    """Expected answers where rungs are drawn as often as in ``budgets``, but blindly.

    The odds are tilted until the mean of the visual tokens is ``tokens``, an allocator's look
    included, so that both spend the same.
    """
    often = Counter(budgets)
    # in the order of the ladder, not in that of the answers: the mean must rise with the tilt
    rungs = [rung for rung in RUNGS if often[rung]]
    ranks = {rung: rank for rank, rung in enumerate(RUNGS)}

    def odds(tilt: float) -> list[float]:
        weights = [often[rung] * math.exp(tilt * ranks[rung]) for rung in rungs]
        return [weight / sum(weights) for weight in weights]

    def mean(tilt: float) -> float:
        return sum(
            share * ladder[rung].tokens
            for ladder in asked
            for share, rung in zip(odds(tilt), rungs, strict=True)
        ) / len(asked)

    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < tokens else (low, middle)
    shares = odds(low)

    def expected(ladder: Ladder, of: Callable[[Item], float]) -> float:
        parts = zip(shares, rungs, strict=True)
        return sum(share * of(ladder[rung]) for share, rung in parts)

    return [
        replace(
            ladder[None],
            score=expected(ladder, lambda item: item.score),
            tokens=expected(ladder, lambda item: item.tokens),
            flops=expected(ladder, lambda item: item.flops),
            seconds=expected(ladder, lambda item: item.seconds),
            cited=0,
            confirmed=0,
            shuffled=None,
            matched=None,
            confidence=None,
        )
        for ladder in asked
    ]
