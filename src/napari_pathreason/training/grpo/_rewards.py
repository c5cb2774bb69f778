"""What a completion earns: the score of its answer, and a weight for a whole frame."""

from __future__ import annotations

from dataclasses import dataclass

from napari_pathreason.tasks import TASKS, Target, same_choice, split_frame
from napari_pathreason.training.recipe import RewardKind
from napari_pathreason.training.samples import MOST, Sample, View, confirmed, score_target
from napari_pathreason.types import Answer, TaskName

from ._paper_scores import ap50, bleu4
from ._pointing import Pointing

DENIED = 1.5
"""What a cited fact that the labels deny costs, against 1 for one that they confirm."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """A completion beside its label.

    ``score`` is the answer's, 0 to 1; ``whole`` says whether the form was kept; ``confirmed`` of
    ``cited`` facts of the rationale hold, and ``words`` is its length.
    """

    score: float
    whole: bool
    words: int
    cited: int
    confirmed: int

    def reward(self, format_weight: float, evidence_weight: float = 0.0) -> float:
        """``score + format_weight * [whole] + evidence_weight * evidence``; the paper: 1 and 0.

        ``evidence`` is ``(confirmed - DENIED * (cited - confirmed)) / MOST``: a fact pays where it
        is likelier to hold than 0.6, and silence neither pays nor costs.
        """
        denied = self.cited - self.confirmed
        evidence = (self.confirmed - DENIED * denied) / MOST
        return self.score + format_weight * self.whole + evidence_weight * evidence


def assess(
    text: str, sample: Sample, view: View, kind: RewardKind, pointing: Pointing | None = None
) -> Assessed:
    """Score a completion.

    Parameters
    ----------
    text : str
    sample, view : Sample, View
        The question, and its labels in the frame that the model saw.
    kind : {"task", "paper"}
        ``task``: `Task.score`;
        ``paper``: the right choice, BLEU-4, AP50 in listing order, and a form that asks for the
        two tags alone.
    pointing : Pointing, optional
        Of a model that takes zooms; its boxes are scored as those leave them.
    """
    task = TASKS[sample.task]
    answer, target = task.parse(text, sample.query), score_target(sample, view)
    right, cited = confirmed(answer.rationale, view)
    paper = kind == "paper"
    if pointing is not None and not paper:
        answer = pointing.mended(answer, target.boxes, view)
    return Assessed(
        score=_paper(answer, target, sample.task) if paper else task.score(answer, target),
        whole=split_frame(text)[2] if paper else answer.well_formed,
        words=len(answer.rationale.split()),
        cited=cited,
        confirmed=right,
    )


def _paper(answer: Answer, target: Target, task: TaskName) -> float:
    if task == "detection":
        return ap50(answer.boxes, target.boxes)
    if target.choices:
        return float(same_choice(answer.text, target.text, target.choices))
    return bleu4(answer.text, target.text)
