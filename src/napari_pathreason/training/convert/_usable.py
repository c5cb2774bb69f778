"""Which pictures and questions can be used; what cannot is left out and counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from tqdm import tqdm

from napari_pathreason.errors import SlideError
from napari_pathreason.training.samples import CROP, Sample, Split

from .sets import (
    BROKEN,
    Entry,
    LeftOut,
    Size,
    Store,
    refuse_alike_choices,
    refuse_damaged,
    shown,
    sizes_of,
)

UNREADABLE = "pictures, or what belongs to them, cannot be read and were left out"
OUTSIDE = "questions were left out, for their region does not lie in the picture"
UNASKED = "boxes lie outside the region that is asked about"
BEYOND = "boxes reach beyond their pictures: boxes must be in pixels of these files"


class Checked:
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


def ask_all(
    entries: list[Entry], split: Split, seed: int, store: Store, checked: Checked
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


def without_broken(samples: Iterable[Sample], broken: set[str], left: LeftOut) -> Iterator[Sample]:
    """Samples that show none of the broken files; others are counted."""
    for sample in samples:
        refuse_alike_choices(sample.topic, sample.choices)
        if broken and any(file.partition(CROP)[0] in broken for file in _files(sample)):
            left.add("questions show a picture that cannot be read and were left out")
        else:
            yield sample


def _files(sample: Sample) -> Iterator[str]:
    if isinstance(sample.image, str):
        yield sample.image
    else:
        yield from (name for row in sample.image for name in row)


def _inside(sample: Sample, size: Size, checked: Checked, entry: Entry) -> bool:
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
