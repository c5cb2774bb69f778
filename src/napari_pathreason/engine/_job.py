"""One question about one region of one slide, ready to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_pathreason.geometry import Region
from napari_pathreason.types import Budget, Effort, GenerationSettings, Query

if TYPE_CHECKING:
    from napari_pathreason.slides import Slide


@dataclass(frozen=True, slots=True)
class Job:
    """What to run.

    Parameters
    ----------
    slide : Slide
        Must stay open until the job has ended.
    region : Region
        Level-0 pixels; what lies outside the slide is left out.
    query : Query
    budget : int, "auto" or "native"
        Most visual tokens to spend; ``auto`` asks the allocator.
    settings : GenerationSettings
    effort : {"low", "balanced", "high"}
        How readily an allocator spends tokens where the budget is ``auto``.
    bounded : bool
        Whether what the model says that it cannot do is refused; who measures a model asks all
        the same.
    """

    slide: Slide
    region: Region
    query: Query
    budget: Budget = "auto"
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    effort: Effort = "balanced"
    bounded: bool = True
