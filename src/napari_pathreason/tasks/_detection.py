"""Lesion detection: boxes around everything that bears one of the given names."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from napari_pathreason.types import Answer, AnswerBox, Messages, Query

from ._choices import whole_choice
from ._metrics import iou_score
from ._parsing import parse_boxes, split_frame
from ._prompt import chat
from ._task import Target

DETECTION_FORMAT = (
    'Answer with a JSON list of {"bbox_2d": [x1, y1, x2, y2], "label": name}, [] if none.'
)


class Detection:
    """Boxes with labels; an empty list is a proper answer, no list is none."""

    def messages(self, query: Query) -> Messages:
        """See `Task.messages`."""
        names = " and ".join(query.options) or "lesion"
        question = query.question.strip() or f"Find every {names}."
        if query.question.strip() and query.options:
            question = f"{question} Names: {', '.join(query.options)}."
        return chat(f"{question} {DETECTION_FORMAT}")

    def parse(self, text: str, query: Query) -> Answer:
        """See `Task.parse`.

        A box whose label was not asked for is left out and makes the answer malformed. Nothing
        was found where a whole list is empty; where a list was cut off, left no box or is none,
        what is there is unknown, and the answer cannot be read.
        """
        rationale, body, whole = split_frame(text)
        names = query.options or ("lesion",)
        boxes, complete = parse_boxes(body, names[0] if len(names) == 1 else None)
        known = boxes
        if query.options:
            labels = [whole_choice(box.label, query.options) for box in boxes]
            pairs = zip(boxes, labels, strict=True)
            known = tuple(replace(box, label=label) for box, label in pairs if label is not None)
        complete = complete and len(known) == len(boxes)
        if not known and not complete:
            return Answer(rationale, "", (), False, text)
        return Answer(rationale, summary(known), known, whole and complete, text)

    def score(self, answer: Answer, target: Target) -> float:
        """Matched overlap over the larger count, see `iou_score`; unreadable text scores 0."""
        if not answer.readable:
            return 0.0
        return iou_score(answer.boxes, target.boxes)


def summary(boxes: tuple[AnswerBox, ...]) -> str:
    """Boxes in words, such as ``2 white cells, 1 platelet``; ``none found`` for none."""
    counts = Counter(box.label for box in boxes)
    return ", ".join(f"{n} {label}" for label, n in counts.items()) or "none found"
