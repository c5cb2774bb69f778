"""The three tasks: how each asks, reads an answer and scores it. Pure text and geometry."""

from collections.abc import Mapping
from types import MappingProxyType

from napari_pathreason._types import TaskName

from ._cited import PLACES, THROUGHOUT, Cited, cited_places, citing
from ._detection import DETECTION_FORMAT, Detection
from ._metrics import count_score, iou_score, match_boxes, token_f1
from ._parsing import find_option, parse_boxes
from ._subtyping import Subtyping
from ._task import Target, Task
from ._vqa import VQA

TASKS: Mapping[TaskName, Task] = MappingProxyType(
    {"vqa": VQA(), "subtyping": Subtyping(), "detection": Detection()}
)

__all__ = [
    "DETECTION_FORMAT",
    "PLACES",
    "TASKS",
    "THROUGHOUT",
    "VQA",
    "Cited",
    "Detection",
    "Subtyping",
    "Target",
    "Task",
    "cited_places",
    "citing",
    "count_score",
    "find_option",
    "iou_score",
    "match_boxes",
    "parse_boxes",
    "token_f1",
]
