"""What loading gives: who answers and who allocates."""

from __future__ import annotations

from dataclasses import dataclass

from napari_pathreason.engine import Allocator, Performer


@dataclass(frozen=True, slots=True)
class Models:
    """A performer and the allocator that goes with it."""

    performer: Performer
    allocator: Allocator
