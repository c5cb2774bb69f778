"""The main job: from a question about a region to an answer, headless and without torch."""

from ._chances import log_odds
from ._checks import check_query
from ._confidence import Chances, Confidence, confidence, read_chances
from ._events import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Planned,
    Stage,
    StageStarted,
    TextDelta,
)
from ._job import Job
from ._json import result_to_dict
from ._protocols import Allocator, BatchPerformer, Performer
from ._regions import parse_regions, read_regions
from ._reliability import foreseen
from ._report import confidence_line, token_line
from ._run import ask, run_job
from ._together import ParkedJob, answer_parked, ask_together

__all__ = [
    "Allocator",
    "BatchPerformer",
    "Cancelled",
    "Chances",
    "Confidence",
    "Event",
    "Failed",
    "Finished",
    "Job",
    "ParkedJob",
    "Performer",
    "Planned",
    "Stage",
    "StageStarted",
    "TextDelta",
    "answer_parked",
    "ask",
    "ask_together",
    "check_query",
    "confidence",
    "confidence_line",
    "foreseen",
    "log_odds",
    "parse_regions",
    "read_chances",
    "read_regions",
    "result_to_dict",
    "run_job",
    "token_line",
]
