"""Scores per kind of question and per rung, with intervals and what they must be read beside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._evaluate import Item


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a topic at a rung.

    ``constant`` is the best score that one fixed answer reaches on the same questions, ``blank``
    the model's own score when the picture is white (text only); ``low`` and ``high`` bound the
    score's 95 % interval (bootstrap over questions).
    """

    topic: str
    budget: str
    n: int
    score: float
    low: float
    high: float
    constant: float
    blank: float | None
    tokens: float
    seconds: float
    well_formed: float
    faithful: float | None


def table(items: Sequence[Item], constants: dict[str, float], seed: int = 0) -> list[Row]:
    """Rows by topic and rung out of per-item records."""
    groups: dict[tuple[str, int | None], list[Item]] = defaultdict(list)
    blanks: dict[str, list[float]] = defaultdict(list)
    for item in items:
        if item.blank:
            blanks[item.topic].append(item.score)
        else:
            groups[item.topic, item.budget].append(item)
    rows = []
    for (topic, budget), group in sorted(
        groups.items(), key=lambda entry: (entry[0][0], entry[0][1] or 10**9)
    ):
        low, high = interval([item.score for item in group], seed)
        cited = sum(item.cited for item in group)
        rows.append(
            Row(
                topic=topic,
                budget="native" if budget is None else str(budget),
                n=len(group),
                score=_mean([item.score for item in group]),
                low=low,
                high=high,
                constant=constants[topic],
                blank=_mean(blanks[topic]) if blanks[topic] else None,
                tokens=_mean([item.tokens for item in group]),
                seconds=float(np.median([item.seconds for item in group])),
                well_formed=_mean([float(item.well_formed) for item in group]),
                faithful=sum(item.confirmed for item in group) / cited if cited else None,
            )
        )
    return rows


def interval(scores: Sequence[float], seed: int, draws: int = 1000) -> tuple[float, float]:
    """95 % bootstrap interval of a mean."""
    values = np.asarray(scores)
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (draws, len(values))).mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    lines = [
        "| question | budget | n | score (95 %) | constant answer | text only | tokens | seconds "
        "| well formed | evidence confirmed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        blank = "-" if row.blank is None else f"{row.blank:.2f}"
        faithful = "-" if row.faithful is None else f"{row.faithful:.2f}"
        lines.append(
            f"| {row.topic} | {row.budget} | {row.n} | {row.score:.3f} ({row.low:.2f}-"
            f"{row.high:.2f}) | {row.constant:.3f} | {blank} | {row.tokens:.0f} | "
            f"{row.seconds:.2f} | {row.well_formed:.2f} | {faithful} |"
        )
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
