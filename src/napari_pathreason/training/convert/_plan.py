"""A folder of any known layout -> its samples, made when they are written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tqdm import tqdm

from napari_pathreason.errors import QueryError, SlideError
from napari_pathreason.training.samples import Sample, Split

from .sets import (
    BROKEN,
    Entry,
    Found,
    Kind,
    LeftOut,
    Options,
    Size,
    Store,
    count_unused,
    deal,
    draw,
    refuse_alike_choices,
    refuse_damaged,
    regroup,
    shown,
    sizes_of,
)

MISSING = "pictures are not in the folder and were left out"
UNREADABLE = "pictures, or what belongs to them, cannot be read and were left out"
OUTSIDE = "questions were left out, for their region does not lie in the picture"
UNASKED = "boxes lie outside the region that is asked about"
BEYOND = "boxes reach beyond their pictures: boxes must be in pixels of these files"


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


def read_source(path: Path, kind: Kind, options: Options) -> Source:
    """Read what a source says of its pictures.

    Raises
    ------
    QueryError
        If it is incomplete.
    """
    return Source(path, kind, kind.read(path, options))


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
    checked = _Checked(source.path, left)
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
        samples[split] = _ask_all(drawn, split, options.seed, store, checked)
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


class _Checked:
    """Files of a source that were opened, and their sizes.

    Parameters
    ----------
    source : Path
        Folder or file, for names in messages.
    left : LeftOut
        Counts what is left out.
    """

    def __init__(self, source: Path, left: LeftOut) -> None:
        self._source = source
        self._sizes: dict[Path, Size | None] = {}
        self.left = left

    def readable(self, entries: list[Entry]) -> list[Entry]:
        """Those whose files can be read; others are counted by file.

        Raises
        ------
        QueryError
            If too many cannot.
        """
        files = dict.fromkeys(entry.file for entry in entries if entry.file is not None)
        self._sizes |= sizes_of([path for path in files if path not in self._sizes])
        broken = LeftOut()  # of these alone: a converter may have counted slides
        for path in files:
            if self._sizes[path] is None:
                broken.add(BROKEN, shown(path, self._source))
                self.left.add(BROKEN, shown(path, self._source))
        refuse_damaged(broken, BROKEN, len(files), "copy the folder again")
        return [e for e in entries if e.file is None or self._sizes[e.file] is not None]

    def size(self, file: Path | None) -> Size | None:
        """Size of a file that was opened; None of what lies in an archive."""
        return None if file is None else self._sizes[file]

    def name(self, entry: Entry) -> str:
        """A picture as messages call it."""
        return entry.named or (shown(entry.file, self._source) if entry.file else entry.key)


def _ask_all(
    entries: list[Entry], split: Split, seed: int, store: Store, checked: _Checked
) -> Iterator[Sample]:
    """Questions of all pictures that can be used.

    Raises
    ------
    QueryError
        If two choices of a question are one after case and blanks.
    """
    for entry in tqdm(entries, split, unit="picture", mininterval=1, disable=len(entries) < 1000):
        # an own draw for each picture: fewer pictures leave the questions of the rest as they are
        try:
            samples = list(entry.ask(split, Random(f"{seed}-{entry.key}"), store))
        except (OSError, SyntaxError, ValueError, SlideError):  # a mask, boxes, bytes of an archive
            checked.left.add(UNREADABLE, checked.name(entry))
            continue
        for sample in samples:
            refuse_alike_choices(checked.name(entry), sample.choices)
            size = checked.size(entry.file)
            if size is None or _inside(sample, size, checked, entry):
                yield sample


def _inside(sample: Sample, size: Size, checked: _Checked, entry: Entry) -> bool:
    """Whether the region lies in the picture; counts it if not, and boxes that do not."""
    width, height = size
    x, y, w, h = sample.region or (0, 0, width, height)
    if x < 0 or y < 0 or x + w > width or y + h > height:
        checked.left.add(OUTSIDE, checked.name(entry))
        return False
    for x1, y1, x2, y2 in (box.corners for box in sample.boxes):
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
            checked.left.add(BEYOND, checked.name(entry))
        elif x2 <= x or y2 <= y or x1 >= x + w or y1 >= y + h:
            checked.left.add(UNASKED, checked.name(entry))
    return True
