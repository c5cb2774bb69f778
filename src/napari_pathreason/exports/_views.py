"""What was read of a region, view by view, in the words and colours that every file uses."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from napari_pathreason.budgets import BUDGET_GRID, native_tokens, token_px_of
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import PLACES, THROUGHOUT, cited_views, place_at
from napari_pathreason.types import Reading, Reliability, Result, View

from ._reliability import answer_line

LEVELS = len(BUDGET_GRID) + 1
"""Of budgets that have a colour each; the last is native size."""


ELSEWHERE = "another slide"
"""Place of a view that shows another slide than the one asked about."""


@dataclass(frozen=True, slots=True)
class ViewRow:
    """A view that was read, and what its prompt gave.

    Parameters
    ----------
    view : View
    place : str
        Where its middle lies in the region, one of `tasks.PLACES`; ``throughout`` of one that
        shows all of it, `ELSEWHERE` of one of another slide.
    level : int
        Of its budget, 0 to `LEVELS` - 1; see `budget_level`.
    prompt : int
        In which it stood, from 1; those of one prompt have one answer.
    reading : Reading
    """

    view: View
    place: str
    level: int
    prompt: int
    reading: Reading

    @property
    def joint(self) -> bool:
        """Whether other views stood in the same prompt, so that the answer is of them all."""
        return len(self.reading.views) > 1

    @property
    def answer(self) -> str:
        """What was said of it, or that there is no answer; empty of one view among several."""
        if self.joint:
            return ""
        return answer_line(self.reading.answer.text, self.reading.reliability)

    @property
    def confidence(self) -> float | None:
        """Of its own answer, 0 to 1; None where it has none or the model does not tell."""
        number = None if self.joint else self.reading.confidence
        return number if number is not None and math.isfinite(number) else None

    @property
    def reliability(self) -> Reliability:
        """Of its prompt alone."""
        return self.reading.reliability

    @property
    def colour(self) -> str:
        """Colour of its budget, such as ``#1f9e89``."""
        return budget_colours()[self.level]


def view_rows(result: Result) -> tuple[ViewRow, ...]:
    """Every view that was read, in the order of reading; those of a slide run are its tiles."""
    return tuple(
        ViewRow(view, _place(view, result.region), budget_level(view), prompt, reading)
        for prompt, reading in enumerate(result.readings, 1)
        for view in reading.views
    )


def telling_rows(result: Result, most: int) -> tuple[ViewRow, ...]:
    """Of many views the most telling: those that the rationale cites, in its order.

    Views of detections follow, then the finest.
    """
    cited = {one.view: n for n, one in enumerate(cited_views(result.answer.rationale))}
    rows = sorted(
        view_rows(result),
        key=lambda row: (
            cited.get(row.view.name, len(cited)),
            not row.reading.detections,
            -row.view.tokens,
        ),
    )
    return tuple(rows[:most])


def has_windows(result: Result) -> bool:
    """Whether more was read of a region than one picture of it."""
    return any(view.role != "picture" for one in result.readings for view in one.views)


def windows_read(result: Result) -> int:
    """Windows of the region that were read; 0 where it was read as one picture."""
    return sum(view.role == "window" for one in result.readings for view in one.views)


def policy_of(result: Result) -> str:
    """Name of what chose the views; empty of a result that stands for several."""
    return "" if result.views is None else result.views.policy


def views_line(result: Result) -> str:
    """How a region was read, such as ``14 windows (again) of 12 to 56 tokens``.

    Empty where it was read as one picture.
    """
    windows = [row.view for row in view_rows(result) if row.view.role in ("window", "region")]
    if not windows:
        return ""
    what = windows[0].role
    count = f"{len(windows):,} {what}{'' if len(windows) == 1 else 's'}"
    prompt = ", in one prompt" if result.views is not None and result.views.joint else ""
    places = Counter(view.region for view in windows)
    twice = sum(times > 1 for times in places.values())
    again = f", {twice:,} of them read again" if twice else ""
    least, most = min(view.tokens for view in windows), max(view.tokens for view in windows)
    tokens = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    # half-step windows overlap: these are choices, not parts of the tissue
    unread = f"; {len(result.unread):,} more could be read" if result.unread else ""
    return f"{count} ({policy_of(result)}{prompt}) of {tokens} tokens{again}{unread}"


def budget_level(view: View) -> int:
    """Which budget of the grid holds a view's tokens, from 0; the last is native size."""
    tokens = view.tokens
    if tokens >= native_tokens(view.region, token_px_of(view)):
        return LEVELS - 1
    return min(bisect_left(BUDGET_GRID, tokens), LEVELS - 1)


@cache
def budget_colours() -> tuple[str, ...]:
    """A colour for each budget, dark for few tokens, as the maps of napari have them."""
    from matplotlib import colormaps, colors

    shades = colormaps["viridis"]
    return tuple(colors.to_hex(shades(level / (LEVELS - 1))) for level in range(LEVELS))


def budget_name(level: int) -> str:
    """A budget in words, such as ``up to 64`` or ``native``."""
    return "native" if level >= len(BUDGET_GRID) else f"up to {BUDGET_GRID[level]:,}"


def grouped(rows: Iterable[ViewRow]) -> Iterator[tuple[Region, list[ViewRow]]]:
    """Rows by their place on the slide: a window that was read again is one place."""
    places: dict[Region, list[ViewRow]] = {}
    for row in rows:
        places.setdefault(row.view.region, []).append(row)
    yield from places.items()


def _place(view: View, region: Region) -> str:
    own = view.region
    if view.slide:
        return ELSEWHERE
    if own == region:
        return THROUGHOUT
    return PLACES[place_at(own.x + own.width / 2, own.y + own.height / 2, region)]
