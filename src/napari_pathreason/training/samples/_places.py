"""Names of places in a picture, as rationales and answers use them."""

from __future__ import annotations

from napari_pathreason.tasks import PLACES

__all__ = ["PLACES", "QUADRANTS", "place_of"]

QUADRANTS = ("upper left", "upper right", "lower left", "lower right")
"""A 2 x 2 grid in reading order."""


def place_of(x: float, y: float) -> str:
    """Place of a point given in shares of width and height (0 to 1)."""
    column, row = min(int(x * 3), 2), min(int(y * 3), 2)
    return PLACES[3 * max(row, 0) + max(column, 0)]
