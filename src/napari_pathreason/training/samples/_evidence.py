"""Places of a picture by name, and rationales that can be checked: facts, each with a place.

``upper left: gland; centre: crowded nuclei; throughout: no gland``. What a fact speaks of is a
label of the picture's own, which `Facts` says was annotated there; the labels are what it is held
against.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.tasks import PLACES

from ._sample import Corners
from ._view import View

QUADRANTS = ("upper left", "upper right", "lower left", "lower right")
"""A 2 x 2 grid in reading order."""
THROUGHOUT = "throughout"
"""Stands where a place would, of what holds in all of a picture."""
CROWDED, SPARSE = "crowded nuclei", "sparse nuclei"
CROWDED_SHARE = 0.22
"""Share of a place that nuclei cover at least where they are crowded."""
MOST_FACTS = 9
"""Facts of one rationale that count."""
MOSTLY, SMALLEST = 0.3, 0.02
"""Share of a place that a lesion covers at least; and where it covers that nowhere, the share of
the place where most of it lies."""


def place_of(x: float, y: float) -> str:
    """Place of a point given in shares of width and height (0 to 1)."""
    column, row = min(int(x * 3), 2), min(int(y * 3), 2)
    return PLACES[3 * max(row, 0) + max(column, 0)]


def confirmed(rationale: str, view: View) -> tuple[int, int]:
    """Check cited facts against the labels of a view.

    Returns
    -------
    tuple of int
        (facts confirmed, facts cited); a phrase that is no fact counts as cited, not confirmed,
        and so does one that is said again, unless there are as many such things in that place.
    """
    cited = Counter(part.strip() for part in rationale.split(";") if part.strip())
    hold = sum(min(n, _times(part, view)) for part, n in cited.items() if _holds(part, view))
    return hold, cited.total()


def coverage(view: View, label: str, grid: tuple[int, int]) -> NDArray[np.float32] | None:
    """Share of each square of a grid that a label covers, float32 (rows, columns), 0 to 1.

    Parameters
    ----------
    view : View
    label : str
    grid : tuple of int
        Columns and rows.

    Returns
    -------
    float32 array or None
        None if the label was not annotated.
    """
    if label not in view.known:
        return None
    if label == "nucleus" and view.nuclei is not None:
        picture = Image.fromarray(view.nuclei)
        return np.asarray(picture.resize(grid, Image.Resampling.BOX), np.float32)
    covered = np.zeros((grid[1], grid[0]), np.float32)
    for name, corners in view.areas:
        if name == label:
            covered += _box_coverage(corners, grid)
    return np.minimum(covered, 1.0)


def place_of_box(corners: Corners) -> str:
    """The place in which the centre of a box lies; corners in shares of width and height."""
    x1, y1, x2, y2 = corners
    return place_of((x1 + x2) / 2, (y1 + y2) / 2)


def _times(phrase: str, view: View) -> int:
    """How often a fact that holds may be cited: once, or once for each thing in its place."""
    place, what = _split(phrase)
    if _is_lesion(what, view):  # its areas are pieces, not things
        return 1
    return max(1, sum(name == what and place_of_box(box) == place for name, box in view.areas))


def _holds(phrase: str, view: View) -> bool:
    place, what = _split(phrase)
    if place != THROUGHOUT and place not in PLACES:
        return False
    absent = what.startswith("no ")
    label = "nucleus" if "nuclei" in what else what.removeprefix("no ")
    shares = coverage(view, label, (3, 3))
    if shares is None:
        return False
    share = float(shares.mean() if place == THROUGHOUT else shares.ravel()[PLACES.index(place)])
    if absent:
        return share == 0.0
    if what == CROWDED:
        return share >= CROWDED_SHARE
    if what == SPARSE:
        return 0.0 < share < CROWDED_SHARE
    if _is_lesion(label, view):
        return share >= MOSTLY or share == shares.max() >= SMALLEST
    return share > 0.0


def _is_lesion(label: str, view: View) -> bool:
    """Whether a label is annotated piece by piece, with a box around all that belongs together."""
    return any(name == label for name, _ in view.lesions)


def _split(phrase: str) -> tuple[str, str]:
    place, _, what = (part.strip() for part in phrase.partition(":"))
    return place, what


def _box_coverage(corners: Corners, grid: tuple[int, int]) -> NDArray[np.float32]:
    x1, y1, x2, y2 = corners
    return np.outer(_overlap(y1, y2, grid[1]), _overlap(x1, x2, grid[0]))


def _overlap(start: float, end: float, places: int) -> NDArray[np.float32]:
    edges = np.linspace(0.0, 1.0, places + 1)
    shared = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
    return (np.maximum(shared, 0.0) * places).astype(np.float32)
