"""What is kept of a tile that was answered, and how far all of them may be relied on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from napari_pathreason import engine, types

from ._tiles import Tile

DAMAGED = types.Reliability("none", ("the file is damaged here and could not be read",))
"""Of a tile that has no answer because nothing of it could be decoded."""
_NO_REPLY = ("reply could not be read", "replies could not be read")


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
        Now: it hangs on what an open slide still keeps, so no file of results holds it.
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
    allocation: types.Allocation | None = None
    tokens: types.TokenReport | None = None
    level: int = 0
    pixels_decoded: int = 0
    answer: str = ""
    rationale: str = ""
    reply: str = ""
    detections: tuple[types.Detection, ...] = ()
    confidence: float | None = None
    reliability: types.Reliability = types.NOT_ASSESSED
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    override: int | Literal["native"] | None = None

    @property
    def unknown(self) -> bool:
        """Whether nobody knows what is there: no answer could be read, or nothing of the file.

        Such a tile is none in which nothing was found.
        """
        return self.unreadable or not self.answer


def record_of(tile: Tile, result: types.Result) -> TileRecord:
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


@dataclass(frozen=True, slots=True)
class Tally:
    """Tiles of a run by the level of their answers.

    Parameters
    ----------
    reliable, uncertain, none : int
    unknown : int
        Those of ``none`` where nobody knows what is there: neither found nor not found.
    why : tuple of (str, int)
        What speaks first against those of ``none``, the most frequent first; adds up to ``none``.
    """

    reliable: int
    uncertain: int
    none: int
    unknown: int
    why: tuple[tuple[str, int], ...] = ()

    @property
    def total(self) -> int:
        """All tiles that are done."""
        return self.reliable + self.uncertain + self.none

    @property
    def line(self) -> str:
        """In words.

        Such as ``312 of 400 tiles reliable, 60 uncertain, 28 no reliable answer (21 unlike the
        training images, 7 replies could not be read)``.
        """
        parts = [f"{self.reliable:,} of {self.total:,} tiles reliable"]
        if self.uncertain:
            parts.append(f"{self.uncertain:,} uncertain")
        if self.none:
            why = ", ".join(f"{count:,} {reason}" for reason, count in self.why)
            parts.append(f"{self.none:,} no reliable answer ({why})")
        return ", ".join(parts)


def tally_of(records: Sequence[TileRecord]) -> Tally:
    """Count the tiles of a run."""
    levels = Counter(record.reliability.level for record in records)
    why = Counter(_first(record) for record in records if record.reliability.level == "none")
    if (several := why.pop(_NO_REPLY[0], 0)) > 0:
        why[_NO_REPLY[several > 1]] = several
    return Tally(
        reliable=levels["reliable"],
        uncertain=levels["uncertain"],
        none=levels["none"],
        unknown=sum(record.unknown for record in records),
        why=tuple(sorted(why.items(), key=lambda item: (-item[1], item[0]))),
    )


def reliability_of(records: Sequence[TileRecord]) -> types.Reliability:
    """Of a run as one answer about its whole slide.

    None where there is no tile, else see `engine.join_reliability`.
    """
    if not records:
        return types.Reliability("none", ("no tile holds enough tissue to be read",))
    return engine.join_reliability([record.reliability for record in records], "tiles")


def _first(record: TileRecord) -> str:
    """What speaks first against a tile, without details and advice."""
    if record.unreadable:
        return "damaged"
    if not record.answer:
        return _NO_REPLY[0]
    reason = next(iter(record.reliability.reasons), "for no stated reason")
    if reason.startswith(engine.UNLIKE):  # each tile in its own way
        return engine.UNLIKE
    return reason.partition("; ")[0].partition(" (")[0]
