"""Rows of figures: per topic, task and over all, at each budget, by size, by group, by stage."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from napari_pathreason.errors import QueryError

from ._classes import class_figures
from ._draws import group_figures
from ._measures import (
    EVERY,
    TOLERANCES,
    Measure,
    best_guess,
    calibration_error,
    interval,
    phrasing_gap,
    ratio,
    topic_measures,
)
from ._predictions import Condition, Prediction
from ._ranking import THRESHOLD, Thresholds, box_figures, class_ranking, two_choice_figures

ALL = "all"
_PICTURES = "pictures_sha256"
OWN = 0.05
"""Share of the questions that must be shown another picture for a budget to be one of its own."""
WITH_INTERVAL = {"score", "confirmed", *TOLERANCES, "f1", "empty_right"}
BANDS = (128, 256, 512)
"""Upper bounds of the long side of a region in level-0 pixels; the last band has none."""


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured.

    ``stage`` is the training that the weights come out of, ``policy`` who chose the budget
    (``fixed`` for budgets), ``effort`` the trade-off of a learned policy.
    """

    model: str
    stage: str = "sft"
    policy: str = "fixed"
    effort: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one group of questions at one budget.

    ``task`` and ``topic`` are ``all`` where a row spans several, ``side`` is a band of region
    sizes or ``all``, ``group`` one group of pictures or ``all``. ``values`` holds ``n``, ``score``
    with ``low`` and ``high`` (95 %, bootstrap; see `interval`), means of ``tokens`` and ``flops``,
    the median of ``seconds``, ``groups`` where the interval is over several of pictures, and what
    else the questions have; ``X_low`` and ``X_high`` bound a measure X. Bounds are missing where
    all questions are of one group. Of a topic stand the figures of `class_figures`,
    `two_choice_figures`, `class_ranking` and `box_figures` too, and those of `group_figures` in
    every row. ``constant``, ``text_only``, ``unreasoned`` and ``baseline`` are the scores of those
    conditions on the same questions, ``constant_X`` and ``baseline_X`` their other figures.
    """

    run: Run
    budget: str
    task: str
    topic: str
    side: str = ALL
    values: Mapping[str, float] = field(default_factory=dict)
    group: str = ALL

    def as_dict(self) -> dict[str, Any]:
        """The row as plain values for JSON."""
        identity = {
            "model": self.run.model,
            "stage": self.run.stage,
            "policy": self.run.policy if self.budget != "native" else "native",
            "budget": self.budget,
            "effort": self.run.effort,
            "task": self.task,
            "topic": self.topic,
            "side": self.side,
        }
        if self.group != ALL:
            identity["group"] = self.group
        return identity | {name: _short(value) for name, value in self.values.items()}


def table(
    items: Sequence[Prediction],
    run: Run,
    seed: int = 0,
    thresholds: Thresholds = MappingProxyType({}),
) -> list[Row]:
    """Rows of every topic, every task and of all questions, at each budget.

    ``thresholds`` are probabilities by topic from which the positive one of two choices counts as
    said, or each of other choices by its name; without one that is `THRESHOLD`, and of other
    choices the answer.
    """
    return [
        _row(group, run, key, seed, thresholds=thresholds)
        for key, group in _groups(items)
        if any(i.condition == "model" for i in group)
    ]


def policy_table(items: Sequence[Prediction], run: Run, seed: int = 0) -> list[Row]:
    """The same rows where a policy chose the budget of each question; their budget is ``auto``."""
    rows = []
    for task, topic in _spans(items):
        group = [i for i in items if topic in (ALL, i.topic) and task in (ALL, i.task)]
        rows.append(_row(group, run, (task, topic, "auto"), seed))
    return rows


def size_table(items: Sequence[Prediction], run: Run, seed: int = 0) -> list[Row]:
    """The same rows by size of the region; a topic that has one size only is left out."""
    bands: dict[str, list[Prediction]] = defaultdict(list)
    for item in items:
        bands[band(item.side)].append(item)
    rows = []
    for name in sorted(bands, key=lambda name: (">" in name, int(name.strip("<=> ")))):
        rows += [_row(group, run, key, seed, name) for key, group in _groups(bands[name])]
    sizes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        sizes[row.task, row.topic].add(row.side)
    return [row for row in rows if len(sizes[row.task, row.topic]) > 1]


def group_table(items: Sequence[Prediction], run: Run, seed: int = 0) -> list[Row]:
    """The same rows for each group of pictures (`Prediction.group`) of a topic that has several.

    Topics with pictures of no group are left out: their groups do not add up to them.
    """
    groups: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    partly = {item.topic for item in items if not item.group}
    for item in items:
        if item.topic not in partly:
            groups[item.topic, item.group].append(item)
    topics = Counter(topic for topic, _ in groups)
    return [
        replace(row, group=name)
        for (topic, name), members in sorted(groups.items())
        if topics[topic] > 1
        for row in table(members, run, seed)
        if row.topic == topic
    ]


@dataclass(frozen=True, slots=True)
class Stages:
    """Rows of the stages of training before; ``notes`` say what is not known of them."""

    rows: list[dict[str, Any]]
    notes: tuple[str, ...] = ()


def read_stages(files: Sequence[Path], about: Mapping[str, Any]) -> Stages:
    """Rows over all topics, of fixed budgets, out of files of ``evaluate --json``.

    Parameters
    ----------
    files : sequence of Path
        Of earlier stages of training.
    about : mapping
        What the evaluation at hand asks; an earlier one must have asked the same.

    Raises
    ------
    QueryError
        If a file is missing, is none of ours, or asked other questions or about other pictures.
    """
    rows, notes = [], []
    for file in files:
        try:
            results = json.loads(file.read_text(encoding="utf-8"))
            questions, all_rows = results["about"], results["rows"]
        except (OSError, ValueError, KeyError, TypeError):
            raise QueryError(
                f"{file.name} is no result of `pathreason evaluate --json`; make it anew"
            ) from None
        if isinstance(questions, dict) and _PICTURES not in questions:
            questions = {**questions, _PICTURES: about[_PICTURES]}
            notes.append(f"{file.name} does not say which pictures it is of.")
        if questions != about:
            raise QueryError(
                f"{file.name} asked other questions, about other pictures, or with another "
                "encoder; evaluate both with the same --data, --per-topic, --seed and --encoder"
            )
        rows += [r for r in all_rows if r["topic"] == r["side"] == ALL and r["policy"] == "fixed"]
    return Stages(rows, tuple(notes))


def own_budgets(items: Sequence[Prediction]) -> tuple[list[int | None], list[int | None]]:
    """Budgets that the model was asked at: those that are measurements of their own, and others.

    A budget is one where at least `OWN` of the questions are shown another picture than at the next
    smaller such budget, and than at native size, which always is one where it was asked. At the
    others the same answers to the same pictures would stand under another name.
    """
    sizes: dict[int | None, dict[int, tuple[int, int]]] = defaultdict(dict)
    for item in items:
        if item.condition == "model":
            sizes[item.budget][item.index] = item.size

    def differ(a: int | None, b: int | None) -> bool:
        pairs = [(sizes[a][index], size) for index, size in sizes[b].items() if index in sizes[a]]
        return sum(x != y for x, y in pairs) >= OWN * len(pairs)

    own: list[int | None] = []
    for budget in sorted(b for b in sizes if b is not None):
        before, native = own[-1:], [None] if None in sizes else []
        if all(differ(budget, other) for other in (*before, *native)):
            own.append(budget)
    own += [None] if None in sizes else []
    return own, sorted((b for b in sizes if b not in own), key=lambda b: b or 0)


def band(side: int) -> str:
    """Name of the band of a region's long side, level-0 pixels."""
    bound = next((bound for bound in BANDS if side <= bound), None)
    return f"> {BANDS[-1]}" if bound is None else f"<= {bound}"


