"""What a slide run reports, in order; the last event is always an ending."""

from __future__ import annotations

from dataclasses import dataclass

from ._outcome import Outcome
from ._plan import RunPlan
from ._record import TileRecord
from ._tiles import Tile


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The tiles are laid; ``done`` were on the disk already, out of ``total`` with tissue."""

    plan: RunPlan
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class TileDone:
    """A tile is on the disk: answered now, or by an earlier run that was cut (``kept``)."""

    tile: Tile
    record: TileRecord
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Tiles on the disk, and seconds until the rest will be (None while that is not known)."""

    done: int
    total: int
    seconds_left: float | None

    @property
    def time_left(self) -> str:
        """Such as ``1:02:03``, or ``2:03`` below an hour; empty while it is not known."""
        if self.seconds_left is None:
            return ""
        minutes, seconds = divmod(round(self.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Ending: all files are written; ``already`` if an earlier run had written them."""

    outcome: Outcome
    already: bool = False


@dataclass(frozen=True, slots=True)
class RunCancelled:
    """Ending: cancelled; the same run again goes on with what is missing."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class RunFailed:
    """Ending: an error; ``reason`` is one line that names the remedy."""

    reason: str
    error: Exception


RunEvent = RunStarted | TileDone | Progress | RunFinished | RunCancelled | RunFailed
