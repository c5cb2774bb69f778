"""Which picture goes to which split: as published, else dealt by what belongs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

from napari_pathreason._errors import QueryError
from napari_pathreason.training.convert._tables import read_table
from napari_pathreason.training.samples._sample import SPLITS, Split

from ._entry import Entry

HELD_OUT = 0.1
"""Share of the groups that goes to each of ``val`` and ``test`` where nothing is published."""

COLUMNS = ("group", "patient", "slide", "source_tile")
"""Columns of a table that say what belongs together, the first one that is there."""


def deal(
    entries: list[Entry], seed: int, group_is: str
) -> tuple[dict[Split, list[Entry]], tuple[str, ...]]:
    """Put every picture into one split, whole groups together.

    A published split is kept. Where it has no ``val``, a tenth of the groups of ``train`` that
    ``test`` does not know becomes it.

    Returns
    -------
    tuple
        (pictures of each split in their order, notes for the user).
    """
    notes = []
    told: dict[str, Split] = {e.group: e.split for e in entries if e.split is not None}
    open_ = {entry.group for entry in entries if entry.split is None} - told.keys()
    dealt = _draw(sorted(open_), seed, (("test", 2), ("val", 1))) | told
    splits: list[Split] = [entry.split or dealt[entry.group] for entry in entries]
    if open_ and len(open_) < 3:
        notes.append(
            f"only {len(open_)} {group_is}{'s' * (len(open_) > 1)}: nothing was held out for "
            "val and test"
        )
    if open_ and group_is == "picture":
        notes.append(
            "dealt picture by picture: those of one patient or slide may lie on both sides; "
            "say what belongs together with --groups CSV (image, group)"
        )
    if "val" not in splits and not open_:
        pairs = list(zip(entries, splits, strict=True))
        tested = {entry.group for entry, own in pairs if own == "test"}
        trained = {entry.group for entry, own in pairs if own == "train"}
        carved = _draw(sorted(trained - tested), seed, (("val", 1),))
        splits = [
            carved.get(entry.group, own) if own == "train" else own
            for entry, own in zip(entries, splits, strict=True)
        ]
        if "val" in splits:
            notes.append(f"no val was published: a tenth of train became it, by {group_is}")
    parts: dict[Split, list[Entry]] = {split: [] for split in SPLITS}
    for entry, split in zip(entries, splits, strict=True):
        parts[split].append(entry)
    if shared := _shared(parts):
        notes.append(
            f"{shared:,} {group_is}{'s lie' if shared > 1 else ' lies'} in more than one published "
            "split, which was kept: scores will be optimistic"
        )
    return parts, tuple(notes)


def _draw(groups: list[str], seed: int, parts: tuple[tuple[Split, int], ...]) -> dict[str, Split]:
    """A tenth of the groups, at least one, for each of ``parts`` (with the fewest others left)."""
    order = Random(f"{seed}-splits").sample(groups, len(groups))
    share = max(1, round(HELD_OUT * len(order)))
    splits: dict[str, Split] = {}
    for split, others in parts:
        if len(order) > others:
            splits |= dict.fromkeys(order[:share], split)
            order = order[share:]
    return splits | dict.fromkeys(order, "train")


def _shared(parts: Mapping[Split, list[Entry]]) -> int:
    """Groups that more than one split holds."""
    seen: dict[str, set[Split]] = {}
    for split, entries in parts.items():
        for entry in entries:
            seen.setdefault(entry.group, set()).add(split)
    return sum(len(splits) > 1 for splits in seen.values())


def regroup(entries: list[Entry], table: Path) -> list[Entry]:
    """Pictures with the groups that a CSV gives them, by key or by file name.

    Raises
    ------
    QueryError
        If a column is missing, a name stands for several groups, or a picture is not in the table.
    """
    rows = read_table(table)
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
    for entry in entries:
        name = entry.file.name if entry.file else entry.key.rpartition("/")[2]
        known = [groups[n] for n in (entry.key, name, name.partition(".")[0]) if n in groups]
        if not known:
            raise QueryError(f"{table.name} does not name {name}; give every picture a group")
        grouped.append(replace(entry, group=known[0]))
    return grouped


def draw(entries: list[Entry], most: int | None, seed: int) -> list[Entry]:
    """At most ``most`` of the pictures, drawn by ``seed``, in their order."""
    if most is None or len(entries) <= most:
        return entries
    chosen = Random(f"{seed}-most").sample(range(len(entries)), most)
    return [entries[index] for index in sorted(chosen)]
