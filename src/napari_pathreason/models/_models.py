"""What loading gives: who answers and who allocates."""

from __future__ import annotations

from dataclasses import dataclass

from napari_pathreason.engine import Allocator, Performer


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """A performer and the allocator that goes with it, in this process; see `engine.Models`."""

    performer: Performer
    allocator: Allocator

    def close(self) -> None:
        """Nothing: memory is freed with the last reference."""
