"""The figures of an evaluation as Markdown: one main table, then small ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ._goals import Outcome
from ._stages import RowDict, stage_lines
from ._table import ALL, Row

Values = Mapping[str, float]
Groups = Mapping[tuple[str, str], dict[str, Row]]


def markdown(
    rows: Sequence[Row],
    sizes: Sequence[Row],
    policies: Sequence[Row],
    goals: Sequence[Outcome],
    earlier: Sequence[RowDict] = (),
) -> str:
    """All tables, each under a line that says what it shows."""
    rungs = list(dict.fromkeys(row.budget for row in rows))
    groups = _by_group(rows)
    topics = {key: group for key, group in groups.items() if key[1] != ALL}
    return _page(
        _titled_main(groups, rungs),
        _titled_goals(goals),
        ("What a rung costs, over all questions", _costs(groups.get((ALL, ALL), {}))),
        ("Who chooses the budget, over all questions", _policies(rows, policies)),
        ("Stages of training, at the same rung", _grid(*stage_lines(earlier, rows))),
        ("Counts: share of questions within a relative error", _counts(topics)),
        (
            "Boxes: F1 at an overlap of 0.5, and pictures without any that were left free",
            _boxes(topics, rungs),
        ),
        (
            "Cited evidence: confirmed by the labels, and by those of another picture",
            _evidence(topics),
        ),
        ("Phrasings that training knew, and held-out ones", _phrasings(groups)),
        ("Score by the long side of the region, px", _sizes(sizes, rungs)),
    )


def short_markdown(rows: Sequence[Row], goals: Sequence[Outcome]) -> str:
    """The main table and the targets."""
    rungs = list(dict.fromkeys(row.budget for row in rows))
    return _page(_titled_main(_by_group(rows), rungs), _titled_goals(goals))


def _titled_main(groups: Groups, rungs: Sequence[str]) -> tuple[str, str]:
    return "Score of each question at each rung", _main(groups, rungs)


def _titled_goals(goals: Sequence[Outcome]) -> tuple[str, str]:
    return "Targets", _goals(goals)


def _page(*parts: tuple[str, str]) -> str:
    return "\n\n".join(f"**{title}**\n\n{text}" for title, text in parts if text)


def best(group: Mapping[str, Row]) -> Row:
    """The row of the rung with the highest score; the cheapest of equal ones."""
    return max(group.values(), key=lambda row: row.values["score"])


def _by_group(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row.task, row.topic), {})[row.budget] = row
    return groups


def _main(groups: Groups, rungs: Sequence[str]) -> str:
    head = ["question", "n", *rungs, "95 % at best", "constant", "text only", "colour + texture"]
    lines = []
    for (task, topic), group in groups.items():
        top = best(group).values
        lines.append(
            [
                _name(task, topic),
                f"{top['n']:.0f}",
                *(_at(group, rung, "score") for rung in rungs),
                f"{top['low']:.2f}-{top['high']:.2f}",
                *(_value(top, arm) for arm in ("constant", "text_only", "baseline")),
            ]
        )
    return _grid(head, lines)


def _goals(goals: Sequence[Outcome]) -> str:
    lines = [
        [
            g.goal.name,
            f"{'<=' if g.goal.at_most else '>='} {g.goal.bound:g}",
            f"{g.measured:.3f}" + ("" if g.low is None else f" ({g.low:.2f}-{g.high:.2f})"),
            "yes" if g.reached else "no",
            g.rung,
            "; ".join(
                [f"{name.replace('_', ' ')} {value:.3f}" for name, value in g.beside.items()]
                + ([g.goal.known] if g.goal.known else [])
            ),
        ]
        for g in goals
    ]
    return _grid(["target", "bound", "measured (95 %)", "reached", "rung", "beside it"], lines)


def _costs(group: Mapping[str, Row]) -> str:
    columns: dict[str, Callable[[Values], str]] = {
        "score": lambda v: f"{v['score']:.3f}",
        "text only": lambda v: _value(v, "text_only"),
        "without rationale": lambda v: _value(v, "unreasoned"),
        "tokens": lambda v: f"{v['tokens']:.0f}",
        "GFLOPs": lambda v: f"{v['flops'] / 1e9:.2f}",
        "of native": lambda v: f"{100 * v['share_of_native']:.0f} %",
        "median s": lambda v: _value(v, "seconds"),
        "well formed": lambda v: _value(v, "well_formed"),
        "evidence confirmed": lambda v: _value(v, "confirmed"),
        "shuffled": lambda v: _value(v, "shuffled"),
        "ECE": lambda v: _value(v, "ece", 3),
        "known called strange": lambda v: _value(v, "called_strange", 3),
        "strange passed as known": lambda v: _value(v, "passed_as_known", 3),
    }
    lines = [
        [rung, *(show(row.values) for show in columns.values())] for rung, row in group.items()
    ]
    return _grid(["rung", *columns], lines)


def _policies(rows: Sequence[Row], policies: Sequence[Row]) -> str:
    """Every rung and every policy, cheapest first."""
    if not policies:
        return ""
    whole = [row for row in [*rows, *policies] if row.task == row.topic == ALL]
    whole.sort(key=lambda row: row.values["flops"])
    lines = [
        [
            f"{row.as_dict()['policy']} {row.run.effort or ''}".strip(),
            row.budget if row.run.policy == "fixed" else "-",
            f"{v['score']:.3f} ({v['low']:.3f}-{v['high']:.3f})",
            f"{v['tokens']:.0f}",
            f"{v['flops'] / 1e9:.2f}",
            f"{100 * v['share_of_native']:.0f} %",
            _value(v, "seconds"),
        ]
        for row in whole
        for v in [row.values]
    ]
    head = ["policy", "rung", "score (95 %)", "tokens", "GFLOPs", "of native", "median s"]
    return _grid(head, lines)


def _counts(groups: Groups) -> str:
    lines = []
    for (_, topic), group in groups.items():
        row = best(group)
        if "within_20" in row.values:
            names = ["exact", "within_10", "within_15", "within_20"]
            names += ["constant_within_20", "baseline_within_20"]
            lines.append([topic, row.budget, *(_value(row.values, name) for name in names)])
    head = ["count", "best rung", "exact", "10 %", "15 %", "20 %"]
    return _grid([*head, "constant, 20 %", "colour + texture, 20 %"], lines)


def _boxes(groups: Groups, rungs: Sequence[str]) -> str:
    lines = []
    for (_, topic), group in groups.items():
        top = best(group).values
        for name in top:
            if name == "f1" or (name.startswith("f1_") and not name.endswith(("_low", "_high"))):
                label = "all" if name == "f1" else name.removeprefix("f1_").replace("_", " ")
                free = (
                    [" / ".join(_at(group, rung, "empty_right") for rung in rungs)]
                    if name == "f1"
                    else [""]
                )
                lines.append([topic, label, *(_at(group, rung, name) for rung in rungs), *free])
    return _grid(["boxes", "label", *rungs, f"free ones right at {' / '.join(rungs)}"], lines)


def _evidence(groups: Groups) -> str:
    lines = []
    for (_, topic), group in groups.items():
        row = best(group)
        if "confirmed" in row.values:
            figures = [_value(row.values, name) for name in ("confirmed", "shuffled")]
            lines.append([topic, row.budget, *figures])
    return _grid(["question", "best rung", "confirmed", "shuffled"], lines)


def _phrasings(groups: Groups) -> str:
    lines = []
    for (task, topic), group in groups.items():
        row = best(group)
        v = row.values
        if "gap" in v:
            lines.append(
                [
                    _name(task, topic),
                    row.budget,
                    f"{v['trained']:.3f}",
                    f"{v['held_out']:.3f}",
                    f"{v['gap']:+.3f} ({v['gap_low']:+.2f} to {v['gap_high']:+.2f})",
                ]
            )
    return _grid(["question", "best rung", "trained", "held out", "lost (95 %)"], lines)


def _sizes(rows: Sequence[Row], rungs: Sequence[str]) -> str:
    groups: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in sorted(rows, key=lambda row: (row.topic == ALL, row.topic, row.task == ALL)):
        groups.setdefault((row.task, row.topic, row.side), {})[row.budget] = row
    lines = []
    for (task, topic, side), group in groups.items():
        top = best(group).values
        interval = f"{top['low']:.2f}-{top['high']:.2f}"
        scores = [_at(group, rung, "score") for rung in rungs]
        lines.append([_name(task, topic), side, f"{top['n']:.0f}", *scores, interval])
    return _grid(["question", "side", "n", *rungs, "95 % at best"], lines)


def _name(task: str, topic: str) -> str:
    if topic != ALL:
        return topic
    return "**all**" if task == ALL else f"*all of {task}*"


def _at(group: Mapping[str, Row], rung: str, name: str) -> str:
    return _value(group[rung].values, name) if rung in group else "-"


def _value(values: Values, name: str, digits: int = 2) -> str:
    return f"{values[name]:.{digits}f}" if name in values else "-"


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    rule = "|" + "---|" * len(head)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(x)} |" for x in lines)])
