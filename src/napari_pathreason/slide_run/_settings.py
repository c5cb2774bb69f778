"""What a slide run looks for, and how finely."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from napari_pathreason.errors import QueryError
from napari_pathreason.tasks import check_choices
from napari_pathreason.types import Budget, Effort, GenerationSettings, Query

from ._overrides import Override

LEAST_OVERLAP, MOST_OVERLAP = 0.1, 0.5


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """Settings of a slide run; two runs of equal settings on equal slides are the same run.

    Parameters
    ----------
    lesions : tuple of str
        Names of what is looked for.
    question : str
        Plain words in place of the default wording.
    mpp : float
        Micrometres per pixel at which a tile is read at most.
    tile : int
        Side of a tile in pixels at that mpp.
    overlap : float
        Share of a side that neighbours have in common, 0.1 to 0.5: lesions are joined there.
    budget : int, "auto" or "native"
        Most visual tokens of a tile; ``auto`` asks the allocator for each tile, ``native`` reads
        each at ``mpp``.
    effort : {"low", "balanced", "high"}
        How readily the allocator spends tokens where the budget is ``auto``.
    min_tissue : float
        Tiles with a smaller share of tissue are not read.
    batch : int
        Tiles that are answered together. It may change the last digits of what a model computes,
        so it belongs to the settings.
    generation : GenerationSettings
    overrides : tuple of Override, optional
        Tiles whose budget a user has set, all of them. None: those that the folder keeps, which
        are none in a new one.
    """

    lesions: tuple[str, ...] = ("tumour",)
    question: str = ""
    mpp: float = 1.0
    tile: int = 384
    overlap: float = 0.25
    budget: Budget = "auto"
    effort: Effort = "balanced"
    min_tissue: float = 0.02
    batch: int = 8
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    overrides: tuple[Override, ...] | None = None

    @property
    def query(self) -> Query:
        """What each tile is asked."""
        return Query("detection", self.question, self.lesions)

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        QueryError
            Names the setting and what it may be.
        """
        if not self.lesions or not all(name.strip() for name in self.lesions):
            raise QueryError("there is no lesion to look for; give at least one name")
        check_choices(self.lesions, "lesions")
        if not (math.isfinite(self.mpp) and self.mpp > 0):
            raise QueryError(f"the mpp is {self.mpp:g}; give micrometres per pixel above zero")
        if self.tile < 1:
            raise QueryError(f"the tile is {self.tile} px; give a side such as 384")
        if not LEAST_OVERLAP <= self.overlap <= MOST_OVERLAP:
            raise QueryError(
                f"the overlap is {self.overlap:g}; give {LEAST_OVERLAP} to {MOST_OVERLAP}, since "
                "lesions on a seam are joined where tiles overlap"
            )
        if not 0 <= self.min_tissue <= 1:
            raise QueryError(f"the least tissue is {self.min_tissue:g}; give a share from 0 to 1")
        if self.batch < 1:
            raise QueryError(f"the batch is {self.batch}; give 1 or more tiles")
        if isinstance(self.budget, int) and self.budget < 1:
            raise QueryError(f"the budget is {self.budget}; give auto, native or at least 1")
