"""A folder of any known layout -> its samples, made when they are written."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import SPLITS, Sample, Split

from ._mini import KNOWN, looks_mini, made_for, mini_files, read_mini
from ._usable import Checked, ask_all, without_broken
from .sets import (
    BROKEN,
    FALLBACKS,
    SETS,
    Entry,
    Found,
    Kind,
    LeftOut,
    Options,
    Store,
    count_unused,
    deal,
    draw,
    refuse_damaged,
    regroup,
    shown,
    sizes_of,
)

MINI = "mini"
KINDS = {kind.name: kind.layout for kind in (*SETS, *FALLBACKS)} | {MINI: "/, ".join(KNOWN) + "/"}
"""Names for ``--kind``, and what lies in such a folder."""
MISSING = "pictures are not in the folder and were left out"


@dataclass(frozen=True, slots=True)
class ConversionPlan:
    """Samples of one source.

    Parameters
    ----------
    kind : str
    samples : mapping of split to iterable of Sample
        Made when they are asked for, once.
    left : LeftOut
        Counts what is left out, until the samples are made.
    gives : tuple of {"train", "val", "test"}
        Splits that the kind is made for.
    total : int
        Pictures.
    notes : tuple of str
    short : str
        Why a split has nothing, if that is for want of groups.
    """

    kind: str
    samples: Mapping[Split, Iterable[Sample]]
    left: LeftOut
    gives: tuple[Split, ...]
    total: int
    notes: tuple[str, ...] = ()
    short: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A folder or file that was read, before its pictures are opened and dealt."""

    path: Path
    kind: Kind
    found: Found

    @property
    def only(self) -> Split | None:
        """The one published split of all its pictures; None where there are several, or none."""
        published = {entry.split for entry in self.found.entries}
        return next(iter(published)) if len(published) == 1 else None


def kind_of(path: Path, kind: str) -> str:
    """Name of the kind of a source: the given one, else what it looks like.

    Raises
    ------
    QueryError
        If the source is not there, or the kind is unknown or not to be told.
    """
    if not path.exists():
        raise QueryError(f"{path.name} is not there; check the name and the folder")
    kind = kind or find_kind(path)
    if kind not in KINDS:
        raise QueryError(f"there is no kind {kind}; take one of {', '.join(KINDS)}")
    return kind


def find_kind(source: Path) -> str:
    """Name of the kind that a folder or file looks like.

    Raises
    ------
    QueryError
        If it looks like none, or like several.
    """
    if looks_mini(source):
        return MINI
    fits = [kind.name for kind in SETS if kind.looks(source)]
    fits = fits or [kind.name for kind in FALLBACKS if kind.looks(source)][:1]
    if len(fits) > 1:
        raise QueryError(f"{source.name} could be {' or '.join(fits)}; say which with --kind")
    if not fits:
        raise QueryError(
            f"{source.name} has no layout that is known ({', '.join(KINDS)}); run `pathreason data "
            "list`, or name pictures in a labels.csv (columns image, label)"
        )
    return fits[0]


def read_source(path: Path, kind: str, options: Options) -> Source:
    """Read what a source says of its pictures.

    Raises
    ------
    QueryError
        If it is not what the kind reads, or is incomplete.
    """
    if options.times > 1:
        raise QueryError("only the embedded model's own sets are drawn again; leave --times out")
    chosen = next(one for one in (*SETS, *FALLBACKS) if one.name == kind)
    if path.is_file() and not chosen.looks(path):
        raise QueryError(f"{path.name} is not what {kind} reads: {chosen.layout}")
    return Source(path, chosen, chosen.read(path, options))


def plan_of(
    source: Source, options: Options, store: Store, out: Path, elsewhere: Collection[Split | None]
) -> ConversionPlan:
    """Open the pictures of a source, deal them, and get ready to ask.

    Parameters
    ----------
    source : Source
    options : Options
    store : Store
    out : Path
        Where the samples go.
    elsewhere : collection of {"train", "val", "test"}
        Splits that are sources of their own: nothing is taken out of train for them where this
        source is one split as well.

    Raises
    ------
    QueryError
        If no picture is there, or too many cannot be read.
    """
    found, left, wanted = source.found, source.found.left, options.splits or source.kind.gives
    entries, group_is = _there(found, source.kind, source.path), found.group_is
    used = {entry.file for entry in found.entries if entry.file is not None} | found.beside
    count_unused(left, source.path, used, out)
    if options.groups is not None:
        entries, group_is = regroup(entries, options.groups, left), "group"
    checked = Checked(source.path, left)
    if options.most is None:
        entries = checked.readable(entries)
    kept = {entry.split for entry in found.entries} - {entry.split for entry in entries}
    kept |= set(elsewhere) if source.only else set()
    dealt = deal(entries, options.seed, group_is, wanted, left, kept)
    notes = [*found.notes, *dealt.notes]
    samples = {}
    for split, part in dealt.parts.items():
        drawn = draw(part, options.most, options.seed)
        if len(drawn) < len(part):
            notes.append(f"--most took {len(drawn):,} of {len(part):,} pictures of {split}")
        if options.most is not None:
            drawn = checked.readable(drawn)
        samples[split] = ask_all(drawn, split, options.seed, store, checked)
    total = sum(len(part) for part in dealt.parts.values())
    kind = source.kind
    return ConversionPlan(kind.name, samples, left, kind.gives, total, tuple(notes), dealt.short)


def _there(found: Found, kind: Kind, source: Path) -> list[Entry]:
    """Pictures whose files are there; the others are counted.

    Raises
    ------
    QueryError
        If none is there; says how such a folder looks.
    """
    entries = []
    for entry in found.entries:
        if entry.file is None or entry.file.exists():
            entries.append(entry)
        else:
            found.left.add(MISSING, shown(entry.file, source))
    if not entries:
        lost = bool(found.entries)
        what = f"{found.entries[0].key} nor any other picture" if lost else "no picture"
        why = f" ({'; '.join(found.left.notes())})" if found.left.notes() and not lost else ""
        raise QueryError(
            f"{source.name} holds {'neither ' * lost}{what} of {kind.name}{why}; "
            f"a folder of it looks so: {kind.layout}"
        )
    return entries


def plan_of_mini(source: Path, options: Options, out: Path) -> ConversionPlan:
    """The embedded model's own sets, their pictures opened.

    Raises
    ------
    QueryError
        If none is there, a row or a file of theirs is amiss, or options do not fit them.
    """
    if not looks_mini(source):
        raise QueryError(f"{source.name} holds none of {', '.join(KNOWN)}, each with its table")
    if options.most or options.groups or options.question:
        raise QueryError(
            "the embedded model's own sets are converted as they are; leave --most, --groups "
            "and --question out"
        )
    left = LeftOut()
    pictures, beside = mini_files(source)
    here = {Path(os.path.normpath(path)) for path in (*pictures, *beside)}
    count_unused(left, source, here, out)
    broken = {str(path) for path, size in sizes_of(pictures).items() if size is None}
    for name in sorted(broken):
        left.add(BROKEN, shown(Path(name), source))
    refuse_damaged(left, BROKEN, len(pictures), "copy the folder again")
    samples = {
        split: without_broken(read_mini(source, split, options.seed, options.times), broken, left)
        for split in SPLITS
    }
    return ConversionPlan(MINI, samples, left, made_for(source), len(pictures))
