"""Asking a model labelled questions, by the same job that answers users."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from napari_pathreason._types import GenerationSettings
from napari_pathreason.engine import Allocator, Job, Performer, ask
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.tasks import TASKS

from ._evidence import confirmed
from ._pictures import Pictures
from ._sample import Sample
from ._targets import score_target
from ._view import View, read_view


@dataclass(frozen=True, slots=True)
class Item:
    """One question answered; a line of the per-item record."""

    topic: str
    budget: int | None
    blank: bool
    score: float
    tokens: int
    seconds: float
    answer: str
    truth: str
    well_formed: bool
    cited: int
    confirmed: int


def pick(samples: Sequence[Sample], per_topic: int, seed: int) -> list[Sample]:
    """At most ``per_topic`` samples of each topic, drawn by ``seed``."""
    topics: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        topics[sample.kind].append(sample)
    chosen = []
    for topic in sorted(topics):
        items = topics[topic]
        chosen += Random(f"{seed}-{topic}").sample(items, min(per_topic, len(items)))
    return chosen


def answer_all(
    samples: Sequence[Sample],
    pictures: Pictures,
    performer: Performer,
    allocator: Allocator,
    budget: int | None,
    *,
    blank: bool = False,
) -> Iterator[Item]:
    """Ask every sample at one budget; ``blank`` shows a white picture of the same size."""
    for sample in samples:
        yield _answer(sample, pictures, performer, allocator, budget, blank)


def _answer(
    sample: Sample,
    pictures: Pictures,
    performer: Performer,
    allocator: Allocator,
    budget: int | None,
    blank: bool,
) -> Item:
    picture = pictures.picture(sample)
    shown = np.full_like(picture, 255) if blank else picture
    with slide_from_arrays([shown], "sample") as slide:
        job = Job(
            slide,
            pictures.region(sample),
            sample.query,
            "native" if budget is None else budget,
            GenerationSettings(max_new_tokens=192),
        )
        result = ask(job, performer, allocator)
    view = read_view(sample, pictures, budget, performer.info.dims.cell)
    right, cited = confirmed(result.answer.rationale, view)
    return Item(
        topic=sample.kind,
        budget=budget,
        blank=blank,
        score=TASKS[sample.task].score(result.answer, score_target(view)),
        tokens=result.tokens.realised,
        seconds=sum(result.seconds.values()),
        answer=result.answer.text,
        truth=_truth(sample, view),
        well_formed=result.answer.well_formed,
        cited=cited,
        confirmed=right,
    )


def _truth(sample: Sample, view: View) -> str:
    if sample.task != "detection":
        return view.answer
    return ", ".join(label for label, _ in view.boxes) or "none found"


def constant_score(samples: Sequence[Sample], pictures: Pictures, cell: int) -> float:
    """Best mean score of one fixed answer to each wording of a kind; for boxes the empty list.

    Questions of one kind may be asked as yes or no and as a choice of names; each set of choices
    has its own best answer.
    """
    groups: dict[tuple[str, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.task, *sorted(sample.choices)].append(sample)
    total = sum(len(group) * _best_constant(group, pictures, cell) for group in groups.values())
    return total / len(samples)


def _best_constant(samples: Sequence[Sample], pictures: Pictures, cell: int) -> float:
    task = TASKS[samples[0].task]
    targets = [score_target(read_view(sample, pictures, 4, cell)) for sample in samples]
    boxes = samples[0].task == "detection"
    scores = []
    for guess in {"[]"} if boxes else {target.text for target in targets}:
        answer = task.parse(f"<think></think><answer>{guess}</answer>", samples[0].query)
        scores.append(sum(task.score(answer, target) for target in targets) / len(targets))
    return max(scores)
