"""Boxes of overlapping or touching windows: what two windows saw of one thing becomes one box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import Detection

AGREE = 0.5
"""Share of the smaller box, within what both windows saw, from which two boxes are one thing."""
TOUCH = 0.03
"""Share of a window's side within which a box counts as cut by its border."""

Corners: TypeAlias = NDArray[np.float64]
"""(boxes, 4): x1, y1, x2, y2 in level-0 pixels."""
Indices: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MergedBox:
    """One thing, and the windows that saw it.

    Parameters
    ----------
    detection : Detection
        Level-0 pixels; its confidence is the highest of its parts.
    parts : tuple of int
        Windows that saw it, ascending.
    confident : tuple of int
        Those of them whose box has that confidence.
    """

    detection: Detection
    parts: tuple[int, ...]
    confident: tuple[int, ...]


def merge_boxes(
    parts: Iterable[tuple[Region, Sequence[Detection]]],
    apart: Iterable[str] = (),
    ranks: Sequence[int] = (),
) -> list[MergedBox]:
    """Join what windows of any place and size saw of one thing.

    Two boxes of one label from two windows are one thing if they agree where both windows looked:
    the parts that lie in the common strip are laid over each other, and the overlap is held
    against the smaller of them (the measure IOS of sliced inference, Akyon et al. 2022,
    arXiv:2202.06934). So a thing that a border cuts is joined however little of it the second
    window holds, and one that both see whole counts once. Where each window's border cuts the box
    inside the other window, both go on beyond the strip, and any overlap there is enough: of a
    slanting thing the two boxes have little more than that in common. Windows that only touch have
    a line in common; boxes that it cuts on both sides are joined where they share a part of it,
    unless a third window looked across it there. Joining is passed on: a thing over five windows
    is one. Boxes of one window are joined only through another's.

    Of small things (``apart``) two that a border cuts are more often two than one. They are never
    joined by a cut, nor through a third: of two windows each box has one counterpart at most, the
    one that agrees best, and of the two boxes that one is kept whose window has it whole, further
    from its borders. Outer borders of all windows together cut nothing.

    A window that looked more finely has the better word (``ranks``): a thing that it holds whole
    has its box, and what a coarser one saw inside it and it did not see is dropped.

    Parameters
    ----------
    parts : iterable of (Region, sequence of Detection)
        Windows whose answers could be read, those without boxes too, and their boxes in level-0
        pixels, each inside its window.
    apart : iterable of str
        Labels of small things, in any case.
    ranks : sequence of int
        How finely each window looked, the finest highest; empty where all looked alike.

    Returns
    -------
    list of MergedBox
        From top to bottom, then left to right. The box is the bounds of its parts, or the kept one.
    """
    windows, detections, owner = _flat(parts)
    if not detections:
        return []
    rank = np.asarray(ranks, np.int64) if len(ranks) else np.zeros(len(windows), np.int64)
    if len(rank) != len(windows):
        raise ValueError(f"{len(rank)} ranks for {len(windows)} windows")
    few = {_folded(label) for label in apart}
    names = [_folded(one.label) for one in detections]
    labels = {name: number for number, name in enumerate(dict.fromkeys(names))}
    scene = _Scene(
        windows=windows,
        box=np.array([one.box.corners for one in detections], np.float64),
        owner=owner,
        label=np.array([labels[name] for name in names]),
        small=np.array([name in few for name in names]),
    )
    merged = [
        _merged([detections[place] for place in group], group, scene, rank)
        for group in _groups(scene)
    ]
    if rank.min() < rank.max():
        merged = _confirmed(merged, windows, rank)
    return sorted(merged, key=lambda one: (*_place(one.detection.box), one.detection.label))


