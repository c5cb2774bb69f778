"""The one page that a lab's run ends with: what was decided, curves, confusion, baselines, cost."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_pathreason.files import atomic_bytes
from napari_pathreason.training.convert import Summary
from napari_pathreason.training.evaluation import (
    Confusion,
    Prediction,
    Report,
    confusion,
    from_line,
    write_whole,
)
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.tables import plain_markdown, table

PAGE, NOTES, AUTO = "report.md", "conversion.txt", "auto"
MOST_MATRICES = 6
"""Kinds of questions whose confusions are drawn."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was measured on ``val`` and whether it was kept.

    ``measure`` and its ``value`` at ``budget``; ``beside`` is what it had to beat, where that is
    not another row.
    """

    name: str
    measure: str
    value: float
    budget: str
    retained: bool = True
    beside: float | None = None

    def kept_is(self, retained: bool) -> Decision:
        """The same, kept or not."""
        return replace(self, retained=retained)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage and the seconds that it took, all its runs together."""

    name: str
    seconds: float


def write_page(
    out: Path,
    recipe: Recipe,
    summary: Summary,
    decisions: Sequence[Decision],
    stages: Sequence[Stage],
    report: Report,
    split: str,
    calibrated: str,
) -> Path:
    """Write ``report.md`` and the figures that it shows.

    Parameters
    ----------
    out : Path
        Folder of the run, with its curves, ``items.jsonl`` and what the conversion said.
    recipe : Recipe
    summary : Summary
        Of the samples.
    decisions, stages : sequence
    report : Report
        Of the model that was kept.
    split : str
        That it is of.
    calibrated : str
        What the calibration says of itself.
    """
    items = [from_line(line) for line in (out / "items.jsonl").read_text("utf-8").splitlines()]
    chosen = next(one for one in decisions if one.retained and one.budget != AUTO)
    shown = draw_confusion(items, chosen.budget, out / "confusion.png")
    curves = [
        f"![{title}]({name})"
        for name, title in (
            ("curve.png", "supervised fine-tuning"),
            ("grpo/curve.png", "GRPO"),
            ("allocator/curve.png", "allocator"),
        )
        if (out / name).is_file()
    ]
    name = recipe.metadata.name or out.resolve().name
    final = shlex.quote(f"{out.name}/final")
    note = [f"{split} was measured once, at the end; whatever was chosen was chosen on val."]
    if split == "val":
        note = [
            "There is no test: these figures are of val, on which was chosen too, and OPTIMISTIC."
        ]
    # what a reader must know of these figures stands beside them too
    note += [f"warning: {plain_markdown(w)}" for w in summary.warnings if w.startswith(f"{split} ")]
    parts = [
        f"# {plain_markdown(name)}",
        f"The model lies in `final`: `pathreason ask SLIDE --model {final} --question ...`, and "
        "the docks of napari offer it. For research use only.",
        "## What was decided on val",
        _decisions(decisions),
        f"## Figures on {split}",
        *note,
        report.markdown,
        *(
            [f"## Confusion at {chosen.budget} tokens", f"![confusion]({shown.name})"]
            if shown
            else []
        ),
        "## Learning",
        *curves,
        "## Data",
        summary.markdown,
        *_conversion(out / NOTES),
        "![contact sheet](contact_sheet.png)",
        "## Cost",
        _cost(stages),
        "## Calibration",
        f"```text\n{calibrated.strip()}\n```",
    ]
    write_whole(out / PAGE, "\n\n".join(parts) + "\n")
    return out / PAGE


def _conversion(file: Path) -> list[str]:
    """What the conversion left out, and what else it said of the labels."""
    notes = file.read_text("utf-8").splitlines() if file.is_file() else []
    if not notes:
        return []
    return [
        "What the conversion says (options that it names are those of `pathreason data convert`, "
        "whose folder `train lab` takes too):",
        "\n".join(f"- {plain_markdown(note)}" for note in notes),
    ]


def _decisions(decisions: Sequence[Decision]) -> str:
    lines = []
    for one in decisions:
        beside = "-" if one.beside is None else f"{one.beside:.3f}"
        own = "yes" if one.retained else "no"
        lines.append([one.name, one.measure, f"{one.value:.3f}", one.budget, beside, own])
    return table(["stage", "measure", "on val", "at tokens", "had to beat", "kept"], lines)


def _cost(stages: Sequence[Stage]) -> str:
    whole = sum(stage.seconds for stage in stages)
    rows = [[stage.name, f"{stage.seconds / 60:.1f}"] for stage in stages]
    return table(["stage", "minutes"], [*rows, ["**all**", f"{whole / 60:.1f}"]])


def draw_confusion(items: Sequence[Prediction], budget: str, file: Path) -> Path | None:
    """Draw the confusions of all kinds of questions with choices, at one budget.

    Parameters
    ----------
    items : sequence of Prediction
    budget : str
        As rows name it.
    file : Path
        A PNG.

    Returns
    -------
    Path or None
        The file; None where no question has choices.
    """
    topics: dict[str, list[Prediction]] = defaultdict(list)
    for item in items:
        own = "native" if item.budget is None else str(item.budget)
        if item.condition == "model" and own == budget:
            topics[item.topic].append(item)
    found = {topic: confusion(own) for topic, own in sorted(topics.items())}
    drawable = [(topic, one) for topic, one in found.items() if one is not None][:MOST_MATRICES]
    if not drawable:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(drawable), 4.2), layout="constrained")
    for axes, (topic, one) in zip(
        figure.subplots(1, len(drawable), squeeze=False)[0], drawable, strict=True
    ):
        _draw(axes, topic, one)
    with atomic_bytes(file) as out:
        figure.savefig(out, format="png", dpi=110)
    return file


def _draw(axes: Any, topic: str, found: Confusion) -> None:
    counts = found.counts if found.counts[:, -1].any() else found.counts[:, :-1]
    names = [*found.classes, "unreadable"][: counts.shape[1]]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    axes.set(
        title=topic,
        xlabel="answer",
        ylabel="label",
        xticks=range(len(names)),
        yticks=range(len(found.classes)),
    )
    axes.set_xticklabels(names, rotation=40, ha="right")
    axes.set_yticklabels(found.classes)
