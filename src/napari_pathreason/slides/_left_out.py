"""Whether a tile that a level leaves out is background, or was lost.

A writer that leaves the background out does so on all levels. Hence a tile was lost where another
level shows something in its place: encoders and copies that fail leave tiles of no bytes, too.
"""

from __future__ import annotations

from ._source import Source, Window

SHOWS = 12.0
"""Standard deviation, in grey levels, from which a part of a slide shows something."""
EDGE = 2
"""Pixels, of a coarser level, along the edges of a part: they are mixed with what lies beside."""
LEAST = 4
"""Pixels of a side that must be left to judge by."""


def scaled(source: Source, level: int, window: Window, other: int, edge: int) -> Window | None:
    """A window of one level as one of another, without its edges; None where nothing is left."""
    sizes = zip(source.level_sizes[other], source.level_sizes[level], strict=True)
    across, down = (new / old for new, old in sizes)
    x1, y1, x2, y2 = window
    left, right = int(x1 * across) + edge, int(x2 * across) - edge
    top, bottom = int(y1 * down) + edge, int(y2 * down) - edge
    return (left, top, right, bottom) if left < right and top < bottom else None


def is_shown_coarser(source: Source, level: int, window: Window) -> bool:
    """Whether the next coarser level shows something in a window that a level leaves out.

    Parameters
    ----------
    source : Source
    level : int
    window : tuple of int
        In pixels of that level.
    """
    if level + 1 >= len(source.level_sizes):
        return False
    part = scaled(source, level, window, level + 1, EDGE)
    if part is None or part[2] - part[0] < LEAST or part[3] - part[1] < LEAST:
        return False
    done = source.read(level + 1, part)
    return not done.unreadable and float(done.pixels.std(axis=(0, 1)).max()) > SHOWS
