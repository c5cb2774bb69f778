"""One fixed answer to each wording of a kind: what a score must be read beside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from napari_pathreason.tasks import TASKS

from ._prediction import Prediction
from ._scoring import Scorer


def constant_items(scorer: Scorer) -> Iterator[Prediction]:
    """The best fixed answer, chosen with the labels in hand; for boxes the empty list.

    Questions of one kind may be asked as yes or no and as a choice of names; each set of choices
    has its own best answer.
    """
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, sample in enumerate(scorer.samples):
        groups[sample.kind, sample.task, *sorted(sample.choices)].append(index)
    for members in groups.values():
        boxes = scorer.samples[members[0]].task == "detection"
        guesses = {"[]"} if boxes else {scorer.target(index).text for index in members}
        best = max(sorted(guesses), key=lambda guess: _mean_score(scorer, guess, members))
        for index in members:
            yield scorer.item(index, "constant", scorer.parse(index, best))


def _mean_score(scorer: Scorer, guess: str, members: Sequence[int]) -> float:
    scores = (
        TASKS[scorer.samples[index].task].score(scorer.parse(index, guess), scorer.target(index))
        for index in members
    )
    return sum(scores) / len(members)
