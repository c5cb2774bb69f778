"""What the choice of a budget rests on: python benchmarks/policies.py [--luck] [--quick].

Two questions that the tables of `pathreason evaluate` leave open, answered on the answers that it
kept (`docs/results-items.jsonl.gz`) to the questions of `demonstrator.convert`.

1. **Does the learned allocator go by the picture?** It chooses again with the overview of another
   picture of the same kind of question, and a table stands in for it that knows the kind and the
   size alone. How many choices change, and what becomes of the score?
2. **How much of the oracle's lead is luck?** (``--luck``) The oracle takes the best of several
   answers to each question, so it leads even where all budgets are alike. Each region is read a
   second time, mirrored, and asked at every size. The best budget of each question is chosen by one
   reading and scored by the other (both ways, mean); of equally good ones it is the one that is
   best for all questions. What is left of the lead over the best fixed budget lies in the
   questions, the rest is luck. It asks the model some ten thousand questions; ``--up-to 32`` leaves
   the dear ones out.

Intervals are 95 %, bootstrap over questions. ``--every N`` takes each Nth question.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from napari_pathreason.budgets import BUDGET_GRID, plan
from napari_pathreason.cli import quiet_libraries
from napari_pathreason.engine import Job, Models, ask_together
from napari_pathreason.geometry import Region
from napari_pathreason.models import load_models
from napari_pathreason.slides import Slide, slide_from_arrays
from napari_pathreason.tasks import TASKS
from napari_pathreason.training import Sample, read_samples
from napari_pathreason.training.evaluation import pick, relative
from napari_pathreason.training.samples import Pictures, read_view, score_target
from napari_pathreason.types import Answer, Effort, GenerationSettings, Request

BUDGETS: tuple[int | None, ...] = (*BUDGET_GRID, None)
TOGETHER, MOST_TOKENS = 24, 2048
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions with the scores that are known of them.

    ``scores`` are (questions, budgets) in the order of `BUDGETS`, of the region as it lies.
    """

    samples: list[Sample]
    regions: list[Region]
    pictures: Pictures
    scores: Scores


def read_questions(data: Path, kept: Path, per_topic: int, every: int) -> Questions:
    """The questions of an evaluation, and what its answers scored."""
    samples = pick(read_samples(data), per_topic, 0)
    known: dict[tuple[int, int | None], float] = {}
    with gzip.open(kept, "rt", encoding="utf-8") as lines:
        for item in map(json.loads, lines):
            if item["arm"] == "model":
                if samples[item["index"]].kind != item["topic"]:
                    raise SystemExit(f"{kept.name} is of other questions than {data}")
                known[item["index"], item["budget"]] = item["score"]
    chosen = range(0, len(samples), every)
    scores = np.array([[known[index, budget] for budget in BUDGETS] for index in chosen])
    pictures = Pictures(data.parent)
    asked = [samples[index] for index in chosen]
    return Questions(asked, [pictures.region(one) for one in asked], pictures, scores)


def told(name: str, difference: Scores, *before: str) -> str:
    """A row: a mean and its interval over questions."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(difference), np.full(len(difference), 1 / len(difference)), 2000)
    low, high = np.quantile(drawn @ difference / len(difference), (0.025, 0.975))
    cells = " | ".join((name, *before))
    return f"| {cells} | {difference.mean():+.4f} ({low:+.4f} to {high:+.4f}) |"


def picture(asked: Questions, models: Models) -> None:
    """Print what the allocator chooses without the picture that the question is about."""
    allocator, token_px = models.allocator, models.performer.info.dims.token_px
    overviews, native = [], []
    for sample, region in zip(asked.samples, asked.regions, strict=True):
        reading = plan(region, allocator.overview_budget, token_px)
        overviews.append(asked.pictures.read(sample, region, reading.size))
        native.append(reading.native)
    others = _others(asked.samples)
    place = {budget: index for index, budget in enumerate(BUDGETS)}

    def choose(shown: Sequence[int], effort: Effort) -> list[int]:
        return [
            place[allocator.allocate(overviews[other], sample.query, tokens, effort).budget]
            for other, sample, tokens in zip(shown, asked.samples, native, strict=True)
        ]

    print("| effort | instead of its own picture | choices changed | score, difference |")
    print("|---|---|---:|---:|")
    rows = np.arange(len(native))
    for effort in get_args(Effort):
        own = choose(range(len(native)), effort)
        seen: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
        domains = [(s.kind, tokens) for s, tokens in zip(asked.samples, native, strict=True)]
        for kind, choice in zip(domains, own, strict=True):
            seen[kind][choice] += 1
        table = [seen[kind].most_common(1)[0][0] for kind in domains]
        for name, choices in (
            ("another of the same kind of question", choose(others, effort)),
            ("a table by kind of question and native size", table),
        ):
            changed = f"{np.mean(np.array(choices) != np.array(own)):.1%}"
            difference = asked.scores[rows, choices] - asked.scores[rows, own]
            print(told(effort, difference, name, changed))


def _others(samples: Sequence[Sample]) -> list[int]:
    """For each sample one of the same kind about another picture; itself if there is none."""
    rng = np.random.default_rng(0)
    domains: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        domains[sample.kind].append(index)
    found = []
    for index, sample in enumerate(samples):
        of = (sample.image, sample.region)
        same = [i for i in domains[sample.kind] if (samples[i].image, samples[i].region) != of]
        found.append(int(rng.choice(same)) if same else index)
    return found


def luck(
    asked: Questions, models: Models, budgets: Sequence[int | None], kept: Path | None
) -> None:
    """Print how much of the oracle's lead is left where one reading chooses for the other."""
    here = asked.scores[:, [BUDGETS.index(budget) for budget in budgets]]
    readings = (here, mirrored_scores(asked, models, budgets, kept))
    rows = np.arange(len(asked.samples))
    fixed = int(np.argmax(sum(scores.mean(0) for scores in readings)))
    print(f"best fixed budget: {budgets[fixed] or 'native'}, score", end=" ")
    print(" as it lies and mirrored ".join(f"{scores[:, fixed].mean():.3f}" for scores in readings))
    ties = 1e-6 * sum(scores.mean(0) for scores in readings)
    best = [(scores + ties).argmax(1) for scores in readings]
    lead = [s[rows, b] - s[:, fixed] for s, b in zip(readings, best, strict=True)]
    kept_lead = [s[rows, b] - s[:, fixed] for s, b in zip(readings, best[::-1], strict=True)]
    print("| best budget of each question, against the best fixed one | score, difference |")
    print("|---|---:|")
    print(told("chosen by the reading that it is scored by (the oracle)", np.mean(lead, 0)))
    print(told("chosen by the other reading", np.mean(kept_lead, 0)))


