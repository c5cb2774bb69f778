"""What the embedded model is meant to reach on the ``test`` splits, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._table import ALL, Row


@dataclass(frozen=True, slots=True)
class Goal:
    """A target.

    ``measure`` of the rows of ``topic`` must be at least ``bound`` (at most where ``at_most``).
    It is read at the rung where ``best_by`` is best, or at ``budget`` where that is named.
    ``known`` is what is known from elsewhere; ``beside`` names figures of the same row.
    """

    name: str
    topic: str
    measure: str
    bound: float
    at_most: bool = False
    best_by: str = ""
    budget: str = ""
    beside: tuple[str, ...] = ("constant", "baseline")
    known: str = ""


GOALS = (
    Goal(
        "lymph node, tumour or not: accuracy",
        *("tumour in a tile", "score", 0.89),
        known="colour and texture 0.854, frozen DINOv2 probe 0.86, probe per cell 0.88",
    ),
    Goal(
        "lung subtype: accuracy",
        *("lung subtype", "score", 0.96),
        known="colour and texture 0.953, frozen DINOv2 probe 0.97 at 224 px",
    ),
    Goal("white cells, boxes: F1 at 0.5", "boxes of white cell", "f1", 0.90, beside=()),
    Goal("platelets, boxes: F1 at 0.5", "boxes of platelet", "f1", 0.60, beside=()),
    Goal(
        "red cells counted within 15 %",
        *("number of red cells", "within_15", 0.60),
        beside=("constant_within_15", "baseline_within_15"),
    ),
    Goal(
        "nuclei counted within 20 %, organs never seen",
        *("number of nuclei", "within_20", 0.50),
        beside=("constant_within_20", "baseline_within_20"),
    ),
    Goal(
        "lesion fields (composed of tiles): box score",
        *("boxes of tumour", "score", 0.70),
        known="first probe 0.40 / 0.48 / 0.49 at 16 / 64 / 144 tokens",
    ),
    Goal(
        "lesion-free fields right",
        *("boxes of tumour", "empty_right", 0.90),
        best_by="score",
        beside=(),
    ),
    Goal("cited evidence confirmed", ALL, "confirmed", 0.80, best_by="score", beside=("shuffled",)),
    Goal(
        "held-out phrasings: points lost",
        *(ALL, "gap", 0.01),
        at_most=True,
        best_by="score",
        beside=("gap_low", "gap_high"),
    ),
    Goal("calibration error (ECE)", ALL, "ece", 0.05, at_most=True, best_by="score", beside=()),
    Goal(
        "one answer at 64 tokens: median s",
        *(ALL, "seconds", 0.5),
        at_most=True,
        budget="64",
        beside=(),
    ),
    Goal("weights: MB", ALL, "megabytes", 40, at_most=True, best_by="score", beside=()),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A goal and what was measured: at every rung, and at the one that counts."""

    goal: Goal
    by_rung: dict[str, float]
    rung: str
    measured: float
    reached: bool
    n: int
    low: float | None
    high: float | None
    beside: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain values for JSON."""
        return {
            "name": self.goal.name,
            "topic": self.goal.topic,
            "measure": self.goal.measure,
            "bound": self.goal.bound,
            "at_most": self.goal.at_most,
            "known": self.goal.known,
            "by_rung": {rung: round(value, 4) for rung, value in self.by_rung.items()},
            "rung": self.rung,
            "measured": round(self.measured, 4),
            "reached": self.reached,
            "n": self.n,
            "low": self.low,
            "high": self.high,
            "beside": {name: round(value, 4) for name, value in self.beside.items()},
        }


def outcomes(rows: Sequence[Row], goals: Sequence[Goal] = GOALS) -> list[Outcome]:
    """What was measured of each goal; a goal whose questions were not asked is left out."""
    found = []
    for goal in goals:
        asked = [r for r in rows if r.topic == goal.topic and goal.measure in r.values]
        asked = [r for r in asked if goal.topic != ALL or r.task == ALL]
        row = _deciding(goal, asked)
        if row is None:
            continue
        value = row.values[goal.measure]
        prefix = "" if goal.measure == "score" else f"{goal.measure}_"
        found.append(
            Outcome(
                goal=goal,
                by_rung={r.budget: r.values[goal.measure] for r in asked},
                rung=row.budget,
                measured=value,
                reached=value <= goal.bound if goal.at_most else value >= goal.bound,
                n=int(row.values["n"]),
                low=row.values.get(f"{prefix}low"),
                high=row.values.get(f"{prefix}high"),
                beside={name: row.values[name] for name in goal.beside if name in row.values},
            )
        )
    return found


def _deciding(goal: Goal, rows: Sequence[Row]) -> Row | None:
    if goal.budget:
        return next((row for row in rows if row.budget == goal.budget), None)
    name = goal.best_by or goal.measure
    sign = -1 if goal.at_most and not goal.best_by else 1
    return max(rows, key=lambda row: sign * row.values[name], default=None)
