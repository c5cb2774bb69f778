"""The table as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from napari_pathreason.training.evaluation import provenance_line

from .figures import ALL, LargeRow, Table

NAMES = {"lymph_node": "lymph node", "blood": "smears", ALL: "mean of sets"}


def markdown(table: Table, seed: int, made: Mapping[str, str]) -> str:
    """The tables, each under a line that says what it shows; below, what made them (`made_by`).

    ``seed`` is that of the intervals.
    """
    parts: list[str] = []
    for form, split in dict.fromkeys((row.form, row.split) for row in table.rows):
        rows = [row for row in table.rows if (row.form, row.split) == (form, split)]
        where = (
            f"`{split}`, regions {'with stains blended' if form == 'blended' else 'as they are'}"
        )
        parts += [
            f"**Score by set**, {where}:",
            "\n".join(_by_set(rows)),
            f"**Score by kind of question**, {where}:",
            "\n".join(_by_topic(rows)),
            f"**Boxes**, {where}: F1 at an overlap of 0.5 and at any; of lesions of 1 to 4 tiles, "
            "and of 5 to 16, the share that a box touches; of regions without any, the share that "
            "has no box:",
            "\n".join(_boxes(rows)),
        ]
        differences = [d for d in table.differences if (d.form, d.split) == (form, split)]
        if differences:
            parts += [
                f"**Differences** on the same questions, {where}:",
                "\n".join(_differences(differences)),
            ]
    numbers = {
        f"{row.split}, {row.form.replace('_', ' ')}": row.values["n"]
        for row in table.rows
        if row.dataset == row.topic == ALL
    }
    each = [f"n {number:,.0f} of {name}" for name, number in numbers.items()]
    parts.append(provenance_line([*each, f"seed {seed}"], made))
    return "\n\n".join(parts)


def as_json(table: Table, about: Mapping[str, Any]) -> str:
    """``about``, ``rows`` and ``differences``, a row a line."""
    parts = [f'"about": {json.dumps(about)}']
    for name, listed in (("rows", table.rows), ("differences", table.differences)):
        lines = ",\n".join(json.dumps(one.as_dict()) for one in listed)
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _by_set(rows: Sequence[LargeRow]) -> Iterator[str]:
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    names = [NAMES.get(dataset, dataset) for dataset in datasets]
    yield from _head(
        "policy", "budget", *names, "95 %", "windows", "tokens", "GFLOPs", "share", "s"
    )
    for (policy, budget), own in _ways(rows).items():
        whole = {row.dataset: row.values for row in own if row.topic == ALL}
        mean = whole[ALL]
        yield _line(
            policy,
            budget,
            *(f"{whole[dataset]['score']:.2f}" for dataset in datasets),
            _range(mean),
            _figure(mean, "windows", ".1f"),
            _figure(mean, "tokens", ",.0f"),
            _figure(mean, "flops", ",.1f", 1e-9),
            _figure(mean, "share_of_native", ".3f"),
            _figure(mean, "seconds", ".1f"),
        )


def _by_topic(rows: Sequence[LargeRow]) -> Iterator[str]:
    ways = _ways(rows)
    kinds = dict.fromkeys((row.dataset, row.topic) for row in rows if row.topic != ALL)
    names = (f"{policy} {budget}".strip() for policy, budget in ways)
    yield from _head("set", "kind", "n", *names)
    for dataset, topic in kinds:
        own = [
            next(row.values for row in group if (row.dataset, row.topic) == (dataset, topic))
            for group in ways.values()
        ]
        scores = (f"{values['score']:.2f}" for values in own)
        yield _line(NAMES.get(dataset, dataset), topic, f"{own[0]['n']:.0f}", *scores)


def _boxes(rows: Sequence[LargeRow]) -> Iterator[str]:
    yield from _head("kind", "policy", "budget", "F1", "95 %", "any", "1 to 4", "5 to 16", "empty")
    kinds = dict.fromkeys(row.topic for row in rows if row.topic != ALL and "f1" in row.values)
    for topic in kinds:
        for row in (row for row in rows if row.topic == topic and "f1" in row.values):
            values = row.values
            shown = ("f1_touching", "recall_small", "recall_large", "empty_right")
            figures = [_figure(values, name, ".2f") for name in shown]
            f1 = f"{values['f1']:.2f}"
            yield _line(topic, row.policy, row.budget, f1, _range(values, "f1_"), *figures)


def _differences(differences: Sequence[Any]) -> Iterator[str]:
    yield from _head("way", "against", "set", "difference", "95 %")
    for one in differences:
        spread = f"{one.low:+.2f} to {one.high:+.2f}"
        name = NAMES.get(one.dataset, one.dataset)
        yield _line(one.way, one.other, name, f"{one.difference:+.3f}", spread)


def _ways(rows: Sequence[LargeRow]) -> dict[tuple[str, str], list[LargeRow]]:
    ways: dict[tuple[str, str], list[LargeRow]] = {}
    for row in rows:
        ways.setdefault((row.policy, row.budget), []).append(row)
    return ways


def _figure(values: Mapping[str, float], name: str, form: str, scale: float = 1.0) -> str:
    value = values.get(name)
    return "" if value is None or value != value else f"{value * scale:{form}}"


def _range(values: Mapping[str, float], prefix: str = "") -> str:
    return f"{values[f'{prefix}low']:.2f}-{values[f'{prefix}high']:.2f}"


def _head(*cells: str) -> Iterator[str]:
    yield _line(*cells)
    yield "|" + "---|" * len(cells)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
