"""The table as a picture: what a share of the FLOPs of all windows buys, policy by policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_pathreason.files import atomic_bytes

from .choosing import NAMES
from .figures import ALL, CONSTANT, LargeRow

MARKS = dict(zip(NAMES, "ospXv^D*h", strict=True))
FOUND = {"recall_small": "1 to 4 tiles", "recall_large": "5 to 16 tiles"}
"""Lesions by size, whose recall stands beside the score."""


def draw_table(rows: Sequence[LargeRow], file: Path) -> None:
    """Write a PNG: a line of panels for each form and split.

    The first shows the mean of sets, with 95 % as bars and the constant answer as a line; the
    others the share of lesions that a box touches, by size and visual tokens.

    Parameters
    ----------
    rows : sequence of LargeRow
    file : Path
    """
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys((row.form, row.split) for row in rows))
    figure = Figure(figsize=(13, 4 * len(groups)), layout="constrained")
    for group, panels in zip(groups, figure.subplots(len(groups), 3, squeeze=False), strict=True):
        own = [row for row in rows if (row.form, row.split) == group]
        title = f"{group[1]}, {'stains blended' if group[0] == 'blended' else 'as they are'}"
        whole = [row for row in own if row.dataset == row.topic == ALL]
        _draw(panels[0], whole, "share_of_native", "score", bars=True)
        for row in whole:
            if row.policy == CONSTANT:
                panels[0].axhline(row.values["score"], color="0.6", linestyle=":", label=CONSTANT)
        panels[0].set(
            title=title, xscale="log", xlabel="FLOPs, share of native windows", ylabel="score"
        )
        panels[0].legend(fontsize=7)
        lesions = [row for row in own if row.topic != ALL and "recall_small" in row.values]
        for panel, (measure, size) in zip(panels[1:], FOUND.items(), strict=True):
            _draw(panel, lesions, "tokens", measure, bars=False)
            panel.set(xscale="log", xlabel="visual tokens", ylim=(-0.05, 1.05))
            panel.set(title=f"lesions of {size}", ylabel="share that a box touches")
    with atomic_bytes(file) as out:
        figure.savefig(out, dpi=110, format="png")


def _draw(panel: Any, rows: Sequence[LargeRow], cost: str, value: str, bars: bool) -> None:
    """Points of each policy in the order of their cost, joined where there are several."""
    for number, (policy, mark) in enumerate(MARKS.items()):
        own = [row for row in rows if row.policy == policy and value in row.values]
        own.sort(key=lambda row: row.values[cost])
        if not own:
            continue
        x = [row.values[cost] for row in own]
        y = [row.values[value] for row in own]
        spread = None
        if bars:
            spread = [
                [row.values[value] - row.values["low"] for row in own],
                [row.values["high"] - row.values[value] for row in own],
            ]
        panel.errorbar(
            x,
            y,
            spread,
            marker=mark,
            color=f"C{number}",
            label=policy.replace("_", " "),
            capsize=2,
            linewidth=0.8,
        )
        for row, *place in zip(own, x, y, strict=True):
            panel.annotate(row.budget, place, xytext=(4, 4), textcoords="offset points", fontsize=6)
