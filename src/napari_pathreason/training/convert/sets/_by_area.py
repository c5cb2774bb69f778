"""Tiles of one slide divided by where they lie: a strip is held out, apart from the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Place = tuple[int, int, int, int]
"""(x, y, width, height) in level-0 pixels."""

CUTS = 64
"""Places of a cut that are tried along each axis, from each end."""
MOST = 1 / 2
"""Share of the tiles that a strip may take."""


def hold_out_strip(
    places: Sequence[Place], classes: Sequence[str], share: float
) -> tuple[list[int], list[int]] | None:
    """Choose a strip at one edge of the slide, over its whole width or height.

    Of all cuts along both axes that leave every class to the rest, that one is taken which is best
    at: a strip of about ``share`` of the tiles, few tiles across the cut, many classes in it.

    Parameters
    ----------
    places : sequence of (x, y, width, height)
        Of the tiles; they may overlap.
    classes : sequence of str
        What each tile is labelled.
    share : float
        Of the tiles that the strip should hold.

    Returns
    -------
    tuple or None
        (indices in the strip, indices of tiles across the cut, which belong to neither side);
        None where no cut leaves every class to the rest.
    """
    if len(places) < 2:
        return None
    tiles = np.array(places, dtype=float)
    kinds = np.unique(np.array(classes), return_inverse=True)[1].ravel()
    number = int(kinds.max()) + 1
    best: tuple[float, NDArray[np.bool_], NDArray[np.bool_]] | None = None
    for axis in (0, 1):
        starts, ends = tiles[:, axis], tiles[:, axis] + tiles[:, axis + 2]
        for low in (False, True):
            for cut in _thinned(np.unique(ends if low else starts)):
                strip = ends <= cut if low else starts >= cut
                rest = starts >= cut if low else ends <= cut
                left = np.unique(kinds[rest]).size
                if not strip.any() or left < number or strip.mean() > MOST:
                    continue
                across = 1 - strip.mean() - rest.mean()
                absent = 1 - np.unique(kinds[strip]).size / number
                off = abs(strip.mean() - max(share, 1 / len(tiles)))
                cost = float(off + across + absent / 4)
                if best is None or cost < best[0]:
                    best = cost, strip, ~(strip | rest)
    if best is None:
        return None
    return np.flatnonzero(best[1]).tolist(), np.flatnonzero(best[2]).tolist()


def _thinned(cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    if cuts.size <= CUTS:
        return cuts
    chosen: NDArray[np.float64] = cuts[np.linspace(0, cuts.size - 1, CUTS).round().astype(int)]
    return chosen