def _flat(
    parts: Iterable[tuple[Region, Sequence[Detection]]],
) -> tuple[Corners, list[Detection], Indices]:
    """Corners of the windows, all boxes in one list, and the window of each."""
    regions: list[Region] = []
    detections: list[Detection] = []
    owner: list[int] = []
    for index, (region, own) in enumerate(parts):
        regions.append(region)
        detections += own
        owner += [index] * len(own)
    corners = np.array([region.box.corners for region in regions], np.float64).reshape(-1, 4)
    return corners, detections, np.array(owner, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """Boxes side by side: ``owner`` is the window of each, ``small`` that its label is."""

    windows: Corners
    box: Corners
    owner: Indices
    label: Indices
    small: Flags

    @property
    def own(self) -> Corners:
        """The window of each box."""
        return self.windows[self.owner]

    def cut(self) -> Flags:
        """Whether each side of its window (left, top, right, bottom) cuts a box."""
        return self.distance() <= TOUCH * _sides(self.own)

    def distance(self) -> Corners:
        """From each side of a box to that of its window."""
        return (self.box - self.own) * (1, 1, -1, -1)


def _groups(scene: _Scene) -> list[list[int]]:
    """Places of the boxes that are one thing."""
    pairs, share = _pairs(scene)
    small = scene.small[pairs[:, 0]]
    order = np.argsort(-share[small], kind="stable")
    return [
        group
        for group in _chains(len(scene.box), pairs[~small], _matched(pairs[small][order], scene))
        if group
    ]


def _chains(count: int, *pairs: Indices) -> list[list[int]]:
    """Places that hang together, whatever the length of the chain between them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = np.concatenate(pairs).T
    graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(count, count))
    number, chain = connected_components(graph, directed=False)
    chains: list[list[int]] = [[] for _ in range(number)]
    for place, index in enumerate(chain):
        chains[index].append(place)
    return chains


def _matched(pairs: Indices, scene: _Scene) -> Indices:
    """Those of the pairs, the best first, that put no two boxes of one window together."""
    group: dict[int, list[int]] = {}
    chosen = []
    for a, b in pairs.tolist():
        one, two = group.get(a, [a]), group.get(b, [b])
        if {*scene.owner[one].tolist()} & {*scene.owner[two].tolist()}:
            continue  # also where they are one group already
        together = one + two
        group.update(dict.fromkeys(together, together))
        chosen.append((a, b))
    return np.array(chosen, np.int64).reshape(-1, 2)


def _pairs(scene: _Scene) -> tuple[Indices, NDArray[np.float64]]:
    """Pairs of boxes that are the same thing, and how far they agree, 0 to 1."""
    i, j = _near(scene).T
    common = _meet(scene.own[i], scene.own[j])
    one, two = _meet(scene.box[i], common), _meet(scene.box[j], common)
    agreed, smaller = _area(_meet(one, two)), np.minimum(_area(one), _area(two))
    cut = scene.cut()
    both_cut = _cut_inside(cut[i], scene.own[i], scene.own[j]) & _cut_inside(
        cut[j], scene.own[j], scene.own[i]
    )
    whole = agreed >= AGREE * smaller
    same = (agreed > 0) & (whole | (both_cut & ~scene.small[i]))
    same |= _across_a_line(scene, i, j, common)
    share = np.divide(agreed, smaller, out=np.zeros_like(agreed), where=smaller > 0)
    return np.stack([i[same], j[same]], axis=1), share[same]


def _near(scene: _Scene) -> Indices:
    """Pairs of one label and two windows that may be one thing: few of all that there are.

    A box that a border of its window cuts reaches up to it, so that the two sides of a line that
    windows have in common find each other.
    """
    import shapely

    own, cut = scene.own, scene.cut()
    reach = np.where(cut, own, scene.box)
    reach[:, :2] = np.minimum(reach[:, :2], scene.box[:, :2])
    reach[:, 2:] = np.maximum(reach[:, 2:], scene.box[:, 2:])
    found = []
    for label in np.unique(scene.label):
        places = np.flatnonzero(scene.label == label)
        shapes: Any = shapely.box(*reach[places].T)
        a, b = shapely.STRtree(shapes).query(shapes)  # their bounds meet: of boxes no more to ask
        a, b = places[a], places[b]
        other = (a < b) & (scene.owner[a] != scene.owner[b])
        found.append(np.stack([a[other], b[other]], axis=1))
    pairs = np.concatenate(found)
    return pairs[np.lexsort(pairs.T[::-1])]


def _cut_inside(cut: Flags, own: Corners, other: Corners) -> Flags:
    """Whether a border of the box's window, on its way through the other window, cuts the box."""
    low, high = np.tile(other[:, :2], 2), np.tile(other[:, 2:], 2)
    inside: Flags = np.logical_or.reduce(cut & (low < own) & (own < high), axis=1)
    return inside


def _across_a_line(scene: _Scene, i: Indices, j: Indices, common: Corners) -> Flags:
    """Whether two windows touch in a line that cuts both boxes and that no third looked across."""
    size = common[:, 2:] - common[:, :2]
    same = np.zeros(len(i), bool)
    for axis in (0, 1):  # of the direction across the line
        along = 1 - axis
        line = (size[:, axis] == 0) & (size[:, along] > 0) & ~scene.small[i]
        start = np.maximum(scene.box[i, along], scene.box[j, along])
        end = np.minimum(scene.box[i, along + 2], scene.box[j, along + 2])
        for pair in np.flatnonzero(line & (end > start)):
            at, windows = common[pair, axis], scene.windows
            looked = (windows[:, axis] < at) & (at < windows[:, axis + 2])
            covers = (windows[:, along] <= start[pair]) & (windows[:, along + 2] >= end[pair])
            same[pair] = not bool((looked & covers).any())
    return same


def _merged(
    detections: list[Detection], group: list[int], scene: _Scene, rank: Indices
) -> MergedBox:
    choose = _whole_box if scene.small[group[0]] else _bounds
    box = scene.box[group[0]] if len(group) == 1 else choose(group, scene, rank)
    known = [one.confidence for one in detections if one.confidence is not None]
    most = max(known, default=None)
    owners = scene.owner[group].tolist()
    confident = {o for o, one in zip(owners, detections, strict=True) if one.confidence == most}
    x1, y1, x2, y2 = box.tolist()
    return MergedBox(
        Detection(detections[0].label, Box(x1, y1, x2 - x1, y2 - y1), most),
        tuple(sorted(set(owners))),
        tuple(sorted(confident)),
    )


def _whole_box(group: list[int], scene: _Scene, rank: Indices) -> Corners:
    """The box of the window that has a thing whole, of these the finest, furthest from borders."""
    outer = np.concatenate([scene.windows[:, :2].min(0), scene.windows[:, 2:].max(0)])
    own, box = scene.windows[scene.owner[group]], scene.box[group]
    distance = np.where(own == outer, np.inf, (box - own) * (1, 1, -1, -1))
    whole = np.logical_and.reduce(distance > TOUCH * _sides(own), axis=1)
    best: Corners = box[np.lexsort([distance.min(axis=1), rank[scene.owner[group]], whole])[-1]]
    return best


def _bounds(group: list[int], scene: _Scene, rank: Indices) -> Corners:
    """Bounds of the parts, of the finest windows alone where those have all of theirs whole."""
    own, box, ranks = scene.windows[scene.owner[group]], scene.box[group], rank[scene.owner[group]]
    whole = np.logical_and.reduce((box - own) * (1, 1, -1, -1) > TOUCH * _sides(own), axis=1)
    least = ranks.min()
    for finest in np.unique(ranks)[::-1]:
        if whole[ranks >= finest].all():
            least = finest
            break
    used = box[ranks >= least]
    return np.concatenate([used[:, :2].min(0), used[:, 2:].max(0)])


def _confirmed(merged: list[MergedBox], windows: Corners, rank: Indices) -> list[MergedBox]:
    """Without what a finer window holds whole and did not see."""
    boxes = np.array([one.detection.box.corners for one in merged])
    finest = np.array([rank[list(one.parts)].max() for one in merged])
    denied = np.zeros(len(merged), bool)
    for window, own in zip(windows, rank, strict=True):
        inside = (boxes[:, :2] >= window[:2]).all(1) & (boxes[:, 2:] <= window[2:]).all(1)
        denied |= inside & (finest < own)
    return [one for one, gone in zip(merged, denied, strict=True) if not gone]


def _meet(a: Corners, b: Corners) -> Corners:
    """What two boxes have in common; where that is nothing, an end lies before its start."""
    return np.concatenate([np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])], axis=1)


def _area(box: Corners) -> NDArray[np.float64]:
    area: NDArray[np.float64] = np.maximum(box[:, 2:] - box[:, :2], 0).prod(axis=1)
    return area


def _sides(box: Corners) -> Corners:
    """(width, height, width, height)."""
    return np.tile(box[:, 2:] - box[:, :2], 2)


def _folded(label: str) -> str:
    return " ".join(label.split()).casefold()


def _place(box: Box) -> tuple[float, float, float, float]:
    return box.y, box.x, box.h, box.w
