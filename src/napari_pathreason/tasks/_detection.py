"""Lesion detection: boxes around everything that bears one of the given names."""

from __future__ import annotations

from collections import Counter

from napari_pathreason._types import Answer, AnswerBox, Messages, Query

from ._metrics import iou_score
from ._parsing import normalise, parse_boxes, split_frame
from ._prompt import chat
from ._task import Target

DETECTION_FORMAT = (
    'Answer with a JSON list of {"bbox_2d": [x1, y1, x2, y2], "label": name}, [] if none.'
)


class Detection:
    """Boxes with labels; an empty list is a proper answer."""

    def messages(self, query: Query) -> Messages:
        """See `Task.messages`."""
        names = " and ".join(query.options) or "lesion"
        question = query.question.strip() or f"Find every {names}."
        if query.question.strip() and query.options:
            question = f"{question} Names: {', '.join(query.options)}."
        return chat(f"{question} {DETECTION_FORMAT}")

    def parse(self, text: str, query: Query) -> Answer:
        """See `Task.parse`; a label that was not asked for makes the answer malformed."""
        rationale, body, whole = split_frame(text)
        boxes, complete = parse_boxes(body, query.options[0] if query.options else "lesion")
        wanted = {normalise(name) for name in query.options}
        known = tuple(box for box in boxes if not wanted or normalise(box.label) in wanted)
        well_formed = whole and complete and len(known) == len(boxes)
        return Answer(rationale, summary(known), known, well_formed)

    def score(self, answer: Answer, target: Target) -> float:
        """Matched overlap over the larger count, see `iou_score`; unreadable text scores 0."""
        if not answer.boxes and not answer.well_formed:
            return 0.0
        return iou_score(answer.boxes, target.boxes)


def summary(boxes: tuple[AnswerBox, ...]) -> str:
    """Boxes in words, such as ``2 white cell, 1 platelet``; ``none found`` where there are none."""
    counts = Counter(box.label for box in boxes)
    return ", ".join(f"{n} {label}" for label, n in counts.items()) or "none found"
