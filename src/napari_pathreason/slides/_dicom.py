"""The headers of DICOM slides, walked before OpenSlide builds on them.

OpenSlide reads the pixels. But it opens every file that lies beside one, shows what it is told to,
and ends the process where the places of tiles are missing or a tile is larger than memory. Hence
this walk, which reads no pixels (PS3.5 chapter 7, PS3.3 C.8.12.4 and C.7.6.17).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from napari_pathreason.errors import SlideError

from . import _limits as limits

Tag = int
"""Group and element of an element, 16 bits each."""

MICROSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""VL Whole Slide Microscopy Image Storage."""
IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
SOP_CLASS, SYNTAX, IMAGE_TYPE = 0x0002_0002, 0x0002_0010, 0x0008_0008
INSTANCE, SERIES = 0x0008_0018, 0x0020_000E
CONCATENATION, NUMBER, TOTAL = 0x0020_9161, 0x0020_9162, 0x0020_9163
ORGANISATION, SAMPLES, FRAMES, BITS = 0x0020_9311, 0x0028_0002, 0x0028_0008, 0x0028_0100
ROWS, COLUMNS, WIDTH, HEIGHT = 0x0028_0010, 0x0028_0011, 0x0048_0006, 0x0048_0007
PATHS, PLANES = 0x0048_0302, 0x0048_0303
POSITION, ACROSS, DOWN = 0x0048_021A, 0x0048_021E, 0x0048_021F
PER_FRAME, PIXELS = 0x5200_9230, 0x7FE0_0010
ITEM, ITEM_END, SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
TEXTS = {SOP_CLASS, SYNTAX, IMAGE_TYPE, INSTANCE, SERIES, CONCATENATION, ORGANISATION, FRAMES}
NUMBERS = {NUMBER, TOTAL, SAMPLES, BITS, ROWS, COLUMNS, WIDTH, HEIGHT, PATHS, PLANES, ACROSS, DOWN}
LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
"""Types of values whose length takes four bytes, after two that are empty."""
UNDEFINED = 0xFFFF_FFFF
"""Length of a sequence or item that ends with a mark."""
EXPORT = "export it as tiled DICOM with JPEG or JPEG 2000"
DEPTH = 16
"""Sequences in one another; those of slides are six deep."""
BLOCK = 2**20
TEXT = 1_024
"""Bytes of a text that is kept."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What the header of a file of a DICOM slide says.

    Parameters
    ----------
    path : Path
    texts : dict
        By tag; empty where there is none.
    numbers : dict
        By tag; 0 where there is none.
    places : tuple of (int, int), optional
        Column and row, from 1 on, of the upper left pixel of each frame; (0, 0) where one has
        none. None where frames are described by their order alone.
    has_pixels : bool
    cut : int
        Frames that should lie beyond its end.
    """

    path: Path
    texts: dict[Tag, str]
    numbers: dict[Tag, int]
    places: tuple[tuple[int, int], ...] | None
    has_pixels: bool
    cut: int

    @property
    def kind(self) -> str:
        """VOLUME, LABEL, OVERVIEW or THUMBNAIL."""
        values = self.texts[IMAGE_TYPE].split("\\")
        return values[2].strip() if len(values) > 2 else ""

    @property
    def frames(self) -> int:
        """Frames that it holds."""
        text = self.texts[FRAMES].split("\\")[0].strip()
        return int(text) if text.isdecimal() else 1

    @property
    def tiles(self) -> tuple[int, int]:
        """Across and down."""
        sides = (WIDTH, COLUMNS), (HEIGHT, ROWS)
        across, down = (
            -(-self.numbers[whole] // max(1, self.numbers[side])) for whole, side in sides
        )
        return across, down

    @property
    def is_sparse(self) -> bool:
        """Whether each frame states its place; else they are in order."""
        organisation = self.texts[ORGANISATION]
        return organisation != "TILED_FULL" and (bool(organisation) or self.places is not None)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def dicom_slide(path: Path) -> tuple[Path, tuple[str, ...]] | None:
    """The DICOM slide that a file or a folder is of, checked; None where there is no DICOM.

    Returns
    -------
    (Path, tuple of str)
        A file that OpenSlide may open, with those of its series beside it, and what a reader of
        results must know.

    Raises
    ------
    SlideError
        If it is no slide, several ones, or cannot be read right.
    """
    if not path.is_dir() and not is_dicom(path):
        return None
    files = _dicom_in(path if path.is_dir() else path.parent)
    if not files:
        return None
    found = [one for file in files if (one := read_instance(file)) is not None]
    if not path.is_dir():
        own = next((one for one in found if one.path.name == path.name), None)
        if own is None:
            raise SlideError(f"{path.name} is DICOM that is cut off or damaged; copy it again")
        _check_class([own], path.name)
        series = own.texts[SERIES]
        return path, check_slide([one for one in found if one.texts[SERIES] == series], path.name)
    if not found:
        raise SlideError(f"the DICOM files of {path.name} are cut off or damaged; copy them again")
    _check_class(found, path.name)
    slides = {
        one.texts[SERIES] or one.path.name: one
        for one in reversed(found)
        if one.kind == "VOLUME" and one.texts[SOP_CLASS] == MICROSCOPY
    }
    if len(slides) > 1:
        names = ", ".join(sorted(one.path.name for one in slides.values())[:3])
        raise SlideError(f"{path.name} holds {len(slides)} slides; give a file of one: {names}")
    series = next(iter(slides), found[0].texts[SERIES])
    parts = [one for one in found if series in (one.texts[SERIES], one.path.name)]
    notes = check_slide(parts, path.name)
    return next(iter(slides.values()), found[0]).path, notes


def _dicom_in(folder: Path) -> list[Path]:
    files = [
        file for file, _ in zip(sorted(folder.iterdir()), range(limits.DICOM_FILES), strict=False)
    ]
    return [file for file in files if file.is_file() and is_dicom(file)]


def _check_class(found: Sequence[Instance], name: str) -> None:
    """Refuse DICOM of which no file is a whole-slide image."""
    if any(one.texts[SOP_CLASS] == MICROSCOPY for one in found):
        return
    if any(one.has_pixels for one in found):
        raise SlideError(
            f"{name} is DICOM, but no whole-slide image (VL Whole Slide Microscopy); {EXPORT}"
        )
    raise SlideError(f"{name} is DICOM without pixel data; give the files that hold the pictures")


def read_instance(path: Path) -> Instance | None:
    """Header of a DICOM file; None where it is cut off or of no order that is known."""
    try:
        with path.open("rb") as file:
            return _Walk(file, path).instance()
    except (EOFError, struct.error, ValueError, RecursionError):
        return None


def check_slide(parts: Sequence[Instance], name: str) -> tuple[str, ...]:
    """Refuse what OpenSlide must not be given, and say what it leaves out.

    Parameters
    ----------
    parts : sequence of Instance
        All of one series that lie in a folder.
    name : str
        Of the file or folder, for errors.

    Returns
    -------
    tuple of str
        What a reader of results must know.

    Raises
    ------
    SlideError
        If there is no picture of the tissue, or it cannot be read right.
    """
    slides = [one for one in parts if one.texts[SOP_CLASS] == MICROSCOPY]
    volumes = [one for one in slides if one.kind == "VOLUME"]
    if not volumes:
        kinds = " and ".join(sorted({one.kind.lower() for one in slides if one.kind}))
        raise SlideError(
            f"{name} is only the {kinds or 'description'} of a slide; put the other files of the "
            "slide beside it"
        )
    for one in volumes:
        _check_instance(one, name)
    notes: list[str] = []
    for level in _levels(volumes):
        _check_parts(level, name)
        notes += _notes(level)
    return tuple(dict.fromkeys(notes))


def _levels(volumes: Sequence[Instance]) -> Iterator[list[Instance]]:
    """Files of the same size, the largest first."""
    sizes = {(one.numbers[WIDTH], one.numbers[HEIGHT]) for one in volumes}
    for size in sorted(sizes, reverse=True):
        yield [one for one in volumes if (one.numbers[WIDTH], one.numbers[HEIGHT]) == size]


def _check_instance(one: Instance, name: str) -> None:
    if not one.has_pixels:
        raise SlideError(f"{one.path.name} ends before its pixels; copy it again")
    numbers = one.numbers
    sides = [numbers[tag] for tag in (WIDTH, HEIGHT, COLUMNS, ROWS)]
    if min(sides) < 1 or max(sides) > limits.SIDE or one.tiles[0] * one.tiles[1] > limits.TABLE:
        raise SlideError(
            f"{name} states {sides[0]:,} x {sides[1]:,} px in tiles of {sides[2]:,} x {sides[3]:,} "
            "px, no slide; copy it again"
        )
    if 4 * sides[2] * sides[3] > limits.TILE_BYTES:
        raise SlideError(
            f"a tile of {name} has {sides[2]:,} x {sides[3]:,} px, more than memory should hold; "
            "export it in smaller tiles"
        )
    if numbers[SAMPLES] != 3 or numbers[BITS] != 8:
        raise SlideError(
            f"{name} holds {numbers[SAMPLES]} channels of {numbers[BITS]} bits, which are "
            "read from no DICOM; convert it to OME-TIFF or OME-Zarr"
        )
    if numbers[PLANES] > 1:
        raise SlideError(f"{name} holds {numbers[PLANES]} focal planes; export one of them")
    if one.is_sparse:
        _check_places(one, name)


def _check_places(one: Instance, name: str) -> None:
    """Places that frames state, without which none can be found."""
    places = one.places or ()
    if len(places) != one.frames or (0, 0) in places:
        raise SlideError(
            f"{name} does not say where each of its {one.frames:,} tiles lies; export it again"
        )
    steps = one.numbers[COLUMNS], one.numbers[ROWS]
    if any((x - 1) % steps[0] or (y - 1) % steps[1] for x, y in places):
        raise SlideError(f"the tiles of {name} lie on no grid; export it as a tiled slide")
    twice = sum(count > 1 for count in Counter(places).values())
    if twice:
        raise SlideError(
            f"{name} holds several tiles in {twice:,} places, as of focal planes or channels; "
            "export one of them"
        )


def _check_parts(level: Sequence[Instance], name: str) -> None:
    """Files of one size: one picture, in one file or in all of a concatenation."""
    pictures = {one.texts[CONCATENATION] or one.texts[INSTANCE] for one in level}
    if len(pictures) > 1:
        raise SlideError(
            f"{name} belongs to {len(pictures)} pictures of the same size; put one of them "
            "in a folder of its own"
        )
    if not level[0].texts[CONCATENATION]:
        return
    total = max(one.numbers[TOTAL] for one in level)
    missing = sorted({*range(1, total + 1)} - {one.numbers[NUMBER] for one in level})
    if missing:
        numbers = ", ".join(map(str, missing[:8]))
        raise SlideError(
            f"{name} is one picture in {total} files, of which number {numbers} is missing; put "
            "them all in one folder"
        )


def _notes(level: Sequence[Instance]) -> Iterator[str]:
    first = level[0]
    paths = max(1, first.numbers[PATHS])
    if paths > 1:
        yield f"of {paths} optical paths (channels, kinds of light) the first was read"
    across, down = first.tiles
    missing = sum(one.cut for one in level)
    if not any(one.is_sparse for one in level):
        missing += max(0, across * down - sum(one.frames for one in level))
    if missing:
        yield f"{missing:,} of {across * down:,} tiles are missing"


class _Walk:
    """One walk through a file, element by element, up to its pixels."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._block, self._start = b"", 0
        self._explicit = True
        self._places: list[tuple[int, int]] | None = None
        self._has_pixels, self._cut = False, 0

    def instance(self) -> Instance:
        """What the file says.

        Raises
        ------
        EOFError, ValueError, struct.error
            If it ends early, or nothing is known of its order.
        """
        values: dict[Tag, bytes] = {}
        end = self._path.stat().st_size
        after = self._dataset(132, end, values, 0, only=0x0002)
        syntax = _text(values.get(SYNTAX, b""))
        if syntax == BIG_ENDIAN:
            raise ValueError("big endian")
        self._explicit = syntax != IMPLICIT
        self._dataset(after, end, values, 0)
        texts = {tag: _text(values.get(tag, b"")) for tag in TEXTS}
        numbers = {tag: _number(values.get(tag, b"")) for tag in NUMBERS}
        places = None if self._places is None else tuple(self._places)
        return Instance(self._path, texts, numbers, places, self._has_pixels, self._cut)

    def _take(self, at: int, count: int) -> bytes:
        begin = at - self._start
        if begin < 0 or begin + count > len(self._block):
            self._file.seek(at)
            self._block, self._start = self._file.read(max(BLOCK, count)), at
            begin = 0
        data = self._block[begin : begin + count]
        if len(data) < count:
            raise EOFError
        return data

    def _head(self, at: int, explicit: bool) -> tuple[Tag, bytes, int, int]:
        """Tag, type, place and length of the value of an element."""
        group, element, short = struct.unpack("<HHI", self._take(at, 8))
        tag = group << 16 | element
        if group == 0xFFFE or not explicit:
            return tag, b"", at + 8, short
        kind = self._take(at + 4, 2)
        if kind in LONG:
            return tag, kind, at + 12, struct.unpack("<I", self._take(at + 8, 4))[0]
        return tag, kind, at + 8, struct.unpack("<H", self._take(at + 6, 2))[0]

    def _dataset(
        self, at: int, end: int | None, values: dict[Tag, bytes], depth: int, only: int = 0
    ) -> int:
        """Keep what is looked for, and give where the elements end.

        ``only`` is the group after which to stop, that of the file itself.
        """
        if depth > DEPTH:
            raise ValueError("nested too deeply")
        while end is None or at < end:
            if only and struct.unpack("<H", self._take(at, 2))[0] != only:
                return at
            tag, kind, place, length = self._head(at, self._explicit)
            if tag == ITEM_END:
                return place
            if tag == PIXELS:
                self._has_pixels = True
                if length == UNDEFINED and end is not None:
                    self._cut = self._frames_beyond(place, end)
                return place
            is_sequence = kind == b"SQ" or length == UNDEFINED or tag in (PER_FRAME, POSITION)
            if is_sequence:
                at = self._sequence(tag, place, length, values, depth)
                continue
            if tag in TEXTS or tag in NUMBERS:
                values[tag] = self._take(place, min(length, TEXT))
            at = place + length
        return end

    def _sequence(
        self, tag: Tag, at: int, length: int, values: dict[Tag, bytes], depth: int
    ) -> int:
        """Walk its items; only those that say where frames lie tell something."""
        end = None if length == UNDEFINED else at + length
        if end is not None and tag not in (PER_FRAME, POSITION):
            return end
        if tag == PER_FRAME and depth == 0:
            self._places = []
        while end is None or at < end:
            kind, _, place, size = self._head(at, True)
            if kind == SEQUENCE_END:
                return place
            if kind != ITEM:
                raise ValueError("no item")
            own: dict[Tag, bytes] = {}
            at = self._dataset(place, None if size == UNDEFINED else place + size, own, depth + 1)
            if tag == PER_FRAME and self._places is not None:
                if len(self._places) >= limits.TABLE:
                    raise ValueError("too many frames")
                self._places.append((_number(own.get(ACROSS, b"")), _number(own.get(DOWN, b""))))
            elif tag == POSITION:
                values |= {one: own[one] for one in (ACROSS, DOWN) if one in own}
        return end

    def _frames_beyond(self, at: int, end: int) -> int:
        """Packed frames that lie beyond the end of the file, by the table before them (A.4)."""
        try:
            tag, _, place, length = self._head(at, True)
            if tag != ITEM or length > 4 * limits.TABLE:
                return 0
            starts = np.frombuffer(self._take(place, length // 4 * 4), "<u4")
        except EOFError:
            return 0
        return int(np.count_nonzero(starts.astype(np.int64) + place + length >= end))


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip(" \0")


def _number(value: bytes) -> int:
    """A whole number of two or four bytes; 0 where it is none."""
    return int.from_bytes(value, "little", signed=len(value) == 4) if len(value) in (2, 4) else 0
