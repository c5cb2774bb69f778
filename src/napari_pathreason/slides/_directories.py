"""The directories of a TIFF, walked before any library builds on them.

What a library makes of a damaged or hostile structure is its own affair: endless loops, gigabytes,
white pictures. Hence this walk, which reads nothing but directories: whether they run in a circle
or out of the file, and whether the tables of the tiles are there and long enough for the size.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from napari_pathreason.errors import SlideError

from . import _limits as limits

WIDTH, HEIGHT, STRIPS, ROWS, STRIP_COUNTS, SUBS = 256, 257, 273, 278, 279, 330
SAMPLES, PLANAR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_COUNTS = 277, 284, 322, 323, 324, 325
BITS, COMPRESSION = 258, 259
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
"""Bytes of one value, by the type of a tag."""
WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Types of tags that hold whole numbers above zero, as `struct` calls them."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of a directory: type and count of its values, and where they lie."""

    kind: int
    count: int
    at: int

    @property
    def end(self) -> int:
        """Where its values end."""
        return self.at + self.count * SIZES.get(self.kind, 1)


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory: where it lies, its tags, and what is wrong with it (empty for nothing).

    ``doubt`` is what speaks against its size, while all that it needs is there.
    """

    offset: int
    tags: Mapping[int, Tag]
    fault: str
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Directories:
    """All directories of a file by their place; ``cut`` says that one lies beyond its end."""

    by_offset: Mapping[int, Directory]
    cut: bool


class _Reader:
    """Whole numbers and values at places of a file."""

    def __init__(self, file: BinaryIO, size: int, order: str, big: bool, ndpi: bool) -> None:
        self.file, self.size, self.order, self.big, self.ndpi = file, size, order, big, ndpi
        self.word = 8 if big or ndpi else 4
        """Bytes of the place of a directory."""

    def bytes(self, at: int, count: int) -> bytes:
        if at < 0 or at + count > self.size:
            raise EOFError
        self.file.seek(at)
        data = self.file.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def number(self, at: int, code: str) -> int:
        value: int = struct.unpack(self.order + code, self.bytes(at, struct.calcsize(code)))[0]
        return value

    def place(self, at: int) -> int:
        return self.number(at, "Q" if self.word == 8 else "I")

    def first(self, tag: Tag | None, default: int = 0) -> int:
        """First value of a tag; the default where it is not there or no whole number."""
        if tag is None or tag.kind not in WHOLE or tag.count < 1:
            return default
        try:
            return self.number(tag.at, WHOLE[tag.kind])
        except EOFError:
            return default

    def all(self, tag: Tag | None, most: int) -> tuple[int, ...]:
        if tag is None or tag.kind not in WHOLE:
            return ()
        code = WHOLE[tag.kind]
        count = min(tag.count, most)
        data = self.bytes(tag.at, count * struct.calcsize(code))
        return struct.unpack(f"{self.order}{count}{code}", data)


def walk(path: Path) -> Directories:
    """Directories of a TIFF, those of levels included; nothing of what they hold is judged yet.

    Raises
    ------
    SlideError
        If they run in a circle, or are more than any slide has, or it is no TIFF.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        try:
            reader, start = _begin(file, size, path.suffix.lower() == ".ndpi")
        except (EOFError, KeyError):
            raise SlideError(
                f"{path.name} is no TIFF, or is cut off before its first page"
            ) from None
        found: dict[int, Directory] = {}
        cut = False
        sizes: set[tuple[int, int]] = set()
        chains = [start]
        while chains:
            at, own = chains.pop(), set[int]()
            while at:
                if at in own:
                    raise SlideError(
                        f"{path.name} is damaged: its directories run in a circle; get a whole copy"
                    )
                if at in found:  # writers chain the levels that a page lists one by one
                    break
                if len(found) >= limits.DIRECTORIES:
                    raise SlideError(
                        f"{path.name} has more than {limits.DIRECTORIES:,} pages; a slide has a "
                        "few, save the plane that you want by itself"
                    )
                try:
                    directory, following = _directory(reader, at)
                    found[at] = directory
                    own.add(at)
                    across, down = (directory.tags.get(code) for code in (WIDTH, HEIGHT))
                    sizes.add((reader.first(across), reader.first(down)))
                    if len(sizes) > limits.SIZES:
                        raise SlideError(
                            f"{path.name} has pages of more than {limits.SIZES:,} sizes; a slide "
                            "has a few, save the picture that you want by itself"
                        )
                    chains += reader.all(directory.tags.get(SUBS), limits.DIRECTORIES)
                except EOFError:
                    cut = True
                    break
                at = following
        return Directories(found, cut)


