"""Score against cost of every way to choose the budget, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_pathreason.files import atomic_bytes

from ._table import ALL, Row

MARKS = {
    "fixed": "o",
    "native": "s",
    "random": "x",
    "cascade": "^",
    "oracle": "*",
    "allocator": "D",
}


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
    with atomic_bytes(file) as out:
        figure.savefig(out, dpi=120, format="png")
