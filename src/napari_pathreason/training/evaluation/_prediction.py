"""The record of one answered question; what every figure of an evaluation is made of."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from napari_pathreason.tasks import match_boxes, same_label
from napari_pathreason.training.samples import Phrasing
from napari_pathreason.types import AnswerBox, TaskName

Asked = Literal["model", "text_only", "unreasoned"]
"""How the model was asked: as users do, before a white picture, with an empty rationale given."""
Condition = Asked | Literal["constant", "baseline"]
"""Who answered: the model, one fixed answer, the baseline."""

Matches = dict[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One question answered; a line of the per-item record.

    What was asked and answered: ``index`` is the question's place among those asked, ``question``
    and ``choices`` are its words, ``reply`` the completion as it was written and ``boxes`` those of
    the answer after all zooms, ``truth`` and ``truth_boxes`` the label, boxes 0 to 1000 of
    the region. ``answer`` is empty where the reply could not be read. ``question``, ``reply`` and
    ``boxes`` are None in older records, which cannot be scored anew.

    Scores, which are reckoned from these and never taken from a record: ``score``, ``well_formed``;
    ``matched`` holds, for each label of a detection, (boxes matched at an overlap of 0.5, boxes
    predicted, boxes true); ``confirmed`` of ``cited`` facts hold in this picture, ``shuffled`` of
    them in another one of the same topic (None where there is no other).

    What was measured: ``budget`` is None for native size, ``side`` the longer side of the region in
    level-0 pixels, ``size`` the picture's (width, height) as the model saw it, (0, 0) where no
    model was asked. Tokens, FLOPs and seconds are 0 there too, and expected values where budgets
    were drawn blindly; seconds are NaN where the question shared its pass with others.
    ``confidence`` is 0 to 1, ``ood`` above 1 for a strange picture; None where not told.
    ``group`` names what the picture shares with others, such as a slide or an organ; empty where
    nothing is known of it.
    """

    index: int
    condition: Condition
    budget: int | None
    task: TaskName
    topic: str
    side: int
    phrasing: Phrasing
    score: float
    answer: str
    truth: str
    question: str | None = None
    choices: tuple[str, ...] = ()
    reply: str | None = None
    boxes: tuple[AnswerBox, ...] | None = None
    truth_boxes: tuple[AnswerBox, ...] = ()
    well_formed: bool = True
    matched: Matches | None = None
    cited: int = 0
    confirmed: int = 0
    shuffled: int | None = None
    size: tuple[int, int] = (0, 0)
    tokens: float = 0
    native: int = 0
    flops: float = 0.0
    flops_native: float = 0.0
    seconds: float = 0.0
    confidence: float | None = None
    ood: float | None = None
    group: str = ""

    @property
    def lacks(self) -> tuple[str, ...]:
        """What is missing to parse the reply and to score it anew."""
        parts = {"question": self.question, "reply": self.reply, "boxes": self.boxes}
        return tuple(name for name, part in parts.items() if part is None)


def to_line(item: Prediction) -> str:
    """An item as a line of the per-item record; seconds that nobody took are null."""
    told = asdict(item)
    if math.isnan(item.seconds):
        told["seconds"] = None
    for name in ("boxes", "truth_boxes"):
        boxes = getattr(item, name)
        told[name] = None if boxes is None else [[*asdict(box).values()] for box in boxes]
    return json.dumps(told, ensure_ascii=False)


def from_line(line: str) -> Prediction:
    """The item of a line; any of `KeyError`, `TypeError`, `ValueError` if it is none.

    What this version does not know is left aside, what an older one did not write is missing.
    """
    told: dict[str, Any] = json.loads(line)
    if told["seconds"] is None:
        told["seconds"] = math.nan
    if told["matched"] is not None:
        told["matched"] = {label: tuple(counts) for label, counts in told["matched"].items()}
    for name in ("boxes", "truth_boxes"):
        if told.get(name) is not None:
            told[name] = tuple(AnswerBox(*box) for box in told[name])
    for name in ("choices", "size"):
        if name in told:
            told[name] = tuple(told[name])
    known = {field.name for field in fields(Prediction)}
    return Prediction(**{name: value for name, value in told.items() if name in known})


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
