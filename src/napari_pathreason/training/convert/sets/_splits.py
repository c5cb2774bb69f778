"""Which picture goes to which split: as published, else dealt by what belongs together.

Tiles of a single slide are divided by where they lie: a strip of it is held out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import SPLITS, Split

from ._entry import Entry, Place
from ._labels import read_rows
from ._left_out import LeftOut

HELD_OUT = 0.1
"""Share of the groups that goes to each of ``val`` and ``test`` where nothing is published."""

COLUMNS = ("group", "patient", "slide", "source_tile")
"""Columns of a table that say what belongs together, the first one that is there."""

ACROSS = "tiles lie across the edge of a strip that was held out and were left out"

CUTS = 64
"""Places of a cut that are tried along each axis, from each end."""
MOST = 1 / 2
"""Share of the tiles that a strip may take."""


@dataclass(frozen=True, slots=True)
class Dealt:
    """Pictures of each split in their order, and what a user must be told.

    ``short`` says why a split that is wanted is empty, if there were too few groups; else "".
    """

    parts: dict[Split, list[Entry]]
    notes: tuple[str, ...]
    short: str


def deal(
    entries: list[Entry],
    seed: int,
    group_is: str,
    wanted: Sequence[Split] = SPLITS,
    left: LeftOut | None = None,
    kept: Collection[Split | None] = (),
) -> Dealt:
    """Put every picture into one split, whole groups together.

    A published split is kept. Pictures without one are dealt among the ``wanted``. A split that is
    wanted and has nothing then gets a tenth of the groups of ``train`` that no other split knows;
    where ``train`` is one slide, a strip of its tiles. What nothing can be found for stays empty.

    Parameters
    ----------
    entries : list of Entry
    seed : int
    group_is : str
        What a group is, in one word.
    wanted : sequence of {"train", "val", "test"}
    left : LeftOut, optional
        Where tiles across the edge of a strip are counted.
    kept : collection of {"train", "val", "test"}
        Splits that nothing is taken out of train for: they are published, and all their pictures
        are lost or lie elsewhere.
    """
    told: dict[str, Split] = {e.group: e.split for e in entries if e.split is not None}
    open_ = {entry.group for entry in entries if entry.split is None} - told.keys()
    dealt = _draw(sorted(open_), seed, wanted) | told
    parts: dict[Split, list[Entry]] = {split: [] for split in SPLITS}
    for entry in entries:
        parts[entry.split or dealt[entry.group]].append(entry)
    notes = []
    if open_ and group_is == "picture" and len({entry.group for entry in entries}) > 1:
        notes.append(
            "dealt picture by picture: those of one patient or slide may lie on both sides; "
            "say what belongs together with --groups CSV (image, group)"
        )
    if shared := _shared(parts):
        notes.append(
            f"{shared:,} {group_is}{'s lie' if shared > 1 else ' lies'} in more than one published "
            "split, which was kept: scores will be optimistic"
        )
    fillable = [split for split in wanted if split not in kept]
    notes += _carve(parts, fillable, seed, group_is)
    notes += _cut_off(parts, fillable, group_is, left or LeftOut())
    short = ""
    if parts["train"] and any(not parts[split] for split in fillable):
        groups = len({entry.group for entry in (entries if open_ else parts["train"])})
        few = f"only {groups} {group_is}{'s' * (groups > 1)}"
        short = few if open_ else f"train has {few}"
        if _one_slide(parts["train"]):
            short += (
                ", and no strip of its tiles leaves every class to train: annotate more of it, or "
                "lay smaller tiles (--tile)"
            )
    return Dealt(parts, (*notes, *_unseen(parts)), short)


def _draw(groups: list[str], seed: int, wanted: Sequence[Split]) -> dict[str, Split]:
    """A tenth of the groups, at least one, for each split but the last, which gets the rest.

    Where there are too few groups ``test`` goes without first, then ``val``.
    """
    order_of: tuple[Split, ...] = ("test", "val", "train")
    *held, rest = (split for split in order_of if split in wanted)
    order = Random(f"{seed}-splits").sample(groups, len(groups))
    share = max(1, round(HELD_OUT * len(order)))
    splits: dict[str, Split] = {}
    for others, split in zip(range(len(held), 0, -1), held, strict=True):
        if len(order) > others:
            splits |= dict.fromkeys(order[:share], split)
            order = order[share:]
    return splits | dict.fromkeys(order, rest)


def _carve(
    parts: dict[Split, list[Entry]], wanted: Sequence[Split], seed: int, group_is: str
) -> list[str]:
    """Move whole groups of train to splits that are wanted and empty; says so."""
    lacking: list[Split] = [s for s in ("val", "test") if s in wanted and not parts[s]]
    known = {entry.group for split in ("val", "test") for entry in parts[split]}
    own = sorted({entry.group for entry in parts["train"]} - known)
    carved = _draw(own, seed, (*lacking, "train")) if lacking else {}
    trained, parts["train"] = parts["train"], []
    for entry in trained:
        parts[carved.get(entry.group, "train")].append(entry)
    done = [split for split in lacking if parts[split]]
    if not done:
        return []
    return [
        f"no {' and no '.join(done)} {'were' if len(done) > 1 else 'was'} published: a tenth of "
        f"train became {'each' if len(done) > 1 else 'it'}, by {group_is}"
    ]


def _cut_off(
    parts: dict[Split, list[Entry]], wanted: Sequence[Split], group_is: str, left: LeftOut
) -> list[str]:
    """Give strips of the one slide of train to splits that are wanted and empty; says so.

    ``test`` takes its strip of ``val`` where that is another slide, for training does not see it.
    """
    strips: dict[Split, list[Split]] = {"train": [], "val": []}
    wanted_tiles = HELD_OUT * len(parts["train"])
    order: tuple[Split, ...] = ("val", "test")
    for split in order:  # val first: no training goes without it
        if split not in wanted or parts[split]:
            continue
        apart = split == "test" and not strips["train"] and _one_slide(parts["val"])
        donor: Split = "val" if apart else "train"
        tiles = parts[donor]
        places = [entry.place for entry in tiles if entry.place is not None]
        cut = _one_slide(tiles) and hold_out_strip(
            places,
            [entry.label for entry in tiles],
            0.5 if apart else wanted_tiles / len(tiles),
        )
        if cut:
            held, across = map(set, cut)
            parts[split] = [tiles[index] for index in sorted(held)]
            parts[donor] = [e for index, e in enumerate(tiles) if index not in held | across]
            left.add(ACROSS, count=len(across))
            strips[donor].append(split)
    return [
        f"{donor} is only 1 {group_is}: {' and '.join(given)} "
        f"{'are strips' if len(given) > 1 else 'is a strip'} of the same {group_is}, beside its "
        "other tiles, so scores there will be OPTIMISTIC; give at least 3, of different patients"
        for donor, given in strips.items()
        if given
    ]


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


def _one_slide(entries: list[Entry]) -> bool:
    """Whether pictures are tiles of one file."""
    return len({e.file for e in entries}) == 1 and all(e.place is not None for e in entries)


def _unseen(parts: Mapping[Split, list[Entry]]) -> list[str]:
    """A note on labels that are asked for and never trained on."""
    trained = {entry.label for entry in parts["train"]}
    asked = {entry.label for split in ("val", "test") for entry in parts[split]}
    unseen = sorted(asked - trained - {""})
    return [f"train has no picture of {', '.join(unseen)}"] if unseen and parts["train"] else []


def _shared(parts: Mapping[Split, list[Entry]]) -> int:
    """Groups that more than one split holds."""
    seen: dict[str, set[Split]] = {}
    for split, entries in parts.items():
        for entry in entries:
            seen.setdefault(entry.group, set()).add(split)
    return sum(len(splits) > 1 for splits in seen.values())


def regroup(entries: list[Entry], table: Path, left: LeftOut) -> list[Entry]:
    """Pictures with the groups that a CSV gives them, by key or by file name.

    Rows that name no picture are counted in ``left``.

    Raises
    ------
    QueryError
        If a column is missing, a name stands for several groups, or a picture is not in the table.
    """
    rows = [row for _, row in read_rows(table)]
    column = next((name for name in COLUMNS if rows and name in rows[0]), None)
    if column is None or "image" not in rows[0]:
        raise QueryError(f"{table.name} needs the columns image and {', '.join(COLUMNS)} (one)")
    groups: dict[str, str] = {}
    for row in rows:
        if groups.setdefault(row["image"], row[column]) != row[column]:
            raise QueryError(
                f"{table.name} puts {row['image']} into two groups; name pictures by their path"
            )
    grouped = []
    used = set()
    for entry in entries:
        name = entry.file.name if entry.file else entry.key.rpartition("/")[2]
        known = [n for n in (entry.key, name, name.partition(".")[0]) if n in groups]
        if not known:
            raise QueryError(f"{table.name} does not name {name}; give every picture a group")
        if not groups[known[0]].strip():
            raise QueryError(f"{table.name} gives {known[0]} no {column}; fill the cell")
        used.update(known)
        grouped.append(replace(entry, group=groups[known[0]]))
    for name in groups:
        if name not in used:
            left.add(f"rows of {table.name} name no picture of the folder", Path(name).name)
    return grouped


def draw(entries: list[Entry], most: int | None, seed: int) -> list[Entry]:
    """At most ``most`` of the pictures, drawn by ``seed``, in their order."""
    if most is None or len(entries) <= most:
        return entries
    chosen = Random(f"{seed}-most").sample(range(len(entries)), most)
    return [entries[index] for index in sorted(chosen)]
