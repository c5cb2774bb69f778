"""The figures of an evaluation as a page: one main table, then small ones, between two marks.

Tables are Markdown. A page that people write keeps its words: only what stands between the marks of
a kind of figures is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError
from napari_pathreason.files import atomic_text
from napari_pathreason.training.tables import table

from ._goals import GoalOutcome
from ._table import ALL, Row

FIGURES, RELIABILITY = "figures", "reliability"
"""What stands between the marks of a page."""

MOST_GROUPS = 30
"""Groups of a kind of question up to which each has a line of its own."""
RowDict = Mapping[str, Any]
Values = Mapping[str, float]
Groups = Mapping[tuple[str, str], dict[str, Row]]


def markdown(
    rows: Sequence[Row],
    sizes: Sequence[Row],
    policies: Sequence[Row],
    goals: Sequence[GoalOutcome],
    earlier: Sequence[RowDict] = (),
    groups: Sequence[Row] = (),
    grouped_by: str = "group",
    notes: Sequence[str] = (),
) -> str:
    """All tables, each under a line that says what it shows; ``notes`` stand below the first.

    ``groups`` are rows by what ``grouped_by`` names.
    """
    budgets = list(dict.fromkeys(row.budget for row in rows))
    spans = _by_group(rows)
    topics = {key: group for key, group in spans.items() if key[1] != ALL}
    return _page(
        _titled_main(spans, budgets, notes),
        _titled_goals(goals, grouped_by),
        ("Choices, at the best budget of each kind of question", _choices(topics)),
        ("Each class against the rest, at the same budget", _classes(topics)),
        ("Two choices: how the positive one is told, at the same budget", _two_choices(topics)),
        ("Boxes by confidence, at the same budget", _ranked(topics)),
        (f"Each {grouped_by} counted once, at the same budget", _by_groups(topics)),
        (
            f"By {grouped_by}, at the best budget of each kind of question",
            _group_lines(topics, groups, grouped_by),
        ),
        ("What a budget costs, over all questions", _costs(spans.get((ALL, ALL), {}))),
        ("Who chooses the budget, over all questions", _policies(rows, policies)),
        ("Stages of training, at the same budget", _stages(earlier, rows)),
        ("Counts: share of questions within a relative error", _counts(topics, grouped_by)),
        (
            "Boxes: F1 at an overlap of 0.5, and pictures without any that were left free",
            _boxes(topics, budgets),
        ),
        (
            "Cited evidence: confirmed by the labels, and by those of another picture",
            _evidence(topics),
        ),
        ("Phrasings that training knew, and held-out ones", _phrasings(spans)),
        ("Score by the long side of the region, px", _sizes(sizes, budgets)),
    )


def short_markdown(
    rows: Sequence[Row],
    goals: Sequence[GoalOutcome],
    grouped_by: str = "group",
    notes: Sequence[str] = (),
) -> str:
    """The main table and the targets, where there are any."""
    budgets = list(dict.fromkeys(row.budget for row in rows))
    return _page(_titled_main(_by_group(rows), budgets, notes), _titled_goals(goals, grouped_by))


def _titled_main(groups: Groups, budgets: Sequence[str], notes: Sequence[str]) -> tuple[str, str]:
    return "Score of each question at each budget", "\n\n".join([_main(groups, budgets), *notes])


def _titled_goals(goals: Sequence[GoalOutcome], grouped_by: str) -> tuple[str, str]:
    return "Targets", _goals(goals, grouped_by)


def _page(*parts: tuple[str, str]) -> str:
    return "\n\n".join(f"**{title}**\n\n{text}" for title, text in parts if text)


def best(group: Mapping[str, Row]) -> Row:
    """The row of the budget with the highest score; the cheapest of equal ones."""
    return max(group.values(), key=lambda row: row.values["score"])


def _by_group(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row.task, row.topic), {})[row.budget] = row
    return groups


def _main(groups: Groups, budgets: Sequence[str]) -> str:
    head = ["question", "n", *budgets, "95 % at best", "constant", "text only", "colour + texture"]
    lines = []
    for (task, topic), group in groups.items():
        top = best(group).values
        lines.append(
            [
                _name(task, topic),
                f"{top['n']:.0f}",
                *(_at(group, budget, "score") for budget in budgets),
                _bounds(top),
                *(_value(top, condition) for condition in ("constant", "text_only", "baseline")),
            ]
        )
    return _grid(head, lines)


def _goals(goals: Sequence[GoalOutcome], grouped_by: str) -> str:
    lines = [
        [
            g.goal.name,
            f"{'<=' if g.goal.at_most else '>='} {g.goal.bound:g}",
            f"{g.measured:.3f}"
            + ("" if g.low is None else f" ({g.low:.2f}-{g.high:.2f})")
            + (f", {g.groups} of {grouped_by}" if g.groups else ""),
            g.verdict,
            g.budget,
            "; ".join(
                [f"{name.replace('_', ' ')} {value:.3f}" for name, value in g.beside.items()]
                + ([g.goal.known] if g.goal.known else [])
            ),
        ]
        for g in goals
    ]
    return _grid(["target", "bound", "measured (95 %)", "reached", "budget", "beside it"], lines)


def _costs(group: Mapping[str, Row]) -> str:
    columns: dict[str, Callable[[Values], str]] = {
        "score": lambda v: f"{v['score']:.3f}",
        "text only": lambda v: _value(v, "text_only"),
        "without rationale": lambda v: _value(v, "unreasoned"),
        "tokens": lambda v: f"{v['tokens']:.0f}",
        "GFLOPs": _gflops,
        "of native": _of_native,
        "median s": lambda v: _value(v, "seconds"),
        "well formed": lambda v: _value(v, "well_formed"),
        "unreadable": lambda v: _value(v, "unreadable", 3),
        "evidence confirmed": lambda v: _value(v, "confirmed"),
        "shuffled": lambda v: _value(v, "shuffled"),
        "ECE": lambda v: _value(v, "ece", 3),
        "false OOD alarms": lambda v: _value(v, "flagged", 3),
        "OOD missed": lambda v: _value(v, "missed", 3),
    }
    if any("flips" in row.values for row in group.values()):
        columns["flips"] = lambda v: _value(v, "flips", 3)
    lines = [
        [budget, *(show(row.values) for show in columns.values())] for budget, row in group.items()
    ]
    return _grid(["budget", *columns], lines)


def _gflops(values: Values) -> str:
    """FLOPs; of a model on a server nobody knows them."""
    return f"{values['flops'] / 1e9:.2f}" if values["flops"] else "-"


def _of_native(values: Values) -> str:
    share = values.get("share_of_native")
    return "-" if share is None else f"{100 * share:.0f} %"


def _policies(rows: Sequence[Row], policies: Sequence[Row]) -> str:
    """Every budget and every policy, cheapest first."""
    if not policies:
        return ""
    whole = [row for row in [*rows, *policies] if row.task == row.topic == ALL]
    whole.sort(key=lambda row: row.values["flops"])
    lines = [
        [
            f"{row.as_dict()['policy']} {row.run.effort or ''}".strip(),
            row.budget if row.run.policy == "fixed" else "-",
            f"{v['score']:.3f} ({_bounds(v, digits=3)})",
            f"{v['tokens']:.0f}",
            _gflops(v),
            _of_native(v),
            _value(v, "seconds"),
        ]
        for row in whole
        for v in [row.values]
    ]
    head = ["policy", "budget", "score (95 %)", "tokens", "GFLOPs", "of native", "median s"]
    return _grid(head, lines)


def _group_lines(topics: Groups, groups: Sequence[Row], grouped_by: str) -> str:
    """A line for each group, at the budget that is best over all of them, and one over them."""
    lines = []
    for (task, topic), group in topics.items():
        whole = best(group)
        own = [r for r in groups if (r.topic, r.budget) == (topic, whole.budget)]
        own = own if len(own) <= MOST_GROUPS else []  # the JSON has them all
        for name, v in [*((row.group, row.values) for row in own), ("**all**", whole.values)]:
            if own:
                figures = [_value(v, key) for key in ("score", "within_20", "counted_of_true")]
                bounds = [_bounds(v), _bounds(v, "within_20_")]
                cells = [figures[0], bounds[0], figures[1], bounds[1], figures[2]]
                lines.append([_name(task, topic), name, whole.budget, f"{v['n']:.0f}", *cells])
    head = ["question", grouped_by, "budget", "n", "score", "95 %", "within 20 %", "95 %"]
    return _grid([*head, "counted / true"], lines)


def _stages(earlier: Sequence[RowDict], rows: Sequence[Row]) -> str:
    """Score and confirmed evidence of each stage of training, by task and budget."""
    now = [row.as_dict() for row in rows if row.topic == ALL]
    now = [row for row in now if row["policy"] == "fixed"]
    stages = list(dict.fromkeys(row["stage"] for row in (*earlier, *now)))
    if len(stages) < 2:
        return ""
    by_stage = {(r["task"], r["budget"], r["stage"]): r for r in (*earlier, *now)}
    lines = []
    for task, budget in dict.fromkeys((row["task"], row["budget"]) for row in now):
        each = [by_stage.get((task, budget, stage)) for stage in stages]
        if all(each):
            values = [row or {} for row in each]
            scores = [f"{v['score']:.3f}" + _behind(v) for v in values]
            lines.append([task, budget, *scores, *(_value(v, "confirmed") for v in values)])
    head = ["task", "budget", *(f"{stage} (95 %)" for stage in stages)]
    return _grid([*head, *(f"evidence, {stage}" for stage in stages)], lines)


def _behind(values: Values) -> str:
    return f" ({_bounds(values, digits=3)})" if "low" in values else ""


def _counts(groups: Groups, grouped_by: str) -> str:
    lines = []
    for (_, topic), group in groups.items():
        row = best(group)
        v = row.values
        if "within_20" in v:
            shares = ["exact", "within_10", "within_15", "within_20"]
            over = f"{v['groups']:.0f} of {grouped_by}" if "groups" in v else f"{v['n']:.0f}"
            others = ["counted_of_true", "constant_within_20", "baseline_within_20"]
            lines.append(
                [
                    *(topic, row.budget),
                    *(_value(v, name) for name in shares),
                    f"{_bounds(v, 'within_20_')} ({over})",
                    *(_value(v, name) for name in others),
                ]
            )
    head = ["count", "best budget", "exact", "10 %", "15 %", "20 %", "95 % of that (over)"]
    head += ["counted / true", "constant, 20 %", "colour + texture, 20 %"]
    return _grid(head, lines)


def _boxes(groups: Groups, budgets: Sequence[str]) -> str:
    lines = []
    for (_, topic), group in groups.items():
        top = best(group).values
        for name in top:
            if name == "f1" or (name.startswith("f1_") and not name.endswith(("_low", "_high"))):
                label = "all" if name == "f1" else name.removeprefix("f1_").replace("_", " ")
                free = (
                    [" / ".join(_at(group, budget, "empty_right") for budget in budgets)]
                    if name == "f1"
                    else [""]
                )
                lines.append(
                    [topic, label, *(_at(group, budget, name) for budget in budgets), *free]
                )
    return _grid(["boxes", "label", *budgets, f"free ones right at {' / '.join(budgets)}"], lines)


def _choices(groups: Groups) -> str:
    lines = []
    for (_, topic), group in groups.items():
        row = best(group)
        if "balanced" in row.values:
            figures = [
                _with_bounds(row.values, name)
                for name in ("score", "balanced", "macro_f1", "kappa", "kappa_quadratic", "auc")
            ]
            own = _value(row.values, "baseline_balanced")
            lines.append([topic, row.budget, f"{row.values['n']:.0f}", *figures, own])
    head = ["question", "budget", "n", "accuracy", "balanced accuracy", "macro F1", "kappa"]
    return _grid([*head, "quadratic kappa", "AUC", "colour + texture, balanced"], lines)


def _classes(groups: Groups) -> str:
    lines = []
    for (_, topic), group in groups.items():
        row = best(group)
        for name in row.values:
            if name.startswith("class_f1_") and not name.endswith(("_low", "_high")):
                key = name.removeprefix("class_f1_")
                figures = [
                    _with_bounds(row.values, f"class_{measure}_{key}")
                    for measure in ("f1", "auc", "sensitivity", "specificity")
                ]
                threshold = f"class_threshold_{key}"
                least = _value(row.values, threshold, 3)
                if least == "-" and f"class_sensitivity_{key}" in row.values:
                    least = "answer"
                lines.append([topic, key.replace("_", " "), *figures, least])
    head = ["question", "class", "F1 (95 %)", "AUC", "sensitivity", "specificity"]
    return _grid([*head, "said from a probability of"], lines)


def _two_choices(groups: Groups) -> str:
    lines = []
    for (_, topic), group in groups.items():
        row = best(group)
        if "sensitivity" in row.values:
            names = ("auc", "sensitivity", "specificity")
            figures = [_with_bounds(row.values, name) for name in names]
            lines.append([topic, row.budget, *figures, _value(row.values, "threshold", 3)])
    head = ["question", "budget", "AUC (95 %)", "sensitivity", "specificity"]
    return _grid([*head, "at a probability of"], lines)


def _ranked(groups: Groups) -> str:
    lines = []
    for (_, topic), group in groups.items():
        row = best(group)
        if "ap" in row.values:
            figures = [_with_bounds(row.values, name) for name in ("ap", "froc")]
            lines.append([topic, row.budget, *figures])
    head = ["boxes", "budget", "mean AP at an overlap of 0.5 (95 %)"]
    return _grid([*head, "FROC: mean sensitivity at 1/4 to 8 false boxes a picture"], lines)


def _by_groups(groups: Groups) -> str:
    lines = []
    for (_, topic), group in groups.items():
        row = best(group)
        if "by_group" in row.values:
            figures = [_with_bounds(row.values, name) for name in ("by_group", "by_vote")]
            number = _value(row.values, "groups", 0)
            lines.append([topic, row.budget, number, *figures])
    head = ["question", "budget", "groups", "mean of their scores (95 %)"]
    return _grid([*head, "most frequent answer right"], lines)


def _with_bounds(values: Values, name: str) -> str:
    prefix = "" if name == "score" else f"{name}_"
    bounds = f" ({_bounds(values, prefix)})" if f"{prefix}low" in values else ""
    return _value(values, name) + bounds


def _evidence(groups: Groups) -> str:
    lines = []
    for (_, topic), group in groups.items():
        row = best(group)
        if "confirmed" in row.values:
            figures = [_value(row.values, name) for name in ("confirmed", "shuffled")]
            lines.append([topic, row.budget, *figures])
    return _grid(["question", "best budget", "confirmed", "shuffled"], lines)


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
    return _grid(["question", "best budget", "trained", "held out", "lost (95 %)"], lines)


def _sizes(rows: Sequence[Row], budgets: Sequence[str]) -> str:
    groups: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in sorted(rows, key=lambda row: (row.topic == ALL, row.topic, row.task == ALL)):
        groups.setdefault((row.task, row.topic, row.side), {})[row.budget] = row
    lines = []
    for (task, topic, side), group in groups.items():
        top = best(group).values
        scores = [_at(group, budget, "score") for budget in budgets]
        lines.append([_name(task, topic), side, f"{top['n']:.0f}", *scores, _bounds(top)])
    return _grid(["question", "side", "n", *budgets, "95 % at best"], lines)


def _name(task: str, topic: str) -> str:
    if topic != ALL:
        return topic
    return "**all**" if task == ALL else f"*all of {task}*"


def _at(group: Mapping[str, Row], budget: str, name: str) -> str:
    return _value(group[budget].values, name) if budget in group else "-"


def _bounds(values: Values, prefix: str = "", digits: int = 2) -> str:
    low, high = values.get(f"{prefix}low"), values.get(f"{prefix}high")
    return "-" if low is None or high is None else f"{low:.{digits}f}-{high:.{digits}f}"


def _value(values: Values, name: str, digits: int = 2) -> str:
    return f"{values[name]:.{digits}f}" if name in values else "-"


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return table(head, lines) if lines else ""


def write_whole(path: Path, text: str) -> None:
    """Write a file, and its folder if need be, so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_text(path) as file:
        file.write(text)


def fill(path: Path, text: str, what: str = FIGURES) -> None:
    """Replace what stands between the marks of a page; a new page is the text alone.

    Parameters
    ----------
    path : Path
    text : str
    what : str
        Which marks, such as `FIGURES`.

    Raises
    ------
    QueryError
        If the page is there without both marks, lest words be lost.
    """
    if not path.exists():
        write_whole(path, f"{text}\n")
        return
    (begin, end), (head, tail) = marks(what), around(path, what)
    write_whole(path, f"{head}{begin}\n\n{text}\n\n{end}{tail}")


def marks(what: str) -> tuple[str, str]:
    """What stands in a page before and after what is replaced."""
    return f"<!-- {what}: begin -->", f"<!-- {what}: end -->"


def around(path: Path, what: str = FIGURES) -> tuple[str, str]:
    """What stands before and after the marks of a page; parameters and errors as in `fill`."""
    begin, end = marks(what)
    head, begun, rest = path.read_text(encoding="utf-8").partition(begin)
    _, ended, tail = rest.partition(end)
    if not begun or not ended:
        raise QueryError(
            f"{path.name} is there and has no marks for {what}; put {begin} and {end} around "
            "them, or name a new file"
        )
    return head, tail
