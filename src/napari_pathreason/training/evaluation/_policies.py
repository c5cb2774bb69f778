"""Who chooses the budget: what each policy would have scored, from answers at every budget.

Rows of tables, and the picture of score against cost.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from napari_pathreason.budgets import plan
from napari_pathreason.engine import Allocator
from napari_pathreason.errors import QueryError
from napari_pathreason.files import atomic_bytes
from napari_pathreason.models import BUDGETS
from napari_pathreason.training.samples import Pictures, Sample
from napari_pathreason.types import Allocation, Effort

from ._predictions import Prediction
from ._table import ALL, Row, Run, policy_table

Policy = Literal["native", "fixed", "random", "cascade", "oracle", "allocator"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
MARKS: dict[Policy, str] = {
    "fixed": "o",
    "native": "s",
    "random": "x",
    "cascade": "^",
    "oracle": "*",
    "allocator": "D",
}
"""Of the picture."""
FIRST, CONFIDENT = 16, 0.8
"""A cascade's first budget, and the confidence at which it leaves it at that."""

AnswersByBudget = dict[int | None, Prediction]
"""The answers to one question by budget."""


@dataclass(frozen=True, slots=True)
class Choice:
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
    chosen: Callable[[Effort], Sequence[Choice]],
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
    questions = [each_by_budget[index] for index in sorted(each_by_budget)]
    rows: list[Row] = []

    def add(policy: str, answers: Sequence[Prediction], effort: Effort | None = None) -> None:
        rows.extend(policy_table(answers, replace(run, policy=policy, effort=effort), seed))

    if "cascade" in policies:
        add("cascade", [cascade(by_budget) for by_budget in questions])
    if "oracle" in policies:
        add("oracle", [oracle(by_budget) for by_budget in questions])
    needed = {"allocator", "random"} & set(policies)
    for effort, choices in _at_each_effort(chosen) if needed else ():
        answers = [score_allocation(*pair) for pair in zip(questions, choices, strict=True)]
        if "allocator" in policies:
            add("allocator", answers, effort)
        if "random" in policies:
            tokens = sum(item.tokens for item in answers) / len(answers)
            budgets = [choice.allocation.budget for choice in choices]
            add("random", at_random(questions, budgets, tokens), effort)
    return rows


def _at_each_effort(
    chosen: Callable[[Effort], Sequence[Choice]],
) -> Iterator[tuple[Effort, Sequence[Choice]]]:
    """Choices at each effort; of an allocator that knows one alone, once and under that name."""
    efforts: set[Effort] = set()
    for effort in get_args(Effort):
        choices = chosen(effort)
        own = choices[0].allocation.effort or effort
        if own not in efforts:
            yield own, choices
        efforts.add(own)
        if own != effort:
            return


def allocations(
    samples: Sequence[Sample],
    pictures: Pictures,
    allocator: Allocator,
    token_px: int,
    effort: Effort,
) -> list[Choice]:
    """What an allocator allocates each question, from the overview that the main job would read."""
    choices = []
    for sample in samples:
        region = pictures.region(sample)
        reading = plan(region, allocator.overview_budget, token_px)
        pictures.slide(sample)  # where it lies is no matter of the allocator
        since = time.perf_counter()
        overview = pictures.read(sample, region, reading.size)
        allocation = allocator.allocate(overview, sample.query, reading.native, effort)
        choices.append(Choice(allocation, time.perf_counter() - since))
    return choices


def oracle(by_budget: AnswersByBudget) -> Prediction:
    """The cheapest of the best answers: a bound that no policy can pass."""
    return min(by_budget.values(), key=lambda item: (-item.score, item.flops))


def score_allocation(by_budget: AnswersByBudget, choice: Choice) -> Prediction:
    """The answer at the allocated budget, the allocator's own overview counted."""
    item = by_budget[choice.allocation.budget]
    return replace(
        item,
        tokens=item.tokens + choice.allocation.tokens_spent,
        flops=item.flops + choice.allocation.flops,
        seconds=item.seconds + choice.seconds,
    )


def cascade(by_budget: AnswersByBudget) -> Prediction:
    """A cheap answer first; where its confidence is low, native on top (as VisionThink does)."""
    first, native = by_budget[FIRST], by_budget[None]
    if (first.confidence or 0.0) >= CONFIDENT or first.tokens == native.tokens:
        return first
    return replace(
        native,
        tokens=native.tokens + first.tokens,
        flops=native.flops + first.flops,
        seconds=native.seconds + first.seconds,
    )


def at_random(
    questions: Sequence[AnswersByBudget], chosen: Sequence[int | None], tokens: float
) -> list[Prediction]:
    """Expected answers where budgets are drawn as often as in ``chosen``, but blindly.

    The odds are tilted until the mean of the visual tokens is ``tokens``, an allocator's
    overview included, so that both spend the same.
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
            for by_budget in questions
            for share, budget in zip(odds(tilt), budgets, strict=True)
        ) / len(questions)

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
        for by_budget in questions
    ]


def draw_pareto(rows: Sequence[Row], file: Path) -> None:
    """Write a PNG: all questions together, cost as a share of native, 95 % of the score as bars."""
    from matplotlib.figure import Figure

    whole = [row for row in rows if row.task == row.topic == row.side == ALL]
    figure = Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    for number, policy in enumerate(MARKS):
        own = [row for row in whole if row.as_dict()["policy"] == policy]
        own.sort(key=lambda row: row.values["share_of_native"])
        if not own:
            continue
        cost = [row.values["share_of_native"] for row in own]
        score = [row.values["score"] for row in own]
        bars = [
            [row.values["score"] - row.values.get("low", row.values["score"]) for row in own],
            [row.values.get("high", row.values["score"]) - row.values["score"] for row in own],
        ]
        panel.errorbar(
            cost,
            score,
            bars,
            fmt=MARKS[policy],
            color=f"C{number}",
            label=policy,
            capsize=2,
            linestyle="-" if policy in ("fixed", "allocator") else "none",
            linewidth=0.8,
        )
        for row, x, y in zip(own, cost, score, strict=True):
            name = row.run.effort or (row.budget if policy == "fixed" else "")
            panel.annotate(name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
    panel.set(xscale="log", xlabel="FLOPs, share of native", ylabel="score")
    panel.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_bytes(file) as out:
        figure.savefig(out, dpi=120, format="png")
