"""JPEG tiles, strictly: what libjpeg warns of is damage, and the tags decide the colours.

libjpeg fills what is missing with grey and only warns; tifffile's decoder does not pass that on.
simplejpeg is the same libjpeg-turbo, gives the same pixels, and raises. It knows no colour space of
a TIFF, so the tags are written into the stream in its own words, an Adobe marker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ._page_colour import BLACK_IS_ZERO, IS_RGB, JPEG, WHITE_IS_ZERO, YCBCR

_END = b"\xff\xd9"
_START = b"\xff\xd8"
_FRAMES = {0xC0, 0xC1, 0xC2}
"""Frames with Huffman codes, whose size and number of components follow; others are lossless."""
_JFIF = 0xE0
_APPLICATION = {_JFIF, 0xEE}
"""JFIF and Adobe markers, which name a colour space."""

Decode = Callable[[bytes, "bytes | None", "bytes | None"], NDArray[Any]]


class DamagedJpeg(Exception):
    """A stream that is cut off, broken, or not of the size that the file declares."""


def strict_decoder(page: Any, tile: tuple[int, int]) -> Decode | None:
    """Decoder of a page's JPEG tiles; None where they are of a kind that it does not read.

    Parameters
    ----------
    page : tifffile.TiffPage
    tile : tuple of int
        (width, height) of its tiles.

    Returns
    -------
    callable or None
        Takes data, tables and header of a tile, gives uint8 (height, width, samples). It raises
        whatever the library raises, and `DamagedJpeg`.
    """
    samples = int(page.samplesperpixel) if page.planarconfig == 1 else 1
    transform = {IS_RGB: 0, YCBCR: 1, BLACK_IS_ZERO: -1, WHITE_IS_ZERO: -1}.get(
        int(page.photometric)
    )
    if (
        int(page.compression) not in JPEG
        or page.bitspersample != 8
        or samples not in (1, 3, 4)
        or (transform is None and samples < 4)
    ):
        return None
    import simplejpeg

    adobe = b""
    if samples == 3 and transform is not None:
        adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
    # four have no colour space in TIFF: they are taken as they lie there
    colours = {1: "GRAY", 3: "RGB", 4: "CMYK"}[samples]
    dropped = _APPLICATION if samples < 4 else {_JFIF}

    def decode(data: bytes, tables: bytes | None, header: bytes | None) -> NDArray[Any]:
        if header is not None:
            data = header + data + _END
        if data[:2] != _START:
            raise DamagedJpeg("it does not begin as a JPEG")
        stream = bytearray(_START + adobe)
        if tables:
            _append_plain(stream, tables, dropped)
        size = _append_plain(stream, data, dropped)
        if size[2] != samples or size[0] > tile[0] or size[1] > tile[1]:
            raise DamagedJpeg("it is not of the size that the file declares")
        pixels: NDArray[Any] = simplejpeg.decode_jpeg(bytes(stream), colours, strict=True)
        return pixels

    return decode


def _append_plain(stream: bytearray, data: bytes, dropped: set[int]) -> tuple[int, int, int]:
    """Append a stream without some of its markers; its width, height and components.

    Of tables alone, which hold no frame, these are 0.
    """
    at, size = 2, (0, 0, 0)
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise DamagedJpeg("a marker is broken")
        mark = data[at + 1]
        if mark == 0xFF:  # a fill byte
            at += 1
            continue
        if mark == 0xDA:
            stream += data[at:]
            return size
        if mark == 0xD9:
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if mark in _FRAMES and end <= len(data):
            height, width = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (5, 7))
            size = (width, height, data[at + 9])
        if mark not in dropped:
            stream += data[at:end]
        at = end
    return size