def mirrored_scores(
    asked: Questions, models: Models, budgets: Sequence[int | None], kept: Path | None
) -> Scores:
    """Scores of all questions at ``budgets``, of regions mirrored from left to right.

    Budgets that read a region at one size are asked once. ``kept`` is a file of answers, which a
    second start goes on from.
    """
    token_px = models.performer.info.dims.token_px
    sizes = [[plan(region, b, token_px).size for b in budgets] for region in asked.regions]
    found: dict[tuple[int, int, int], float] = {}
    if kept is not None and kept.is_file():
        for line in kept.read_text().splitlines():
            index, width, height, score = json.loads(line)
            found[index, width, height] = score
    open_ones = {
        (size, index): budget
        for index, of in enumerate(sizes)
        for size, budget in zip(of, budgets, strict=True)
        if (index, *size) not in found
    }
    for group in tqdm(list(_groups(sorted(open_ones), token_px)), desc="mirrored", mininterval=5):
        jobs = [_job(asked, index, open_ones[size, index]) for size, index in group]
        results = ask_together(jobs, models.performer, models.allocator)
        for (size, index), result in zip(group, results, strict=True):
            sample = asked.samples[index]
            view = read_view(sample, asked.pictures, BUDGET_GRID[0], token_px)
            answer = _turned_back(relative(result), sample)
            found[index, *size] = TASKS[sample.task].score(answer, score_target(sample, view))
            if kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps([index, *size, found[index, *size]]) + "\n")
    return np.array([[found[i, *size] for size in of] for i, of in enumerate(sizes)])


Key = tuple[tuple[int, int], int]


def _groups(keys: Sequence[Key], token_px: int) -> Iterator[list[Key]]:
    """Questions that the model takes at once: of about one size, since they are sorted."""
    group: list[Key] = []
    tokens = 0
    for (width, height), index in keys:
        own = width * height // token_px**2
        if group and (len(group) == TOGETHER or tokens + own > MOST_TOKENS):
            yield group
            group, tokens = [], 0
        group.append(((width, height), index))
        tokens += own
    if group:
        yield group


def _job(asked: Questions, index: int, budget: int | None) -> Job:
    sample, region = asked.samples[index], asked.regions[index]
    return Job(
        _mirrored(asked.pictures.slide(sample), region),
        Request(
            Region(0, 0, region.width, region.height),
            sample.query,
            "native" if budget is None else budget,
            GenerationSettings(max_new_tokens=192),
            policy="one_view",
        ),
        bounded=False,
    )


def _mirrored(slide: Slide, region: Region) -> Slide:
    pixels = slide.read_region(region, (region.width, region.height)).pixels
    return slide_from_arrays([np.ascontiguousarray(pixels[:, ::-1])], "mirrored")


def _turned_back(answer: Answer, sample: Sample) -> Answer:
    """An answer about a mirrored region, as it would be said of the region as it lies."""
    boxes = tuple(replace(b, x1=1000 - b.x2, x2=1000 - b.x1) for b in answer.boxes)
    changes: dict[str, Any] = {"boxes": boxes}
    if any("left" in choice or "right" in choice for choice in sample.choices):
        halves = (part.replace("right", "left") for part in answer.text.split("left"))
        changes["text"] = "right".join(halves)
    return replace(answer, **changes)


def main() -> None:
    parser = argparse.ArgumentParser(description="What the choice of a budget rests on.")
    parser.add_argument("--data", type=Path, default=Path("data/mini/test.jsonl"))
    parser.add_argument("--items", type=Path, default=Path("docs/results-items.jsonl.gz"))
    parser.add_argument("--per-topic", type=int, default=100, help="as in the evaluation")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--luck", action="store_true", help="the second question too")
    parser.add_argument("--up-to", type=int, metavar="TOKENS", help="largest budget of --luck")
    parser.add_argument("--kept", type=Path, metavar="FILE", help="keep mirrored answers here")
    parser.add_argument("--quick", action="store_true", help="each 40th question")
    args = parser.parse_args()
    quiet_libraries()
    asked = read_questions(args.data, args.items, args.per_topic, 40 if args.quick else args.every)
    print(f"{len(asked.samples):,} questions\n")
    models = load_models(args.model, "cpu")
    picture(asked, models)
    if args.luck:
        print()
        most = args.up_to
        budgets = BUDGETS if most is None else [b for b in BUDGET_GRID if b <= most]
        luck(asked, models, budgets, args.kept)


if __name__ == "__main__":
    main()
