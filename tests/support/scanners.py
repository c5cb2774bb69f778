"""Slides as the makers of scanners write them, byte by byte."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import tifffile
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


def overlapping_tiles(
    picture: np.ndarray, side: int, overlap: int, columns: int, rows: int
) -> tuple[list[bytes], np.ndarray]:
    """Tiles of a picture as a camera sees them, row by row, and the part of it that they show."""
    step = side - overlap
    shown = picture[: step * (rows - 1) + side, : step * (columns - 1) + side]
    tiles = [
        np.ascontiguousarray(shown[y * step : y * step + side, x * step : x * step + side])
        for y in range(rows)
        for x in range(columns)
    ]
    return [tile.tobytes() for tile in tiles], shown


def write_bif(path: Path, picture: np.ndarray, overlap: int) -> np.ndarray:
    """Ventana's file of 4 x 3 tiles of 64 px: label, then level 0; what they show is returned.

    Its tiles are numbered from the bottom, every other row from the right.
    """
    side, columns, rows = 64, 4, 3
    tiles, shown = overlapping_tiles(picture, side, overlap, columns, rows)

    def number(x: int, y: int) -> int:
        row = rows - 1 - y
        return row * columns + (columns - 1 - x if row % 2 else x) + 1

    def joint(one: int, other: int, way: str, across: int, down: int) -> str:
        return (
            f'<TileJointInfo FlagJoined="1" Confidence="99" Direction="{way}" Tile1="{one}" '
            f'Tile2="{other}" OverlapX="{across}" OverlapY="{down}"/>'
        )

    joints = [
        joint(number(x, y), number(x + 1, y), "RIGHT", overlap, 0)
        for y in range(rows)
        for x in range(columns - 1)
    ]
    joints += [
        joint(number(x, y), number(x, y - 1), "UP", 0, overlap)
        for y in range(1, rows)
        for x in range(columns)
    ]
    stitch = (
        f'<EncodeInfo Ver="2"><SlideStitchInfo><ImageInfo AOIScanned="1" NumRows="{rows}" '
        f'NumCols="{columns}" Width="{side}" Height="{side}" Pos-X="0" '
        f'Pos-Y="0">{"".join(joints)}</ImageInfo></SlideStitchInfo>'
        '<AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    ).encode()
    scan = b'<iScan Z-layers="1" Magnification="20" ScanRes="0.465"/>'
    about = {"photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(
            np.zeros((50, 80, 3), np.uint8),
            description="Label Image",
            software="ScanOutputManager",
            extratags=[(700, "B", len(scan), scan, True)],
            **about,
        )
        writer.write(
            iter(tiles),
            shape=(rows * side, columns * side, 3),
            dtype=np.uint8,
            tile=(side, side),
            description="level=0 mag=20 quality=95",
            extratags=[(700, "B", len(stitch), stitch, True)],
            **about,
        )
    return shown


def write_trestle(path: Path, picture: np.ndarray, overlap: int) -> np.ndarray:
    """Trestle's file of 4 x 3 tiles of 64 px; what they show is returned."""
    tiles, shown = overlapping_tiles(picture, 64, overlap, 4, 3)
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=(192, 256, 3),
        dtype=np.uint8,
        tile=(64, 64),
        photometric="rgb",
        metadata=None,
        software="MedScan 1",
        resolution=(0.5, 0.5),
        description=f"Objective Power=20;OverlapsXY= {overlap} {overlap};Background Color=FFFFFF",
    )
    return shown
