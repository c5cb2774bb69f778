"""s(N): what the performer scores on each question at every rung, tabulated once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from napari_pathreason.models import RUNGS
from napari_pathreason.tokens import plan
from napari_pathreason.training.evaluation import Examiner
from napari_pathreason.training.recipe import Cost
from napari_pathreason.training.samples import Pictures, Sample


@dataclass(frozen=True, slots=True)
class Scored:
    """One question at one size: score 0 to 1, visual tokens and operations; native beside them."""

    score: float
    tokens: int
    flops: float
    native: int
    flops_native: float


def tabulate(
    samples: Sequence[Sample],
    pictures: Pictures,
    examiner: Examiner,
    cell: int,
    file: Path,
    name: str = "s(N)",
) -> list[list[Scored]]:
    """Score of every question at each of `RUNGS`, in their order.

    Rungs that read a region at one size share one greedy answer, so a small region costs two or
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
    sizes = [[plan(pictures.region(s), rung, cell).size for rung in RUNGS] for s in samples]
    wanted = {
        (at, size): rung
        for at, each in enumerate(sizes)
        for size, rung in zip(each, RUNGS, strict=True)
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        file.open("a", encoding="utf-8") as out,
        tqdm(total=len(wanted), desc=name, unit="answer", mininterval=5) as bar,
    ):
        bar.update(len(known))
        for rung in RUNGS:
            new = [key for key, at in wanted.items() if at == rung and key not in known]
            for window in examiner.windows(new, [size for _, size in new]):
                items = examiner.ask([at for at, _ in window], rung)
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
    """Operations of each question that a cost of 1 stands for; see `AllocatorRecipe.cost`."""
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
