"""s(N): what the performer scores on each question at every budget, tabulated once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from napari_pathreason.budgets import plan
from napari_pathreason.models import BUDGETS
from napari_pathreason.training.evaluation import Evaluator
from napari_pathreason.training.recipe import Cost
from napari_pathreason.training.samples import Pictures, Sample


@dataclass(frozen=True, slots=True)
class Scored:
    """One question at one size: score 0 to 1, visual tokens and FLOPs; native beside them."""

    score: float
    tokens: int
    flops: float
    native: int
    flops_native: float


def tabulate(
    samples: Sequence[Sample],
    pictures: Pictures,
    evaluator: Evaluator,
    token_px: int,
    file: Path,
    name: str = "s(N)",
) -> list[list[Scored]]:
    """Score of every question at each of `BUDGETS`, in their order.

    Budgets that read a region at one size share one greedy answer, so a small region costs two or
    three answers, not ten. Answers go to ``file`` the moment they are there; a cut table goes on
    where it was cut.

    Parameters
    ----------
    samples : sequence of Sample
        The examiner's.
    file : Path
        JSONL; must belong to these samples and this performer, so let its name say which.
    name : str
        Of the progress bar.
    """
    known = _read(file)
    sizes = [
        [plan(pictures.region(s), budget, token_px).size for budget in BUDGETS] for s in samples
    ]
    wanted = {
        (at, size): budget
        for at, each in enumerate(sizes)
        for size, budget in zip(each, BUDGETS, strict=True)
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        file.open("a", encoding="utf-8") as out,
        tqdm(total=len(wanted), desc=name, unit="answer", mininterval=5) as bar,
    ):
        bar.update(len(known))
        for budget in BUDGETS:
            new = [key for key, at in wanted.items() if at == budget and key not in known]
            for window in evaluator.windows(new, [size for _, size in new]):
                items = evaluator.ask([at for at, _ in window], budget)
                for (at, size), item in zip(window, items, strict=True):
                    scored = Scored(
                        item.score, int(item.tokens), item.flops, item.native, item.flops_native
                    )
                    known[at, size] = scored
                    out.write(json.dumps({"index": at, "size": size, **asdict(scored)}) + "\n")
                out.flush()
                bar.update(len(window))
    return [[known[at, size] for size in each] for at, each in enumerate(sizes)]


def costing_one(table: Sequence[Sequence[Scored]], cost: Cost) -> list[float]:
    """FLOPs of each question that a cost of 1 stands for; see `AllocatorRecipe.cost`."""
    natives = [row[0].flops_native for row in table]
    return natives if cost == "share" else [sum(natives) / len(natives)] * len(natives)


def _read(file: Path) -> dict[tuple[int, tuple[int, int]], Scored]:
    """What an earlier run wrote, made fit for appending: a line cut off by a kill is dropped."""
    if not file.is_file():
        return {}
    known, whole = {}, 0
    for line in file.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        record = json.loads(line)
        at, (width, height) = record.pop("index"), record.pop("size")
        known[at, (width, height)] = Scored(**record)
        whole += len(line)
    with file.open("r+b") as cut:
        cut.truncate(whole)
    return known
