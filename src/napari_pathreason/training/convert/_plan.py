"""A folder of any known layout -> its samples, made when they are written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tqdm import tqdm

from napari_pathreason.errors import QueryError, SlideError
from napari_pathreason.training.samples import Sample, Split

from . import sets
from .sets import BROKEN, SLIDES, LabelledEntry, LeftOut, Options, Store, shown

MISSING = "pictures are not in the folder and were left out"
UNREADABLE = "pictures, or what belongs to them, cannot be read and were left out"
OUTSIDE = "questions were left out, for their region does not lie in the picture"
UNASKED = "boxes lie outside the region that is asked about"
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
    known = _Known("" if group_is == ALONE else group_is, options.slide_mpp)
    closed = {entry.split for entry in pictures.entries} - {entry.split for entry in entries}
    closed |= set(elsewhere) if source.only else set()
    wanted = options.splits or kind.gives
    division = sets.deal(entries, options.seed, group_is, wanted, left, closed)
    notes = [*pictures.notes, *division.notes]
    samples = {}
    for split, part in division.parts.items():
        chosen = sets.draw_entries(part, options.most, options.seed)
        if len(chosen) < len(part):
            notes.append(f"--most took {len(chosen):,} of {len(part):,} pictures of {split}")
        if options.most is not None:
            chosen = opened.readable(chosen)
        samples[split] = _ask_all(chosen, split, options.seed, store, opened, known)
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
        self._sizes: dict[Path, sets.Size | None] = {}
        self.left = left

    def readable(self, entries: list[LabelledEntry]) -> list[LabelledEntry]:
        """Those whose files can be read; others are counted by file.

        Raises
        ------
        QueryError
            If too many cannot.
        """
        files = dict.fromkeys(entry.file for entry in entries if entry.file is not None)
        self._sizes |= sets.sizes_of([path for path in files if path not in self._sizes])
        broken = LeftOut()  # of these alone: a converter may have counted slides
        for path in files:
            if self._sizes[path] is None:
                broken.add(BROKEN, shown(path, self._source))
                self.left.add(BROKEN, shown(path, self._source))
        broken.refuse_damaged(BROKEN, len(files), "copy the folder again")
        return [e for e in entries if e.file is None or self._sizes[e.file] is not None]

    def size(self, file: Path | None) -> sets.Size | None:
        """Size of a file that was opened; None of what lies in an archive."""
        return None if file is None else self._sizes[file]

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
