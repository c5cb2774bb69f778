"""The three tasks: how each asks, reads an answer and scores it. Pure text and geometry."""

from ._allotment import Allotment, allotment_messages, read_allotment
from ._choices import check_choices, equal_choices, find_option, same_choice, whole_choice
from ._cited import PLACES, THROUGHOUT, Cited, cited_places, citing
from ._detection import DETECTION_FORMAT, Detection, summary
from ._metrics import count_score, iou_score, is_right, match_boxes, same_label, token_f1
from ._numbers import abstains, asks_count, asks_number
from ._parsing import parse_boxes, split_frame
from ._subtyping import Subtyping
from ._task import Target, Task
from ._tasks import SCORING, TASKS
from ._topics import (
    FORM_WORDS,
    as_trained,
    content_words,
    examples,
    form_of,
    unknown_labels,
    untrained,
    words_of_query,
)
from ._vqa import VQA

__all__ = [
    "DETECTION_FORMAT",
    "FORM_WORDS",
    "PLACES",
    "SCORING",
    "TASKS",
    "THROUGHOUT",
    "VQA",
    "Allotment",
    "Cited",
    "Detection",
    "Subtyping",
    "Target",
    "Task",
    "abstains",
    "allotment_messages",
    "as_trained",
    "asks_count",
    "asks_number",
    "check_choices",
    "cited_places",
    "citing",
    "content_words",
    "count_score",
    "equal_choices",
    "examples",
    "find_option",
    "form_of",
    "iou_score",
    "is_right",
    "match_boxes",
    "parse_boxes",
    "read_allotment",
    "same_choice",
    "same_label",
    "split_frame",
    "summary",
    "token_f1",
    "unknown_labels",
    "untrained",
    "whole_choice",
    "words_of_query",
]
