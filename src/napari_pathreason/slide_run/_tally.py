"""How far the tiles of a run may be relied on, counted and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from napari_pathreason.types import Reliability

from ._record import TileRecord

_NO_REPLY = ("reply could not be read", "replies could not be read")


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


def reliability_of(records: Sequence[TileRecord]) -> Reliability:
    """Of a run as one answer about its whole slide.

    Reliable where all its tiles are, none where most are, or where there is none. Each reason
    tells how many tiles it concerns.
    """
    if not records:
        return Reliability("none", ("no tile holds enough tissue to be read",))
    levels = Counter(record.reliability.level for record in records)
    if levels["reliable"] == len(records):
        return Reliability("reliable")
    counts = Counter(reason for record in records for reason in record.reliability.reasons)
    worst = {
        record.reliability.reasons[0]
        for record in records
        if record.reliability.level == "none" and record.reliability.reasons
    }
    ordered = sorted(counts, key=lambda reason: (reason not in worst, -counts[reason], reason))
    reasons = tuple(
        reason
        if counts[reason] == len(records)
        else f"{reason} ({counts[reason]:,} of {len(records):,} tiles)"
        for reason in ordered
    )
    return Reliability("none" if 2 * levels["none"] > len(records) else "uncertain", reasons)


def _first(record: TileRecord) -> str:
    """What speaks first against a tile, without details and advice."""
    if record.unreadable:
        return "damaged"
    if not record.answer:
        return _NO_REPLY[0]
    reason = next(iter(record.reliability.reasons), "for no stated reason")
    return reason.partition("; ")[0].partition(" (")[0]
