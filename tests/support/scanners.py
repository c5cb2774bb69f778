"""Slides as the makers of scanners write them, byte by byte."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def write_ndpi(path: Path, pictures: list[np.ndarray]) -> None:
    """Levels as Hamamatsu writes them: one JPEG each, whose restart markers stand in a tag.

    Offsets have 64 bits: the upper halves of all values follow a directory.
    """
    data = bytearray(b"II*\0" + bytes(8))
    link = 4
    for index, picture in enumerate(pictures):
        buffer = io.BytesIO()
        blocks = picture.shape[1] // 32  # a fourth of a row of 8 x 8 blocks
        Image.fromarray(picture).save(
            buffer, "JPEG", quality=95, subsampling=0, restart_marker_blocks=blocks
        )
        jpeg = buffer.getvalue()
        scan = jpeg.index(b"\xff\xda")
        starts = [scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")]
        starts += [
            at + 2
            for at in range(starts[0], len(jpeg) - 1)
            if jpeg[at] == 0xFF and 0xD0 <= jpeg[at + 1] <= 0xD7
        ]
        strip, markers = len(data), len(data) + len(jpeg)
        data += jpeg + np.array(starts, "<u4").tobytes()
        bits = len(data)
        data += np.array([8, 8, 8], "<u2").tobytes()
        lens = int(np.array([20.0 / 4**index], "<f4").view("<u4")[0])
        height, width = picture.shape[:2]
        tags = [  # code, type, count, value or offset
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 3, bits),
            (259, 3, 1, 7),
            (262, 3, 1, 6),
            (271, 2, 4, int.from_bytes(b"HAM\0", "little")),
            (273, 4, 1, strip),
            (277, 3, 1, 3),
            (278, 4, 1, height),
            (279, 4, 1, len(jpeg)),
            (284, 3, 1, 1),
            (65420, 4, 1, 1),
            (65421, 11, 1, lens),
            (65426, 4, len(starts), markers),
        ]
        data[link : link + 8] = struct.pack("<Q", len(data))
        data += struct.pack("<H", len(tags))
        data += b"".join(struct.pack("<HHII", *tag) for tag in tags)
        link = len(data)
        data += bytes(8) + bytes(4 * len(tags))
    path.write_bytes(data)
