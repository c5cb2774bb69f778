"""An allocator that always gives the same budget, and says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.types import Allocation, Effort, Query


@dataclass(frozen=True, slots=True)
class FixedAllocator:
    """Gives every question the same number of visual tokens; looks at nothing, claims no policy.

    Parameters
    ----------
    budget : int or None
        Visual tokens; None for native size.
    """

    budget: int | None = 64

    @property
    def overview_budget(self) -> int:
        """Always 0: no overview is wanted."""
        return 0

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        """The fixed budget, with source ``fixed``."""
        return Allocation(self.budget, "fixed")
