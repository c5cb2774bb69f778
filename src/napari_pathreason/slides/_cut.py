"""Whether a packed tile is cut off, told from its own words, where its decoder does not tell.

Some decoders fill what is missing with grey or black and say nothing. What a stream says of its
parts and their sizes is held against the bytes that are there.
"""

from __future__ import annotations

_END_OF_JPEG = b"\xff\xd9"
_START_OF_CODES, _TILE_PART, _END_OF_CODES = b"\xff\x4f", b"\xff\x90", b"\xff\xd9"
_JXR_OFFSET, _JXR_COUNT = 0xBCC0, 0xBCC1  # tags of its container
_ZEROS = 16
"""Bytes, from which zeros at the end of a stream are none of its codes; encoders leave two."""
_KINDS = {1: 1, 2: 1, 3: 2, 4: 4}
"""Bytes of one value of a container of JPEG XR, by its type."""


def is_cut(data: bytes) -> bool:
    """Whether bytes of a stream are missing; False of a kind that does not tell.

    Of JPEG (its last marker), JPEG 2000 (ISO/IEC 15444-1, annex A: each part of a tile states its
    length, and a marker ends the last), JPEG XR (ITU-T T.832, annex A) and WebP: the codes of the
    last two never end in zeros, which a copy that failed leaves.
    """
    if data[:2] == b"\xff\xd8":
        return not data.rstrip(b"\0").endswith(_END_OF_JPEG)
    if data[:4] == b"II\xbc\x01":
        return _is_jpeg_xr_cut(data) or _ends_in_zeros(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        size = 8 + int.from_bytes(data[4:8], "little")
        return size > len(data) or _ends_in_zeros(data[:size])
    start = _codes_of_jpeg_2000(data)
    return start is not None and _are_codes_cut(data, start)


def _ends_in_zeros(data: bytes) -> bool:
    return not any(data[-_ZEROS:])


def _codes_of_jpeg_2000(data: bytes) -> int | None:
    """Where the codes begin, in a file of boxes or without; None where it is no JPEG 2000."""
    if data[:2] == _START_OF_CODES:
        return 0
    if data[4:8] != b"jP  ":
        return None
    at = 0
    while at + 8 <= len(data):
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if data[at + 4 : at + 8] == b"jp2c":
            return at + head
        if size < head:
            break
        at += size
    return len(data)


def _are_codes_cut(data: bytes, start: int) -> bool:
    at = start + 2
    while data[at : at + 2] != _TILE_PART:  # the main header
        if at + 4 > len(data) or data[at] != 0xFF:
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    while data[at : at + 2] == _TILE_PART:
        size = int.from_bytes(data[at + 6 : at + 10], "big")
        if not size:  # the last part, which ends where the codes do
            return not data.rstrip(b"\0").endswith(_END_OF_CODES)
        at += max(size, 12)
    return data[at : at + 2] != _END_OF_CODES


def _is_jpeg_xr_cut(data: bytes) -> bool:
    at = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[at : at + 2], "little")
    stated = {}
    for index in range(count):
        entry = data[at + 2 + 12 * index : at + 14 + 12 * index]
        code, kind = (int.from_bytes(entry[i : i + 2], "little") for i in (0, 2))
        stated[code] = int.from_bytes(entry[8 : 8 + _KINDS.get(kind, 4)], "little")
    if not {_JXR_OFFSET, _JXR_COUNT} <= stated.keys():
        return True  # without which nothing finds its pixels
    return stated[_JXR_OFFSET] + stated[_JXR_COUNT] > len(data)
