"""What is kept of a tile that was answered, and of all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from napari_pathreason._types import Allocation, Detection, Result, TokenReport

from ._tiles import Tile


@dataclass(frozen=True, slots=True)
class TileRecord:
    """A tile that is done.

    Parameters
    ----------
    index : int
        Of the tile.
    unreadable : bool
        Its part of the file is damaged; it has no answer then.
    allocation : Allocation, optional
    tokens : TokenReport, optional
    level : int
        Pyramid level that was decoded.
    pixels_decoded : int
    answer, rationale : str
    detections : tuple of Detection
        Level-0 pixels, inside the tile.
    confidence : float, optional
    warnings : tuple of str
    seconds : mapping of str to float
        By stage; the same tile takes another time when it is run again.
    override : int or "native", optional
        The budget that a user had set for it when it was answered. A record counts for as long as
        that is so.
    """

    index: int
    unreadable: bool = False
    allocation: Allocation | None = None
    tokens: TokenReport | None = None
    level: int = 0
    pixels_decoded: int = 0
    answer: str = ""
    rationale: str = ""
    detections: tuple[Detection, ...] = ()
    confidence: float | None = None
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    override: int | Literal["native"] | None = None


def record_of(tile: Tile, result: Result) -> TileRecord:
    """What is kept of a tile's result."""
    return TileRecord(
        index=tile.index,
        allocation=result.allocation,
        tokens=result.tokens,
        level=result.level,
        pixels_decoded=result.pixels_decoded,
        answer=result.answer.text,
        rationale=result.answer.rationale,
        detections=result.detections,
        confidence=result.confidence,
        warnings=result.warnings,
        seconds=dict(result.seconds),
        override=tile.override,
    )
