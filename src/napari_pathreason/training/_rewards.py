"""What a completion earns: the score of its answer, and a weight for a whole frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_pathreason._types import Answer
from napari_pathreason.tasks import TASKS, Target
from napari_pathreason.tasks._parsing import normalise, split_frame

from ._evidence import confirmed
from ._paper_scores import ap50, bleu4
from ._sample import Sample
from ._targets import score_target
from ._view import View

RewardKind = Literal["task", "paper"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A completion beside its label.

    ``score`` is the answer's, 0 to 1; ``whole`` says whether the form was kept; ``confirmed`` of
    ``cited`` facts of the rationale hold, and ``words`` is its length.
    """

    score: float
    whole: bool
    words: int
    cited: int
    confirmed: int

    def reward(self, format_weight: float) -> float:
        """``score + format_weight * [whole]``; the paper's weight is 1."""
        return self.score + format_weight * self.whole


def judge(text: str, sample: Sample, view: View, kind: RewardKind) -> Judged:
    """Score a completion.

    Parameters
    ----------
    text : str
    sample, view : Sample, View
        The question, and its labels in the frame that the model saw.
    kind : {"task", "paper"}
        ``task``: the right choice or none of it, open answers and boxes by `Task.score`;
        ``paper``: the right choice, BLEU-4, AP50 in listing order, and a form that asks for the
        two tags alone.
    """
    answer, target = TASKS[sample.task].parse(text, sample.query), score_target(view)
    right, cited = confirmed(answer.rationale, view)
    paper = kind == "paper"
    return Judged(
        score=_paper(answer, sample, target) if paper else _task(answer, sample, target),
        whole=split_frame(text)[2] if paper else answer.well_formed,
        words=len(answer.rationale.split()),
        cited=cited,
        confirmed=right,
    )


def _task(answer: Answer, sample: Sample, target: Target) -> float:
    if sample.choices and sample.task != "detection":
        return _same(answer.text, target.text)  # half the words of a choice are not half right
    return TASKS[sample.task].score(answer, target)


def _paper(answer: Answer, sample: Sample, target: Target) -> float:
    if sample.task == "detection":
        return ap50(answer.boxes, target.boxes)
    if sample.choices:
        return _same(answer.text, target.text)
    return bleu4(answer.text, target.text)


def _same(text: str, truth: str) -> float:
    return float(normalise(text) == normalise(truth))
