"""Numbers of nuclei on a slide that nobody has labelled, beside those of a teacher.

``python -m demonstrator.teacher.compare MODEL SLIDE`` prints a table: regions of several sides, and
how far the model's numbers are from those of InstanSeg (`demonstrator.teacher.nuclei`). The
teacher is no truth; at 0.5 um/px, which it was made for, it misses few.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, NamedTuple

from scipy.stats import spearmanr

from demonstrator.teacher.nuclei import load_teacher, nuclei_of
from napari_pathreason.engine import Job, Models, ask
from napari_pathreason.errors import PathreasonError
from napari_pathreason.geometry import Region
from napari_pathreason.models import load_models
from napari_pathreason.slides import Slide, open_slide
from napari_pathreason.types import Budget, Query, Request

SIDES = (128, 256, 512, 1024)
REGIONS = 20
"""Regions of each side."""
BUDGETS: tuple[Budget, ...] = (16, 64, 256, "auto")
TISSUE = 0.3
"""Share of a region that is no glass, at the least."""
GLASS = 225
"""Mean of the channels from which on a pixel shows glass."""
QUERY = Query("vqa", "How many nuclei are there?")


class Beside(NamedTuple):
    """A region's number of nuclei: the teacher's, and the model's, None where it said none."""

    teacher: int
    model: int | None

    def within(self, share: float) -> bool:
        """Whether the model's number lies within a share of the teacher's."""
        return self.model is not None and abs(self.model - self.teacher) <= share * self.teacher


def regions(slide: Slide, side: int, number: int, rng: Random) -> Iterator[Region]:
    """Square regions of tissue at random places of a slide."""
    for _ in range(100 * number):
        x, y = rng.randint(0, slide.width - side), rng.randint(0, slide.height - side)
        region = Region(x, y, side, side)
        small = slide.read_region(region, (64, 64)).pixels
        if (small.mean(axis=2) < GLASS).mean() >= TISSUE:
            yield region
            number -= 1
        if not number:
            return


def beside(
    slide: Slide, shown: Sequence[Region], numbers: Sequence[int], models: Models, budget: Budget
) -> list[Beside]:
    """Ask for the number of nuclei in each region; ``numbers`` are the teacher's."""
    found = []
    for region, number in zip(shown, numbers, strict=True):
        answer = ask(
            Job(slide, Request(region, QUERY, budget, policy="one_view")),
            models.performer,
            models.allocator,
        ).answer
        count = int(answer.text) if answer.text.isdecimal() else None
        found.append(Beside(number, count))
    return found


def row(side: int, budget: Budget, found: Sequence[Beside]) -> str:
    """One row of the table."""
    pairs = [(each.teacher, each.model) for each in found if each.model is not None]
    ratio = median(model / max(teacher, 1) for teacher, model in pairs) if pairs else 0.0
    varied = len({t for t, _ in pairs}) > 1 and len({m for _, m in pairs}) > 1
    rank = f"{spearmanr(*zip(*pairs, strict=True)).statistic:.2f}" if varied else "-"
    close = [sum(each.within(share) for each in found) / len(found) for share in (0.2, 0.5)]
    return (
        f"| {side} | {median(t for t, _ in found):.0f} | {budget} | {len(pairs) / len(found):.2f} "
        f"| {close[0]:.2f} | {close[1]:.2f} | {ratio:.2f} | {rank} |"
    )


def table(path: Path, models: Models, teacher: Any) -> Iterator[str]:
    """Rows of the table, its head first."""
    yield "| side (px) | teacher | budget | numbers | within 20 % | within 50 % | ratio | rank |"
    yield "|---|---|---|---|---|---|---|---|"
    with open_slide(path) as slide:
        for side in SIDES:
            shown = list(regions(slide, side, REGIONS, Random(side)))
            pixels = [slide.read_region(r, (side, side)).pixels for r in shown]
            numbers = [int(nuclei_of(each, 1.0, teacher).max()) for each in pixels]
            for budget in BUDGETS:
                yield row(side, budget, beside(slide, shown, numbers, models, budget))


if __name__ == "__main__":
    try:
        for line in table(Path(sys.argv[2]), load_models(sys.argv[1]), load_teacher()):
            print(line, flush=True)  # noqa: T201
    except PathreasonError as error:
        sys.exit(f"pathreason: {error}")
