"""The size that a packed tile declares, read before anything is decoded.

A decoder makes room for what a stream says of itself, and a few bytes may say more than memory
holds.
"""

from __future__ import annotations

import numpy as np

_START = b"\xff\xd8"
_JXL_RATIOS = ((0, 1), (1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width by height where the width is not written, by number."""


def declared_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that a stream declares; None of a kind that tells its size nowhere.

    Of JPEG, JPEG 2000, PNG, WebP, JPEG XL (ISO/IEC 18181-1, size header), JPEG XR (ITU-T T.832,
    image header) and LERC.
    """
    if data[:4] == b"\x89PNG" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:2] == _START:
        return _jpeg_frame(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:2] == b"\xff\x0a":
        return _jpeg_xl(data[2:])
    if data[4:8] == b"JXL ":
        at = data.find(b"\xff\x0a", data.find(b"jxl", 12))  # of the box jxlc, or the first jxlp
        return None if at < 0 else _jpeg_xl(data[at + 2 :])
    if data[:4] == b"II\xbc\x01":
        return _jpeg_xr(data)
    if data[:6] == b"Lerc2 ":
        at = 14 if int.from_bytes(data[6:10], "little") >= 3 else 10
        return _whole(data, at + 4), _whole(data, at)
    if data[:10] == b"CntZImage ":
        return _whole(data, 22), _whole(data, 18)
    at = data.find(b"\xff\x51", 0, 4096)
    if at >= 0 and (data[:2] == b"\xff\x4f" or data[4:8] == b"jP  ") and len(data) >= at + 22:
        x, y, left, top = np.frombuffer(data[at + 6 : at + 22], ">u4").astype(int)
        return int(x - left), int(y - top)
    return None


def _whole(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _jpeg_xl(data: bytes) -> tuple[int, int]:
    bits = int.from_bytes(data[:12], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side(small: int) -> int:
        return 8 * (1 + take(5)) if small else 1 + take((9, 13, 18, 30)[take(2)])

    small = take(1)
    height, ratio = side(small), take(3)
    if not ratio:
        return side(small), height
    across, down = _JXL_RATIOS[ratio]
    return height * across // down, height


def _jpeg_xr(data: bytes) -> tuple[int, int] | None:
    at = data.find(b"WMPHOTO\0")
    if at < 0 or len(data) < at + 20:
        return None
    each = 2 if data[at + 10] & 0x80 else 4  # bytes of a side, of which 1 was taken
    across, down = data[at + 12 : at + 12 + each], data[at + 12 + each : at + 12 + 2 * each]
    return int.from_bytes(across, "big") + 1, int.from_bytes(down, "big") + 1


def _jpeg_frame(data: bytes) -> tuple[int, int] | None:
    """Of a JPEG of any kind: lossless and 12-bit ones are not read by `strict_decoder`."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        mark = data[at + 1]
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (5, 7))
            return width, height
        at += 1 if mark == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return (
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(data) >= 30:
        return (
            int.from_bytes(data[26:28], "little") & 0x3FFF,
            int.from_bytes(data[28:30], "little") & 0x3FFF,
        )
    return None
