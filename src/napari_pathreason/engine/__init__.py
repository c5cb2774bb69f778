"""The main job: from a question about a region to an answer, headless and without torch."""

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
from ._protocols import Allocator, Performer

__all__ = [
    "Allocator",
    "Cancelled",
    "Event",
    "Failed",
    "Finished",
    "Performer",
    "Planned",
    "Stage",
    "StageStarted",
    "TextDelta",
]
