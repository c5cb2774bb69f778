"""DICOM slides made of another one: frames shared out on files, tiles left out, more planes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

LONG = {b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN"}
"""Types of values whose length takes four bytes."""
FRAMES = (0x28, 0x08)
ROWS, COLUMNS = (0x48, 0x07), (0x48, 0x06)  # of the whole picture
INSTANCE = (0x08, 0x18)
CONCATENATION, NUMBER, TOTAL, OFFSET = (
    (0x20, 0x9161),
    (0x20, 0x9162),
    (0x20, 0x9163),
    (0x20, 0x9228),
)
ORGANISATION, PER_FRAME = (0x20, 0x9311), (0x5200, 0x9230)
FOCAL_PLANES, OPTICAL_PATHS = (0x48, 0x303), (0x48, 0x302)

Tag = tuple[int, int]


@dataclass(frozen=True)
class Dicom:
    """An instance: its elements (type, bytes) without the pixels, and its packed frames."""

    elements: dict[Tag, tuple[bytes, bytes]]
    frames: tuple[bytes, ...]

    @classmethod
    def read(cls, path: Path) -> Dicom:
        """Of a file with explicit types and packed frames."""
        data = path.read_bytes()
        elements: dict[Tag, tuple[bytes, bytes]] = {}
        at = 132
        while True:
            group, element = struct.unpack_from("<HH", data, at)
            kind = data[at + 4 : at + 6]
            form, head = ("<I", 12) if kind in LONG else ("<H", 8)
            (length,) = struct.unpack_from(form, data, at + head - struct.calcsize(form))
            at += head
            if (group, element) == (0x7FE0, 0x10):
                return cls(elements, tuple(_items(data, at)[1:]))  # the first is a table
            elements[group, element] = kind, data[at : at + length]
            at += length

    def number(self, tag: Tag) -> int:
        """A whole number, whatever its type."""
        kind, value = self.elements[tag]
        return int(value) if kind == b"IS" else int.from_bytes(value, "little")

    def changed(self, values: dict[Tag, Any], frames: tuple[bytes, ...] | None = None) -> Dicom:
        """With other values, of the types that are there, or (type, value); None leaves one out."""
        elements = dict(self.elements)
        for tag, value in values.items():
            if value is None:
                del elements[tag]
                continue
            kind, raw = value if isinstance(value, tuple) else (elements[tag][0], value)
            if isinstance(raw, int):
                raw = (
                    str(raw) if kind == b"IS" else raw.to_bytes(2 if kind == b"US" else 4, "little")
                )
            if isinstance(raw, str):
                raw = raw.encode() + (b"\0" if kind == b"UI" else b" ") * (len(raw) % 2)
            elements[tag] = kind, raw
        frames = self.frames if frames is None else frames
        count = str(len(frames)).encode()
        elements[FRAMES] = b"IS", count + b" " * (len(count) % 2)
        return replace(self, elements=elements, frames=frames)

    def write(self, path: Path) -> Path:
        """To a file."""
        out = bytearray(bytes(128) + b"DICM")
        for (group, element), (kind, value) in sorted(self.elements.items()):
            out += _element((group, element), kind, value)
        out += struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
        out += struct.pack("<HHI", 0xFFFE, 0xE000, 0)
        for frame in self.frames:
            frame += b"\0" * (len(frame) % 2)
            out += struct.pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame
        out += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        path.write_bytes(out)
        return path


def _items(data: bytes, at: int) -> list[bytes]:
    items = []
    while True:
        group, element, length = struct.unpack_from("<HHI", data, at)
        if (group, element) != (0xFFFE, 0xE000):
            return items
        items.append(data[at + 8 : at + 8 + length])
        at += 8 + length


def share_out(slide: Dicom, folder: Path, parts: int) -> list[Path]:
    """A concatenation: the frames of one instance in several files."""
    uid = slide.elements[INSTANCE][1].decode().rstrip("\0")
    count = -(-len(slide.frames) // parts)
    paths = []
    for part in range(parts):
        values = {
            INSTANCE: f"{uid[:56]}.{part + 1}",
            (2, 3): f"{uid[:56]}.{part + 1}",
            CONCATENATION: (b"UI", f"{uid[:56]}.77"),
            NUMBER: (b"US", part + 1),
            TOTAL: (b"US", parts),
            OFFSET: (b"UL", part * count),
        }
        frames = slide.frames[part * count : (part + 1) * count]
        paths.append(slide.changed(values, frames).write(folder / f"part{part}.dcm"))
    return paths


def with_places(slide: Dicom, places: list[tuple[int, int] | None]) -> Dicom:
    """One that states where each frame lies, from 1 on; None for a frame that does not."""
    items = []
    for place in places:
        inner = b""
        if place is not None:
            axes = zip((0x21E, 0x21F), place, strict=True)
            both = b"".join(_element((0x48, tag), b"SL", struct.pack("<i", at)) for tag, at in axes)
            inner = _element((0x48, 0x21A), b"SQ", _item(both))
        items.append(_item(inner))
    values = {ORGANISATION: "TILED_SPARSE", PER_FRAME: (b"SQ", b"".join(items))}
    return slide.changed(values)


def _element(tag: Tag, kind: bytes, value: bytes) -> bytes:
    length = struct.pack("<HI", 0, len(value)) if kind in LONG else struct.pack("<H", len(value))
    return struct.pack("<HH", *tag) + kind + length + value


def _item(value: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value
