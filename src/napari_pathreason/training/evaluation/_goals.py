"""What a model is meant to reach, read from a file, and whether it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from napari_pathreason.errors import QueryError

from ._honesty import refuse_on_test
from ._table import ALL, Row, has_interval


class Goal(BaseModel):
    """A target.

    ``measure`` of the rows of ``topic`` must be at least ``bound`` (at most where ``at_most``).
    It is read at the budget where ``best_by`` is best, or at ``budget`` where that is named.
    ``known`` is what is known from elsewhere; ``beside`` names figures of the same row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    topic: str = ALL
    measure: str = "score"
    bound: float
    at_most: bool = False
    best_by: str = ""
    budget: str = ""
    beside: tuple[str, ...] = ("constant", "baseline")
    known: str = ""


def read_goals(file: Path | None) -> tuple[Goal, ...]:
    """Targets out of a YAML list; none without a file.

    Raises
    ------
    QueryError
        If the file is missing, is no YAML, or holds an unknown key or a wrong type; names it.
    """
    if file is None:
        return ()
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        return TypeAdapter(tuple[Goal, ...]).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise QueryError(f"{file.name}, {where}: {first['msg']}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0][:80]
        raise QueryError(f"{file.name} is no YAML list of targets: {reason}") from None


@dataclass(frozen=True, slots=True)
class GoalOutcome:
    """A goal and what was measured: at every budget, and at the one that counts.

    ``groups`` is how many groups of pictures the interval is over; 0 where it is over questions.
    """

    goal: Goal
    by_budget: dict[str, float]
    budget: str
    measured: float
    reached: bool
    n: int
    low: float | None
    high: float | None
    beside: dict[str, float]
    groups: int = 0

    @property
    def verdict(self) -> Literal["yes", "no", "open"]:
        """Whether the target was reached; open where the interval holds the bound.

        It is open too where pictures of one group alone speak of a measure that others have an
        interval of: they tell nothing of another group.
        """
        if self.low is None or self.high is None:
            certain = not has_interval(self.goal.measure)
        else:
            certain = not self.low < self.goal.bound < self.high
        if not certain:
            return "open"
        return "yes" if self.reached else "no"

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain values for JSON."""
        return {
            "name": self.goal.name,
            "topic": self.goal.topic,
            "measure": self.goal.measure,
            "bound": self.goal.bound,
            "at_most": self.goal.at_most,
            "known": self.goal.known,
            "by_budget": {budget: round(value, 4) for budget, value in self.by_budget.items()},
            "budget": self.budget,
            "measured": round(self.measured, 4),
            "reached": self.reached,
            "verdict": self.verdict,
            "n": self.n,
            "low": self.low,
            "high": self.high,
            "groups": self.groups,
            "beside": {name: round(value, 4) for name, value in self.beside.items()},
        }


def refuse_choice_on_test(goals: Sequence[Goal], data: Path, budgets: Sequence[object]) -> None:
    """Refuse targets that would be read at the budget that does best on ``test``.

    Parameters
    ----------
    goals : sequence of Goal
    data : Path
        A file of samples; its name says its split.
    budgets : sequence
        That are asked; where it is one, nothing is left to choose.

    Raises
    ------
    QueryError
        Names the first of them.
    """
    chosen = next((goal for goal in goals if not goal.budget), None)
    if len(budgets) > 1 and chosen is not None:
        how = "best_by" if chosen.best_by else "the best budget"
        refuse_on_test(
            data,
            f"--goals: {how} of {chosen.name!r}",
            "name its budget, one that val chose, or ask a single budget",
        )


def outcomes(rows: Sequence[Row], goals: Sequence[Goal]) -> list[GoalOutcome]:
    """What was measured of each goal; a goal whose questions were not asked is left out."""
    measured = []
    for goal in goals:
        own = [r for r in rows if r.topic == goal.topic and goal.measure in r.values]
        own = [r for r in own if goal.topic != ALL or r.task == ALL]
        row = _deciding(goal, own)
        if row is None:
            continue
        value = row.values[goal.measure]
        prefix = "" if goal.measure == "score" else f"{goal.measure}_"
        measured.append(
            GoalOutcome(
                goal=goal,
                by_budget={r.budget: r.values[goal.measure] for r in own},
                budget=row.budget,
                measured=value,
                reached=value <= goal.bound if goal.at_most else value >= goal.bound,
                n=int(row.values["n"]),
                low=row.values.get(f"{prefix}low"),
                high=row.values.get(f"{prefix}high"),
                beside={name: row.values[name] for name in goal.beside if name in row.values},
                groups=int(row.values.get("groups", 0)),
            )
        )
    return measured


def _deciding(goal: Goal, rows: Sequence[Row]) -> Row | None:
    if goal.budget:
        return next((row for row in rows if row.budget == goal.budget), None)
    name = goal.best_by or goal.measure
    sign = -1 if goal.at_most and not goal.best_by else 1
    return max(rows, key=lambda row: sign * row.values[name], default=None)
