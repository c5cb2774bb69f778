"""A folder of any known layout -> its samples, made when they are written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from tqdm import tqdm

from napari_pathreason.errors import QueryError, SlideError
from napari_pathreason.training.samples import Sample, Split

from . import sets
from .sets import BROKEN, NAMED, SLIDES, LabelledEntry, LeftOut, Options, Store, shown

MISSING = "pictures are not in the folder and were left out"
UNREADABLE = "pictures, or what belongs to them, cannot be read and were left out"
OUTSIDE = "questions were left out, for their region does not lie in the picture"
UNASKED = "boxes lie outside the region that is asked about"
COPIES = "pictures are copies of others, byte for byte, and go where those go"
ALONE = "picture"
"""What a group is where each picture is one of its own: nothing is known of what belongs together.
"""
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
class LabelSource:
    """A folder or file that was read, before its pictures are opened and dealt."""

    path: Path
    kind: sets.Kind
    pictures: sets.PictureSet

    @property
    def only(self) -> Split | None:
        """The one published split of all its pictures; None where there are several, or none."""
        published = {entry.split for entry in self.pictures.entries}
        return next(iter(published)) if len(published) == 1 else None


def plan_of(
    source: LabelSource,
    options: Options,
    store: Store,
    out: Path,
    elsewhere: Collection[Split | None],
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
    kind, pictures, left = source.kind, source.pictures, source.pictures.left
    entries, group_is = _there(pictures, kind, source.path), pictures.group_is
    used = {entry.file for entry in pictures.entries if entry.file is not None} | pictures.beside
    sets.count_unused(left, source.path, used, out)
    if options.groups is not None:
        entries, group_is = sets.regroup(entries, options.groups, left), "group"
    opened = _OpenedFiles(source.path, left)
    if options.most is None:
        entries = opened.readable(entries)
        if group_is == ALONE:
            entries = opened.copies_together(entries)
    known = _Known("" if group_is == ALONE else group_is, options.slide_mpp)
    closed = {entry.split for entry in pictures.entries} - {entry.split for entry in entries}
    closed |= set(elsewhere) if source.only else set()
    wanted = options.splits or kind.gives
    division = sets.deal(entries, options.seed, group_is, wanted, left, closed)
    notes = [*pictures.notes, *division.notes]
    samples = {}
    taken: list[tuple[Split, LabelledEntry]] = []
    for split, part in division.parts.items():
        chosen = sets.draw_entries(part, options.most, options.seed)
        if len(chosen) < len(part):
            notes.append(f"--most took {len(chosen):,} of {len(part):,} pictures of {split}")
        if options.most is not None:
            chosen = opened.readable(chosen)
        taken += [(split, entry) for entry in chosen]
        samples[split] = _ask_all(chosen, split, options.seed, store, opened, known)
    notes += opened.notes_on_copies(taken)
    total = sum(len(part) for part in division.parts.values())
    return ConversionPlan(kind.name, samples, left, kind.gives, total, tuple(notes), division.short)


def _there(pictures: sets.PictureSet, kind: sets.Kind, source: Path) -> list[LabelledEntry]:
    """Pictures whose files are there; the others are counted.

    Raises
    ------
    QueryError
        If none is there; says what such a folder holds.
    """
    entries = []
    for entry in pictures.entries:
        if entry.file is None or entry.file.exists():
            entries.append(entry)
        else:
            pictures.left.add(MISSING, shown(entry.file, source))
    if not entries:
        lost = bool(pictures.entries)
        what = f"{pictures.entries[0].key} nor any other picture" if lost else "no picture"
        why = f" ({'; '.join(pictures.left.notes())})" if pictures.left.notes() and not lost else ""
        raise QueryError(
            f"{source.name} holds {'neither ' * lost}{what} of {kind.name}{why}; "
            f"a folder of it looks so: {kind.layout}"
        )
    return entries


class _OpenedFiles:
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
        self._opened: dict[Path, sets.Opened] = {}
        self.left = left

    def readable(self, entries: list[LabelledEntry]) -> list[LabelledEntry]:
        """Those whose files can be read; others are counted by file.

        Raises
        ------
        QueryError
            If too many cannot.
        """
        files = dict.fromkeys(entry.file for entry in entries if entry.file is not None)
        self._opened |= sets.open_all([path for path in files if path not in self._opened])
        broken = LeftOut()  # of these alone: a converter may have counted slides
        for path in files:
            if self._opened[path].size is None:
                why = self._opened[path].why
                name = shown(path, self._source) + f": {why}" * bool(why)
                broken.add(BROKEN, name)
                self.left.add(BROKEN, name)
        broken.refuse_damaged(BROKEN, len(files), "copy the folder again")
        return [e for e in entries if e.file is None or self._opened[e.file].size is not None]

    def copies_together(self, entries: list[LabelledEntry]) -> list[LabelledEntry]:
        """Pictures of which each was a group of its own, those of the same bytes as one group."""
        first: dict[bytes, str] = {}
        together = []
        for entry in entries:
            digest = self._digest(entry)
            group = first.setdefault(digest, entry.group) if digest else entry.group
            if group != entry.group:
                self.left.add(COPIES, self.name(entry))
            together.append(replace(entry, group=group))
        return together

    def notes_on_copies(self, taken: list[tuple[Split, LabelledEntry]]) -> Iterator[str]:
        """What to know of pictures that are there under several names, byte for byte."""
        copies: dict[bytes, list[tuple[Split, LabelledEntry]]] = defaultdict(list)
        for split, entry in taken:
            if digest := self._digest(entry):
                copies[digest].append((split, entry))
        across, labels = [], []
        for same in copies.values():
            by_split = {split: self.name(entry) for split, entry in reversed(same)}
            by_label = {e.label: self.name(e) for _, e in reversed(same) if e.label}
            if len({entry.file for _, entry in same}) > 1:
                across += [" = ".join(by_split.values())] * (len(by_split) > 1)
                labels += [" = ".join(by_label.values())] * (len(by_label) > 1)
        for found, what, remedy in (
            (across, "lie in more than one split", "scores will be optimistic; remove copies"),
            (labels, "have several labels", "keep the right one"),
        ):
            if found:
                first = ", ".join([*found[:NAMED], *["..."] * (len(found) > NAMED)])
                yield f"{len(found):,} pictures {what} under other names ({first}): {remedy}"

    def _digest(self, entry: LabelledEntry) -> bytes:
        """Of the bytes of a whole flat picture; empty of anything else."""
        if entry.file is None or entry.place is not None:
            return b""
        return self._opened[entry.file].digest

    def size(self, file: Path | None) -> sets.Size | None:
        """Size of a file that was opened; None of what lies in an archive."""
        return None if file is None else self._opened[file].size

    def name(self, entry: LabelledEntry) -> str:
        """A picture as messages call it."""
        return entry.named or (shown(entry.file, self._source) if entry.file else entry.key)


@dataclass(frozen=True, slots=True)
class _Known:
    """What all samples of a source say of their pictures.

    ``group_is`` is empty where groups are single pictures; ``slide_mpp`` is um per level-0 pixel of
    slides that do not state it.
    """

    group_is: str
    slide_mpp: float | None

    def of(self, entry: LabelledEntry) -> dict[str, Any]:
        """Fields of the samples of a picture."""
        fields: dict[str, Any] = {"group": entry.group} if self.group_is else {}
        if (
            self.slide_mpp is not None
            and entry.file is not None
            and entry.file.suffix.lower() in SLIDES
        ):
            fields["mpp"] = self.slide_mpp
        return fields


def _ask_all(
    entries: list[LabelledEntry],
    split: Split,
    seed: int,
    store: Store,
    opened: _OpenedFiles,
    known: _Known,
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
            draw = sets.Draw(split, Random(f"{seed}-{entry.key}"), store)
            samples = list(entry.ask(draw))
        except (OSError, SyntaxError, ValueError, SlideError):  # a mask, boxes, bytes of an archive
            opened.left.add(UNREADABLE, opened.name(entry))
            continue
        fields = known.of(entry)
        for sample in samples:
            sets.refuse_alike_choices(opened.name(entry), sample.choices)
            size = opened.size(entry.file)
            if size is None or _inside(sample, size, opened, entry):
                yield sample.model_copy(update=fields) if fields else sample


def _inside(sample: Sample, size: sets.Size, opened: _OpenedFiles, entry: LabelledEntry) -> bool:
    """Whether the region lies in the picture; counts it if not, and boxes that do not."""
    width, height = size
    x, y, w, h = sample.region or (0, 0, width, height)
    if x < 0 or y < 0 or x + w > width or y + h > height:
        opened.left.add(OUTSIDE, opened.name(entry))
        return False
    for x1, y1, x2, y2 in (box.corners for box in sample.boxes):
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
            opened.left.add(BEYOND, opened.name(entry))
        elif x2 <= x or y2 <= y or x1 >= x + w or y1 >= y + h:
            opened.left.add(UNASKED, opened.name(entry))
    return True
