"""Which picture goes to which split: by the name that it is published under, else dealt.

Folders, files and columns spell splits in many ways, known here alone. Pictures without a split
are dealt by what belongs together; tiles of a single slide are divided by where they lie: a strip
of it is held out.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import SPLITS, Split

from ._labels import read_rows
from ._layout import LabelledEntry, LeftOut, Place

NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating"), "val"),
    **dict.fromkeys(("dev", "devel", "development", "tune", "tuning"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "ts", "te", "holdout", "heldout"), "test"),
}
"""Spellings of each split, in lower case without blanks and marks.

``eval`` is not among them: some mean ``val`` by it, some ``test``.
"""
SPELLINGS = (
    "train (training, tr), val (valid, validation, dev, tuning) and test (testing, ts, holdout), "
    "in any letter case"
)
"""The names in words, for messages."""
NAMED_SO = "is the name of a split: all of it is"
"""Stands in the note on a folder or table that is converted by itself."""
SHORT = 2
"""Letters of names that only a whole folder, file or cell may have: in a longer name they are
likely something else."""
_BESIDE = {
    *("set", "sets", "data", "dataset", "split", "subset", "part", "images", "image", "imgs"),
    *("img", "pictures", "patches", "tiles", "slides", "samples", "cases"),
}
"""Words that may stand beside the name: ``train_data``, ``Test Set``, ``images_val``."""
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W\d_]+|\d+")

HELD_OUT = 0.1
"""Share of the groups that goes to each of ``val`` and ``test`` where nothing is published."""

COLUMNS = ("group", "patient", "slide", "source_tile")
"""Columns of a table that say what belongs together, the first one that is there."""

ACROSS = "tiles lie across the edge of a strip that was held out and were left out"

CUTS = 64
"""Places of a cut that are tried along each axis, from each end."""
MOST = 1 / 2
"""Share of the tiles that a strip may take."""


def split_of(name: str) -> Split | None:
    """Split that a whole name stands for: ``Training``, ``val2017``, ``test_set``; else None."""
    for text in (name.lower(), name):  # humps count only where letters alone tell nothing
        words = [
            word
            for word in words_of(text)
            if word not in _BESIDE and not (len(word) == 4 and word.isdigit())  # nor a year
        ]
        whole = "".join(words)
        for spelling in (whole, whole.removesuffix("set")):
            if spelling in NAMES:
                return NAMES[spelling]
        named = {NAMES.get(word) for word in words}
        split = named.pop() if len(named) == 1 else None
        if split is not None:
            return split
    return None


def split_in(name: str) -> Split | None:
    """Split that a word of a longer name stands for: ``rldata_CLS_train``; else None.

    Raises
    ------
    QueryError
        If its words name several splits.
    """
    named = splits_in(name)
    if len(named) > 1:
        raise QueryError(
            f"{name} names the splits {' and '.join(sorted(named))}; rename it, or divide it in two"
        )
    return next(iter(named), None)


def splits_in(name: str) -> set[Split]:
    """All splits that words of a longer name stand for; short names count only by themselves."""
    whole = split_of(name)
    words = words_of(name)
    pairs = [a + b for a, b in pairwise(words)]  # hold out
    named = {NAMES[word] for word in (*words, *pairs) if word in NAMES and len(word) > SHORT}
    return {whole} if whole is not None else named


def split_of_source(name: str) -> Split | None:
    """Split that a folder means which is converted by itself: ``data/train``; else None.

    Short names and ``dev`` are taken for what else they may be.
    """
    plain = any(word in NAMES and word != "dev" for word in words_of(name) if len(word) > SHORT)
    return split_of(name) if plain else None


def published(
    names: Iterable[str], where: str, more: Mapping[str, Split] | None = None
) -> list[tuple[str, Split]]:
    """Names of splits of a published set with what they mean, in the order of the splits.

    Parameters
    ----------
    names : iterable of str
    where : str
        What carries the names, for the message.
    more : mapping of str to {"train", "val", "test"}, optional
        Names of this set alone.

    Raises
    ------
    QueryError
        If a name is unknown.
    """
    splits = []
    for name in sorted(names):
        split = (more or {}).get(name) or split_of(name)
        if split is None:
            raise QueryError(
                f"{where}: {name!r} is no name of a split that is known: {SPELLINGS}; rename it, "
                "or move it elsewhere"
            )
        splits.append((name, split))
    return sorted(splits, key=lambda one: SPLITS.index(one[1]))


def words_of(name: str) -> list[str]:
    """Words and numbers of a name in lower case; ``imagesTr`` is two words."""
    return [word.lower() for word in _WORD.findall(_HUMP.sub(" ", name))]


@dataclass(frozen=True, slots=True)
class Division:
    """Pictures of each split in their order, and what a user must know.

    ``short`` says why a split that is wanted is empty, if there were too few groups; else "".
    """

    parts: dict[Split, list[LabelledEntry]]
    notes: tuple[str, ...]
    short: str


def deal(
    entries: list[LabelledEntry],
    seed: int,
    group_is: str,
    wanted: Sequence[Split] = SPLITS,
    left: LeftOut | None = None,
    closed: Collection[Split | None] = (),
) -> Division:
    """Put every picture into one split, whole groups together.

    A published split stays. Pictures without one are dealt among the ``wanted``. A split that is
    wanted and has nothing then gets a tenth of the groups of ``train`` that no other split knows;
    where ``train`` is one slide, a strip of its tiles. What nothing can be found for stays empty.

    Parameters
    ----------
    entries : list of LabelledEntry
    seed : int
    group_is : str
        What a group is, in one word.
    wanted : sequence of {"train", "val", "test"}
    left : LeftOut, optional
        Where tiles across the edge of a strip are counted.
    closed : collection of {"train", "val", "test"}
        Splits that nothing is taken out of train for: they are published, and all their pictures
        are lost or lie elsewhere.
    """
    published_of: dict[str, Split] = {e.group: e.split for e in entries if e.split is not None}
    open_ = {entry.group for entry in entries if entry.split is None} - published_of.keys()
    dealt = _draw(sorted(open_), seed, wanted, _labels_of(entries)) | published_of
    parts: dict[Split, list[LabelledEntry]] = {split: [] for split in SPLITS}
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
    fillable = [split for split in wanted if split not in closed]
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
    return Division(parts, (*notes, *_untrained(parts)), short)


def _labels_of(entries: Iterable[LabelledEntry]) -> dict[str, set[str]]:
    """Labels that the pictures of each group have."""
    found: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.label:
            found[entry.group].add(entry.label)
    return found


def _draw(
    groups: list[str], seed: int, wanted: Sequence[Split], labels: Mapping[str, set[str]]
) -> dict[str, Split]:
    """A tenth of the groups, at least one, for each split but the last, which gets the rest.

    Each split gets a group of every label that enough groups have, and the last one of a label
    stays with the rest. Where there are too few groups ``test`` goes without first, then ``val``.
    """
    order_of: tuple[Split, ...] = ("test", "val", "train")
    *held, rest = (split for split in order_of if split in wanted)
    order = Random(f"{seed}-splits").sample(groups, len(groups))
    share = max(1, round(HELD_OUT * len(order)))
    splits: dict[str, Split] = {}
    for others, split in zip(range(len(held), 0, -1), held, strict=True):
        if len(order) > others:
            held_out = _held_out(order, share, labels, others + 1)
            splits |= dict.fromkeys(held_out, split)
            order = [group for group in order if group not in splits]
    return splits | dict.fromkeys(order, rest)


def _held_out(
    order: Sequence[str], share: int, labels: Mapping[str, set[str]], least: int
) -> list[str]:
    """Groups for one split: of each label of more than ``least`` groups one, then ``share`` in all.

    A group that is the last of a label is taken only if there is no other. What fills up leaves
    ``least`` groups of each label of which there were more, for the splits that come after.
    """
    left = Counter(label for group in order for label in labels.get(group, ()))
    due = {label for label, number in left.items() if number > least}
    reserve = {label: least if label in due else 1 for label in left}
    chosen: dict[str, None] = {}
    for fills_up in (False, True):
        for group in order:
            own = labels.get(group, set())
            wanted = len(chosen) < share if fills_up else bool(own & due)
            spares = all(left[label] > (reserve[label] if fills_up else 1) for label in own)
            if group not in chosen and wanted and spares:
                chosen[group] = None
                left.subtract(own)
                due -= own
    return list(chosen) or list(order[:share])


def _carve(
    parts: dict[Split, list[LabelledEntry]], wanted: Sequence[Split], seed: int, group_is: str
) -> list[str]:
    """Move whole groups of train to splits that are wanted and empty; says so."""
    lacking: list[Split] = [s for s in ("val", "test") if s in wanted and not parts[s]]
    elsewhere = {entry.group for split in ("val", "test") for entry in parts[split]}
    own = sorted({entry.group for entry in parts["train"]} - elsewhere)
    labels = _labels_of(parts["train"])
    carved = _draw(own, seed, (*lacking, "train"), labels) if lacking else {}
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
    parts: dict[Split, list[LabelledEntry]], wanted: Sequence[Split], group_is: str, left: LeftOut
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
        f"{donor} is only 1 {group_is}: {' and '.join(cuts)} "
        f"{'are strips' if len(cuts) > 1 else 'is a strip'} of the same {group_is}, beside its "
        "other tiles, so scores there will be OPTIMISTIC; give at least 3, of different patients"
        for donor, cuts in strips.items()
        if cuts
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


def _one_slide(entries: list[LabelledEntry]) -> bool:
    """Whether pictures are tiles of one file."""
    return len({e.file for e in entries}) == 1 and all(e.place is not None for e in entries)


def _untrained(parts: Mapping[Split, list[LabelledEntry]]) -> list[str]:
    """A note on labels that are asked for and never trained on."""
    trained = {entry.label for entry in parts["train"]}
    measured = {entry.label for split in ("val", "test") for entry in parts[split]}
    untrained = sorted(measured - trained - {""})
    if not untrained or not parts["train"]:
        return []
    return [f"train has no picture of {', '.join(untrained)}"]


def _shared(parts: Mapping[Split, list[LabelledEntry]]) -> int:
    """Groups that more than one split holds."""
    splits_of: dict[str, set[Split]] = {}
    for split, entries in parts.items():
        for entry in entries:
            splits_of.setdefault(entry.group, set()).add(split)
    return sum(len(splits) > 1 for splits in splits_of.values())


def regroup(entries: list[LabelledEntry], table: Path, left: LeftOut) -> list[LabelledEntry]:
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
        keys = [n for n in (entry.key, name, name.partition(".")[0]) if n in groups]
        if not keys:
            raise QueryError(f"{table.name} does not name {name}; give every picture a group")
        if not groups[keys[0]].strip():
            raise QueryError(f"{table.name} gives {keys[0]} no {column}; fill the cell")
        used.update(keys)
        grouped.append(replace(entry, group=groups[keys[0]]))
    for name in groups:
        if name not in used:
            left.add(f"rows of {table.name} name no picture of the folder", Path(name).name)
    return grouped


def draw_entries(entries: list[LabelledEntry], most: int | None, seed: int) -> list[LabelledEntry]:
    """At most ``most`` of the pictures, drawn by ``seed``, in their order."""
    if most is None or len(entries) <= most:
        return entries
    chosen = Random(f"{seed}-most").sample(range(len(entries)), most)
    return [entries[index] for index in sorted(chosen)]