def budget_name(budget: int | None) -> str:
    """A budget as it stands in rows."""
    return "native" if budget is None else str(budget)


def _spans(items: Sequence[Prediction]) -> list[tuple[str, str]]:
    """(task, topic) of every group: each topic, each task, and all."""
    tasks: dict[str, set[str]] = defaultdict(set)
    for item in items:
        tasks[item.topic].add(item.task)
    spans = [(min(kinds) if len(kinds) == 1 else ALL, topic) for topic, kinds in tasks.items()]
    spans = sorted(spans, key=lambda span: span[1])
    return spans + [(task, ALL) for task in sorted({item.task for item in items})] + [(ALL, ALL)]


def _groups(items: Sequence[Prediction]) -> Iterator[tuple[tuple[str, str, str], list[Prediction]]]:
    """Items by (task, topic, budget); constant and baseline, which have no budget, go to each."""
    budgets = sorted({i.budget for i in items if i.condition == "model"}, key=lambda b: b or 10**9)
    for task, topic in _spans(items):
        within = [i for i in items if (topic in (ALL, i.topic)) and (task in (ALL, i.task))]
        for budget in budgets:
            yield (
                (task, topic, budget_name(budget)),
                [
                    i
                    for i in within
                    if i.budget == budget or i.condition in ("constant", "baseline")
                ],
            )


