"""What is kept of a tile that was answered, and of all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from napari_pathreason.types import (
    NOT_ASSESSED,
    Allocation,
    Detection,
    Reliability,
    Result,
    TokenReport,
)

from ._tiles import Tile

DAMAGED = Reliability("none", ("the file is damaged here and could not be read",))
"""Of a tile that has no answer because nothing of it could be decoded."""


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
        The answer is empty where the model's reply could not be read.
    reply : str
        What the model wrote where it could not be read.
    detections : tuple of Detection
        Level-0 pixels, inside the tile.
    confidence : float, optional
    reliability : Reliability
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
    reply: str = ""
    detections: tuple[Detection, ...] = ()
    confidence: float | None = None
    reliability: Reliability = NOT_ASSESSED
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    override: int | Literal["native"] | None = None

    @property
    def unknown(self) -> bool:
        """Whether nobody knows what is there: no answer could be read, or nothing of the file.

        Such a tile is none in which nothing was found.
        """
        return self.unreadable or not self.answer


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
        reply="" if result.answer.readable else result.answer.reply,
        detections=result.detections,
        confidence=result.confidence,
        reliability=result.reliability,
        warnings=result.warnings,
        seconds=dict(result.seconds),
        override=tile.override,
    )
