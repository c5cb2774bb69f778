"""What a running job reports, in order; the last event is always an ending."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from napari_pathreason.budgets import ReadPlan
from napari_pathreason.types import Allocation, Result


class Stage(StrEnum):
    """The steps of one answer, in order; also the keys of `Result.seconds`."""

    OVERVIEW = "overview"
    ALLOCATE = "allocate"
    READ = "read"
    GENERATE = "generate"
    ZOOM = "zoom"
    PARSE = "parse"


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Planned:
    """The budget is chosen and turned into an exact size; nothing of it is spent yet."""

    allocation: Allocation
    plan: ReadPlan


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Ending: the answer."""

    result: Result


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ending: the user cancelled during ``stage``."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Failed:
    """Ending: an error during ``stage``; ``reason`` is one line that names the remedy."""

    stage: Stage
    reason: str
    error: Exception


Event = StageStarted | Planned | TextDelta | Finished | Cancelled | Failed
