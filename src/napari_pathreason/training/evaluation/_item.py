"""The record of one answered question; what every figure of an evaluation is made of."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from napari_pathreason._types import AnswerBox, TaskName
from napari_pathreason.tasks import match_boxes, same_label
from napari_pathreason.training.samples._sample import Phrasing

Asked = Literal["model", "text_only", "unreasoned"]
"""How the model was asked: as users do, before a white picture, with an empty rationale given."""
Arm = Asked | Literal["constant", "baseline"]
"""Who answered: the model, one fixed answer, the baseline."""

Matches = dict[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Item:
    """One question answered; a line of the per-item record.

    ``index`` is the question's place among those asked, ``side`` the longer side of its region in
    level-0 pixels, ``budget`` None for native size. ``matched`` holds, for each label of a
    detection, (boxes matched at an overlap of 0.5, boxes predicted, boxes true). ``confirmed`` of
    ``cited`` facts hold in this picture, ``shuffled`` of them in another one of the same topic
    (None where there is no other). Tokens, operations and seconds are 0 where no model was asked,
    and expected values where rungs were drawn blindly; seconds are NaN where the question shared
    its pass with others. ``confidence`` is 0 to 1, ``strangeness`` above 1 for a strange picture;
    None where not told.
    """

    index: int
    arm: Arm
    budget: int | None
    task: TaskName
    topic: str
    side: int
    phrasing: Phrasing
    score: float
    answer: str
    truth: str
    rationale: str = ""
    well_formed: bool = True
    matched: Matches | None = None
    cited: int = 0
    confirmed: int = 0
    shuffled: int | None = None
    tokens: float = 0
    native: int = 0
    flops: float = 0.0
    flops_native: float = 0.0
    seconds: float = 0.0
    confidence: float | None = None
    strangeness: float | None = None


def to_line(item: Item) -> str:
    """An item as a line of the per-item record; seconds that nobody took are null."""
    told = asdict(item)
    if math.isnan(item.seconds):
        told["seconds"] = None
    return json.dumps(told)


def from_line(line: str) -> Item:
    """The item of a line; any of `KeyError`, `TypeError`, `ValueError` if it is none."""
    told = json.loads(line)
    if told["seconds"] is None:
        told["seconds"] = math.nan
    if told["matched"] is not None:
        told["matched"] = {label: tuple(counts) for label, counts in told["matched"].items()}
    return Item(**told)


def matches(
    labels: Sequence[str], predicted: Sequence[AnswerBox], truth: Sequence[AnswerBox]
) -> Matches:
    """Boxes (matched, predicted, true) of each label that was asked for."""
    pairs = match_boxes(predicted, truth)
    return {
        label: (
            sum(same_label(truth[j].label, label) for _, j, _ in pairs),
            sum(same_label(box.label, label) for box in predicted),
            sum(same_label(box.label, label) for box in truth),
        )
        for label in labels
    }