def _begin(file: BinaryIO, size: int, ndpi: bool) -> tuple[_Reader, int]:
    """Reader of a file and the place of its first directory."""
    head = file.read(4)
    if len(head) < 4:
        raise EOFError
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    version = struct.unpack(order + "H", head[2:])[0]
    if version == 43:
        reader = _Reader(file, size, order, big=True, ndpi=False)
        return reader, reader.place(8)
    if version != 42:
        raise KeyError(version)
    reader = _Reader(file, size, order, big=False, ndpi=ndpi and order == "<")
    return reader, reader.place(4)


def _directory(reader: _Reader, at: int) -> tuple[Directory, int]:
    """A directory, and the place of the one after it."""
    count = reader.number(at, "Q" if reader.big else "H")
    if count > limits.TAGS:
        raise EOFError
    head, entry, inline = (8, 20, 8) if reader.big else (2, 12, 4)
    data = reader.bytes(at + head, count * entry)
    following = reader.place(at + head + count * entry)
    tags: dict[int, Tag] = {}
    for index in range(count):
        part = data[index * entry : (index + 1) * entry]
        code, kind, values = struct.unpack(
            reader.order + ("HHQ" if reader.big else "HHI"), part[:-inline]
        )
        place = at + head + (index + 1) * entry - inline
        if values * SIZES.get(kind, 1) > inline:
            place = struct.unpack(reader.order + ("Q" if reader.big else "I"), part[-inline:])[0]
            if reader.ndpi:  # the upper halves of all values follow the directory
                after = at + head + count * entry + 8 + 4 * index
                place += reader.number(after, "I") << 32 if after + 4 <= reader.size else 0
        tags.setdefault(code, Tag(kind, values, place))
    return Directory(at, tags, *_assessed(reader, tags)), following


def _assessed(reader: _Reader, tags: Mapping[int, Tag]) -> tuple[str, str]:
    """What is wrong with the size and the table of a directory, and what speaks against the size.

    Empty for nothing.
    """
    width, height = (reader.first(tags.get(code)) for code in (WIDTH, HEIGHT))
    if width < 1 or height < 1:
        return "a page has no size", ""
    if max(width, height) > limits.SIDE:
        return f"a page of {width:,} x {height:,} px is larger than any slide", ""
    tiled = TILE_WIDTH in tags or TILE_HEIGHT in tags or TILES in tags
    if tiled:
        across, down = (reader.first(tags.get(code)) for code in (TILE_WIDTH, TILE_HEIGHT))
    else:
        across, down = width, min(height, reader.first(tags.get(ROWS), height) or height)
    if across < 1 or down < 1:
        return "its tiles have no size", ""
    planes = reader.first(tags.get(SAMPLES), 1) if reader.first(tags.get(PLANAR), 1) == 2 else 1
    expected = -(-width // across) * -(-height // down) * planes
    if expected > limits.TABLE:
        return f"{width:,} x {height:,} px in tiles of {across} x {down} px are too many tiles", ""
    if reader.first(tags.get(COMPRESSION), 1) == 6:  # old JPEG keeps its data elsewhere
        return "", ""
    doubt = ""
    pairs = (TILES, TILE_COUNTS) if tiled else (STRIPS, STRIP_COUNTS)
    for code, what in zip(pairs, ("offsets", "sizes"), strict=True):
        tag = tags.get(code)
        if tag is None and expected == 1 and code == STRIP_COUNTS:
            continue  # one strip that is not packed ends where the picture does
        if tag is None or tag.kind not in WHOLE or (tag.end > reader.size and not reader.ndpi):
            return f"the table of the {what} of its tiles is lost", ""
        if tag.count < expected:
            return (
                f"its size ({width:,} x {height:,} px) needs {expected:,} tiles, but the table of "
                f"their {what} holds {tag.count:,}"
            ), ""
        if tag.count > expected:
            doubt = (
                f"its size ({width:,} x {height:,} px) needs {expected:,} tiles, but the table of "
                f"their {what} holds {tag.count:,}; the size may be damaged"
            )
    return "", doubt
