"""What the performer should write for a view: rationale and answer in one string."""

from __future__ import annotations

import json
from typing import Literal

from napari_pathreason._types import AnswerBox
from napari_pathreason.tasks import Target

from ._evidence import evidence
from ._sample import Sample
from ._view import View

Style = Literal["answer", "evidence"]


def target_text(sample: Sample, view: View, style: Style, quantum: int = 10) -> str:
    """Target completion.

    Parameters
    ----------
    sample, view : Sample, View
    style : {"answer", "evidence"}
        ``answer`` writes an empty rationale (the paper: answer only, the rationale is left to RL);
        ``evidence`` lists facts that the labels state.
    quantum : int
        Box coordinates (0-1000) are rounded to multiples of it.
    """
    rationale = evidence(view) if style == "evidence" else ""
    return f"<think>{rationale}</think><answer>{answer_text(sample, view, quantum)}</answer>"


def answer_text(sample: Sample, view: View, quantum: int = 10) -> str:
    """The answer alone; boxes as compact JSON in reading order."""
    if sample.task != "detection":
        return view.answer
    items = [
        {"bbox_2d": [round(c * 1000 / quantum) * quantum for c in corners], "label": label}
        for label, corners in view.boxes
    ]
    return json.dumps(items, separators=(",", ":"))


def score_target(sample: Sample, view: View) -> Target:
    """Label of a view as `Task.score` takes it."""
    boxes = tuple(AnswerBox(label, *(1000 * c for c in corners)) for label, corners in view.boxes)
    return Target(view.answer, boxes, closed=bool(sample.choices))
