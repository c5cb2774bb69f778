"""What is asked, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from napari_pathreason.geometry import Region

TaskName = Literal["vqa", "subtyping", "detection"]
Budget = int | Literal["auto", "native"]
Effort = Literal["low", "balanced", "high"]
Form = Literal["choice", "yes/no", "count", "boxes", "free text"]
"""What an answer looks like: one of given choices, yes or no, a number, boxes, or any words."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked.

    Parameters
    ----------
    task : {"vqa", "subtyping", "detection"}
    question : str
        Plain words; may be empty for subtyping and detection, which have a default wording.
    options : tuple of str
        Choices (vqa, subtyping) or lesion names (detection).
    """

    task: TaskName
    question: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How text is written: greedy at ``temperature`` 0, else sampled with ``seed``.

    ``begin`` is what the answer begins with, as if the model had written it. With ``zoom`` small
    detections get a zoom on top of the budget, where the model knows how; see
    `Metadata.zoom_labels`.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    begin: str = ""
    zoom: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of which region, and what it may cost; of any slide and any model.

    The docks, the shell, Python, a manifest and training hand this one value to the engine.

    Parameters
    ----------
    region : Region
        Level-0 pixels; what lies outside the slide is left out.
    query : Query
    budget : int, "auto" or "native"
        Most visual tokens to spend; ``auto`` asks the allocator.
    settings : GenerationSettings
    effort : {"low", "balanced", "high"}
        How readily an allocator spends tokens where the budget is ``auto``.
    """

    region: Region
    query: Query
    budget: Budget = "auto"
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    effort: Effort = "balanced"