def _row(
    group: Sequence[Prediction],
    run: Run,
    key: tuple[str, str, str],
    seed: int,
    side: str = ALL,
    thresholds: Thresholds = MappingProxyType({}),
) -> Row:
    task, topic, budget = key
    conditions: dict[Condition, list[Prediction]] = defaultdict(list)
    for item in group:
        conditions[item.condition].append(item)
    ours = conditions["model"]
    measures = EVERY | (topic_measures(ours) if topic != ALL else {})
    values: dict[str, float] = {"n": len(ours)}
    groups = {item.group for item in ours}
    if len(groups) > 1 and "" not in groups:
        values["groups"] = len(groups)
    for name, measure in measures.items():
        values |= _figure(name, measure, ours, seed)
    if timed := [item.seconds for item in ours if not math.isnan(item.seconds)]:
        values["seconds"] = float(np.median(timed))
    values |= phrasing_gap(ours, seed)
    if (error := calibration_error(ours)) is not None:
        values["ece"] = error
    if topic != ALL:
        values |= class_figures(ours, seed) | box_figures(ours, seed)
        chosen = thresholds.get(topic, THRESHOLD)
        one, each = (THRESHOLD, chosen) if isinstance(chosen, Mapping) else (chosen, None)
        values |= two_choice_figures(ours, seed, one) | class_ranking(ours, seed, each)
    values |= group_figures(ours, seed)
    for condition in ("constant", "text_only", "unreasoned", "baseline"):
        values |= _beside(condition, conditions[condition], ours, measures)
        own = conditions[condition]
        if topic != ALL and condition != "text_only" and len(own) == len(ours):
            figures = class_figures(own, seed)
            values |= {f"{condition}_{n}": figures[n] for n in ("balanced",) if n in figures}
    return Row(run, budget, task, topic, side, values)


def has_interval(name: str) -> bool:
    """Whether rows bound a measure, unless one question or group speaks alone."""
    return name in WITH_INTERVAL or name.startswith("f1_")


def _figure(
    name: str, measure: Measure, items: Sequence[Prediction], seed: int
) -> dict[str, float]:
    value = ratio(measure, items)
    if value is None:
        return {}
    figures = {name: value}
    if has_interval(name) and (bounds := interval(measure, items, seed)) is not None:
        low, high = bounds
        prefix = "" if name == "score" else f"{name}_"
        figures |= {f"{prefix}low": low, f"{prefix}high": high}
    if name == "empty_right":
        figures["empty_n"] = sum(measure(item) is not None for item in items)
    return figures


def _beside(
    condition: Condition,
    items: Sequence[Prediction],
    ours: Sequence[Prediction],
    measures: Mapping[str, Measure],
) -> dict[str, float]:
    """Figures of another condition, where it answered the same questions."""
    if {item.index for item in items} != {item.index for item in ours}:
        return {}
    figures = {}
    for name, measure in measures.items():
        value = ratio(measure, items)
        if value is None or (name != "score" and name in EVERY):
            continue
        if condition == "constant" and name in TOLERANCES:  # the best number for this very measure
            value = best_guess(items, TOLERANCES[name])
        figures[condition if name == "score" else f"{condition}_{name}"] = value
    return figures


def _short(value: float) -> float:
    """Four digits behind the point; large numbers as whole ones."""
    return round(value) if abs(value) >= 1e5 else round(value, 4)
