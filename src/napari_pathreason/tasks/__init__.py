"""The three tasks: how each asks, reads an answer and scores it. Pure text and geometry."""

from ._allotment import Allotment, allotment_messages, read_allotment
from ._cited import PLACES, THROUGHOUT, Cited, cited_places, citing
from ._detection import DETECTION_FORMAT, Detection, summary
from ._metrics import count_score, iou_score, match_boxes, token_f1
from ._parsing import find_option, parse_boxes
from ._subtyping import Subtyping
from ._task import Target, Task
from ._tasks import TASKS
from ._vqa import VQA

__all__ = [
    "DETECTION_FORMAT",
    "PLACES",
    "TASKS",
    "THROUGHOUT",
    "VQA",
    "Allotment",
    "Cited",
    "Detection",
    "Subtyping",
    "Target",
    "Task",
    "allotment_messages",
    "cited_places",
    "citing",
    "count_score",
    "find_option",
    "iou_score",
    "match_boxes",
    "parse_boxes",
    "read_allotment",
    "summary",
    "token_f1",
]
