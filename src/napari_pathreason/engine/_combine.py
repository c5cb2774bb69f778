"""The answer of a region from readings of its windows: no slide, no model, nothing is read.

The engine answers with it, and a learned allocator of windows is trained on it: what a choice of
windows is worth is the score of the answer that it leads to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.tasks import Aggregate, aggregate
from napari_pathreason.types import Query, Reading

from ._scene import Scene, covered_shares, middle_of

MOSTLY = 0.5
"""Share of a window from which on it counts as read."""


def combine_readings(
    query: Query, scene: Scene, readings: Sequence[Reading], apart: Iterable[str] = ()
) -> Aggregate:
    """Put the answers of windows together.

    Windows that cover the region's tissue and were not read are told to `tasks.aggregate`, with
    strata of about equal surprise, so that a count over windows that were chosen by it is put
    together from parts that are each alike.

    Parameters
    ----------
    query : Query
        Worded as the model was trained.
    scene : Scene
        Of the region.
    readings : sequence of Reading
        At least one, each of a window by itself, in the order of reading; of a window that was
        read again the last one counts.
    apart : iterable of str
        Labels of small things, as of `ModelInfo.zoom_labels`.

    Raises
    ------
    ValueError
        If there is no reading.
    """
    readings = latest_readings(readings)
    missing, strata = _sampling(scene, readings)
    windows = scene.cover_windows
    unread = [windows[place] for place in missing]
    return aggregate(query, readings, scene.grid.region, unread, strata, apart)


def latest_readings(readings: Sequence[Reading]) -> tuple[Reading, ...]:
    """Readings without those whose window was read again: the later one has the better word."""
    latest = {reading.view.region: reading for reading in readings}
    return tuple(one for one in readings if latest[one.view.region] is one)


def read_shares(scene: Scene, readings: Iterable[Reading]) -> NDArray[np.float64]:
    """Share of each covering window that was read, float (covering windows,)."""
    views = [view for one in readings for view in one.views if view.role == "window"]
    if not views or not len(scene.cover):
        return np.zeros(len(scene.cover))
    return covered_shares(scene.cover_corners, np.array([one.region.box.corners for one in views]))


def _sampling(scene: Scene, readings: Sequence[Reading]) -> tuple[list[int], list[int]]:
    """Covering windows that were not read, and strata: of the readings, then of them."""
    if not len(scene.cover):
        return [], [0] * len(readings)
    missing = np.flatnonzero(read_shares(scene, readings) < MOSTLY).tolist()
    # a window off the grid has the stratum of the one nearest to it
    middles = np.array([middle_of(one.view.region) for one in readings])
    distances = np.abs(scene.cover_middles[None] - middles[:, None]).sum(axis=2)
    nearest = distances.argmin(axis=1)
    strata = scene.cover_strata
    return missing, strata[[*nearest.tolist(), *missing]].tolist()
