"""One fixed answer to each wording of a kind: what a score must be read beside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from napari_pathreason._types import Answer
from napari_pathreason.tasks import TASKS, Target
from napari_pathreason.training.samples._pictures import Pictures
from napari_pathreason.training.samples._sample import Sample
from napari_pathreason.training.samples._targets import score_target
from napari_pathreason.training.samples._view import read_view

from ._evaluate import SMALLEST, truth
from ._item import Arm, Item, matches


def constant_items(samples: Sequence[Sample], pictures: Pictures, cell: int) -> Iterator[Item]:
    """The best fixed answer, chosen with the labels in hand; for boxes the empty list.

    Questions of one kind may be asked as yes or no and as a choice of names; each set of choices
    has its own best answer.
    """
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        groups[sample.kind, sample.task, *sorted(sample.choices)].append(index)
    for members in groups.values():
        first = samples[members[0]]
        targets = [
            score_target(samples[i], read_view(samples[i], pictures, SMALLEST, cell))
            for i in members
        ]
        guesses = {"[]"} if first.task == "detection" else {target.text for target in targets}
        best = max(sorted(guesses), key=lambda guess: _mean_score(first, guess, targets))
        for index in members:
            yield written(index, samples[index], best, "constant", pictures, cell)


def written(index: int, sample: Sample, text: str, arm: Arm, pictures: Pictures, cell: int) -> Item:
    """The item of an answer that no model gave."""
    view = read_view(sample, pictures, SMALLEST, cell)
    answer, target = _parse(sample, text), score_target(sample, view)
    region = pictures.region(sample)
    return Item(
        index=index,
        arm=arm,
        budget=None,
        task=sample.task,
        topic=sample.kind,
        side=max(region.width, region.height),
        phrasing=sample.phrasing,
        score=TASKS[sample.task].score(answer, target),
        answer=answer.text,
        truth=truth(sample, view),
        matched=matches(sample.choices, answer.boxes, target.boxes)
        if sample.task == "detection"
        else None,
    )


def _parse(sample: Sample, text: str) -> Answer:
    return TASKS[sample.task].parse(f"<think></think><answer>{text}</answer>", sample.query)


def _mean_score(sample: Sample, guess: str, targets: Sequence[Target]) -> float:
    task, answer = TASKS[sample.task], _parse(sample, guess)
    return sum(task.score(answer, target) for target in targets) / len(targets)
