"""The account of one answer, a value that crosses the borders between rooms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenReport:
    """Account of one answer; all counts are visual tokens unless named otherwise.

    ``realised`` of the ``requested`` are those of the look that the budget is for; ``closer`` is
    what closer looks at its finds took besides, ``allocator`` the look that chose the budget.
    Native size means the same answer with its first look at native size.
    """

    allocator: int
    requested: int | None
    realised: int
    native: int
    encoder_patches: int
    prompt_tokens: int
    new_tokens: int
    flops: float
    flops_native: float
    closer: int = 0

    @property
    def read(self) -> int:
        """Tokens that the performer read, in all its looks."""
        return self.realised + self.closer

    @property
    def spent(self) -> int:
        """All tokens, those of the allocator's look included."""
        return self.read + self.allocator

    @property
    def saved(self) -> int:
        """Tokens not spent against native size, the allocator's own counted (may be negative)."""
        return self.native - self.realised - self.allocator
