"""A count over a region from windows of it: exact where all were read, else with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.geometry import Region

CONFIDENCE = 0.95
"""Share of intervals that hold the true count."""
LEAST = 2
"""Windows of a stratum that must be read before it has a variance of its own."""

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CountEstimate:
    """How many things a region holds.

    Parameters
    ----------
    total : float
    low, high : float
        Of the 95 % interval; both the total where everything was read and no window's own count
        is in doubt.
    read_share : float
        Of the area of all windows, those that were not read among them, 0 to 1.
    error : float
        Standard error of the total.
    """

    total: float
    low: float
    high: float
    read_share: float
    error: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether nothing speaks for another total."""
        return self.low == self.high


def sum_counts(
    region: Region,
    windows: Sequence[Region],
    counts: Sequence[float],
    unread: Sequence[Region] = (),
    strata: Sequence[int] = (),
    errors: Sequence[float] = (),
) -> CountEstimate:
    """Estimate a count over a region from the counts of windows.

    What was read is summed. Where windows overlap, each counts with its share of the area there:
    half of what it holds where two were read, if its things are spread evenly over it. Windows
    that do not overlap are summed exactly. What sticks out of the region is left out alike.

    What was not read is estimated by stratified sampling (Cochran 1977, Sampling Techniques,
    chapters 5 and 6): the density of a stratum's windows that were read, times the area of those
    that were not. The variance between windows is corrected for the finite number of them, and is
    never taken to be less than that of things scattered at random (Poisson, with one thing more
    than was counted, so that none in two windows does not mean none in forty). The interval is
    Student's, with the degrees of freedom of Satterthwaite; it never ends below what was counted.
    A stratum of which fewer than two windows were read is laid together with the next (collapsed
    strata), by its number. That the windows of a stratum were drawn at random is for the caller
    to see to.

    Parameters
    ----------
    region : Region
    windows : sequence of Region
        Those that were read, level-0 pixels; at least one that meets the region.
    counts : sequence of float
        What each of them holds.
    unread : sequence of Region
        All other windows that hold something to count. What lies in no window counts as empty.
    strata : sequence of int
        Stratum of each window that was read, then of each of the others, such as the quantile of
        its tissue or its surprise; empty for a single one. Near numbers are alike.
    errors : sequence of float
        Standard error of each window's own count; empty where they are not known, or none. A model
        is taken to err everywhere in the same direction, so they add up.

    Raises
    ------
    ValueError
        If no window that was read meets the region, or numbers of values differ.
    """
    number, every = len(windows), len(windows) + len(unread)
    for name, values, wanted in (
        ("counts", len(counts), number),
        ("strata", len(strata) or every, every),
        ("errors", len(errors) or number, number),
    ):
        if values != wanted:
            raise ValueError(f"{values} {name} for {wanted} windows")
    areas = _own_areas(region, windows, unread) if windows else np.zeros(every)
    if not areas[:number].sum() > 0:
        raise ValueError("no window that was read meets the region")
    full = np.array([one.box.area for one in windows])
    share = areas[:number] / full
    count, own = np.array(counts, np.float64), np.array(errors or [0.0] * number)
    counted = _dot(share, count)
    samples = _strata(np.array(strata or [0] * every), share, count, areas, full)
    missing = math.fsum(one.missing for one in samples)
    total = counted + missing
    error, quantile = _spread(samples)
    # a density that is wrong by a tenth is wrong by it in what was not read too
    own_error = _dot(share, own) * (total / counted if counted > 0 else 1.0)
    normal = _quantile(math.inf)
    half = math.hypot(quantile * error, normal * own_error)
    return CountEstimate(
        total=total,
        low=max(0.0, total - half, counted - normal * _dot(share, own)) if half else total,
        high=total + half if half else total,
        read_share=math.fsum(areas[:number]) / math.fsum(areas),
        error=math.hypot(error, own_error),
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    """A stratum of which something was not read."""

    missing: float
    variance: float
    freedom: float


def _dot(one: _Array, other: _Array) -> float:
    """Exact but for its products: half a thing must not be rounded by the order of reading."""
    return math.fsum((one * other).tolist())


def _strata(
    strata: NDArray[np.int64], share: _Array, count: _Array, areas: _Array, full: _Array
) -> list[_Sample]:
    """An estimate of each stratum of which something was not read."""
    number = len(share)
    samples = []
    for stratum in _collapsed(strata, areas, number):
        read = np.flatnonzero(stratum[:number] & (areas[:number] > 0))
        rest = math.fsum(areas[number:][stratum[number:]])
        done, side = math.fsum(areas[read]), math.fsum(full[read]) / len(read)
        density = _dot(share[read], count[read]) / done
        # windows that overlap tell less than as many that do not
        effective = done / side
        off = count[read] - density * full[read]
        between = _dot(share[read], off**2) / done * side
        if len(read) > 1:
            between *= len(read) / (len(read) - 1)
        scattered = (_dot(share[read], count[read]) + 1) / effective
        size = (done + rest) / side
        variance = size * (rest / side) * max(between, scattered) / effective
        samples.append(_Sample(density * rest, variance, max(1.0, effective - 1)))
    return samples


def _collapsed(strata: NDArray[np.int64], areas: _Array, number: int) -> list[NDArray[np.bool_]]:
    """Windows of each stratum that has to be estimated, too small ones laid together."""
    groups = [strata == value for value in np.unique(strata)]
    values = [float(value) for value in np.unique(strata)]

    def count(group: NDArray[np.bool_]) -> int:
        return int((group[:number] & (areas[:number] > 0)).sum())

    def is_open(group: NDArray[np.bool_]) -> bool:
        return float(areas[number:][group[number:]].sum()) > 1e-9

    while len(groups) > 1:
        small = [i for i, group in enumerate(groups) if is_open(group) and count(group) < LEAST]
        if not small:
            break
        one = small[0]
        two = min(
            (i for i in range(len(groups)) if i != one), key=lambda i: abs(values[i] - values[one])
        )
        groups[two] = groups[two] | groups[one]
        values[two] = (values[one] + values[two]) / 2
        del groups[one], values[one]
    return [group for group in groups if is_open(group)]


def _spread(samples: Sequence[_Sample]) -> tuple[float, float]:
    """Standard error of what was not read, and how many of them half an interval is."""
    variance = sum(one.variance for one in samples)
    if variance <= 0:
        return 0.0, 0.0
    freedom = variance**2 / sum(one.variance**2 / one.freedom for one in samples)
    return math.sqrt(variance), _quantile(freedom)


def _quantile(freedom: float) -> float:
    """Of Student's distribution, two-sided; the normal one's for infinite degrees of freedom."""
    from scipy.special import ndtri, stdtrit

    tail = 1 - (1 - CONFIDENCE) / 2
    return float(ndtri(tail) if math.isinf(freedom) else stdtrit(freedom, tail))


def outermost(windows: Sequence[Region], share: float) -> list[int]:
    """Places of windows that lie within none before them.

    Parameters
    ----------
    windows : sequence of Region
        Level-0 pixels, the first have the first word.
    share : float
        Of a window within another one, from which on it lies in it, 0 to 1.
    """
    import shapely

    corners = np.array([window.box.corners for window in windows]).reshape(-1, 4)
    shapes = shapely.box(*corners.T)
    one, other = shapely.STRtree(shapes).query(shapes)  # few of all pairs meet
    low = np.maximum(corners[one, :2], corners[other, :2])
    high = np.minimum(corners[one, 2:], corners[other, 2:])
    own = (corners[one, 2:] - corners[one, :2]).prod(axis=1)
    inside = (other < one) & ((high - low).clip(0).prod(axis=1) >= share * own)
    within: dict[int, list[int]] = {}
    for place, around in zip(one[inside].tolist(), other[inside].tolist(), strict=True):
        within.setdefault(place, []).append(around)
    chosen: set[int] = set()
    for place in range(len(windows)):
        if chosen.isdisjoint(within.get(place, ())):
            chosen.add(place)
    return sorted(chosen)


def share_read(region: Region, windows: Sequence[Region], unread: Sequence[Region]) -> float:
    """Share, 0 to 1, of the area that may hold something which windows cover."""
    areas = _own_areas(region, windows, unread)
    return float(areas[: len(windows)].sum() / areas.sum()) if areas.sum() > 0 else 0.0


def _own_areas(region: Region, read: Sequence[Region], unread: Sequence[Region]) -> _Array:
    """Area of each window within the region, divided where windows overlap.

    What was read belongs to the windows that were read alone, in equal parts; the rest to the
    others likewise.
    """
    corners = np.array([window.box.corners for window in (*read, *unread)]).reshape(-1, 4)
    x1, y1, x2, y2 = region.box.corners
    corners = np.clip(corners, (x1, y1, x1, y1), (x2, y2, x2, y2))
    xs, ys, spans = _cuts(corners)
    depth = np.zeros((2, len(ys) - 1, len(xs) - 1), np.int32)
    for place, span in enumerate(spans):
        depth[int(place >= len(read))][span] += 1
    size = np.outer(np.diff(ys), np.diff(xs))
    parts = size / np.maximum(depth, 1)
    parts[1] *= depth[0] == 0
    return np.array(
        [float(parts[int(place >= len(read))][span].sum()) for place, span in enumerate(spans)]
    )


def _cuts(corners: _Array) -> tuple[_Array, _Array, list[tuple[slice, slice]]]:
    """Where the sides of boxes cut a plane along x and y, and the fields of each box."""
    xs, ys = np.unique(corners[:, [0, 2]]), np.unique(corners[:, [1, 3]])
    across, down = np.searchsorted(xs, corners[:, [0, 2]]), np.searchsorted(ys, corners[:, [1, 3]])
    return xs, ys, [(slice(*d), slice(*a)) for d, a in zip(down, across, strict=True)]
