"""A slide of any size out of the bundled one's real tissue, the same on every level."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide

SAMPLE = "sample_data/CMU-1-Small-Region.svs"
FIELD = 2048
"""Side of what is repeated, level-0 px."""
TILE = 256
ROWS = 16
"""Of a strip; ``side`` is a multiple."""
ZOOMS = (1, 4, 16, 64)


def write_mosaic(path: Path, side: int, mpp: float = 0.25) -> None:
    """Write an Aperio-like JPEG pyramid of ``side`` x ``side`` px at levels 1, 4, 16, 64."""
    import tifffile

    field = _field()
    about = f"Aperio Image Library v11.2.1\r\n{side}x{side} (256x256) JPEG/RGB Q=80|MPP = {mpp}"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for zoom in ZOOMS:
            length = side // zoom
            writer.write(
                _tiles(field, zoom, -(-length // TILE)),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                description=about,
                metadata=None,
            )
            if zoom == 1:  # the second page of such a file is a thumbnail, and no level
                writer.write(np.zeros((64, 64, 3), np.uint8), photometric="rgb", metadata=None)


def write_strips(path: Path, side: int) -> None:
    """Write ``side`` x ``side`` px in JPEG strips as wide as they, of `ROWS` rows, and no level."""
    import imagecodecs
    import tifffile

    field = _field()
    again = -(-side // FIELD)
    packed = [
        bytes(
            imagecodecs.jpeg8_encode(
                np.tile(field[top : top + ROWS], (1, again, 1))[:, :side].copy(), level=80
            )
        )
        for top in range(0, FIELD, ROWS)
    ]
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(
            (packed[strip % len(packed)] for strip in range(side // ROWS)),
            shape=(side, side, 3),
            dtype=np.uint8,
            rowsperstrip=ROWS,
            photometric="ycbcr",
            subsampling=(2, 2),
            compression="jpeg",
            metadata=None,
        )


def _field() -> NDArray[np.uint8]:
    import napari_pathreason

    with open_slide(Path(napari_pathreason.__file__).parent / SAMPLE) as slide:
        return slide.read_region(Region(100, 400, FIELD, FIELD), (FIELD, FIELD)).pixels


def _tiles(field: NDArray[np.uint8], zoom: int, count: int) -> Iterator[bytes]:
    """Packed tiles of a level, row by row; those that come again are packed once."""
    import imagecodecs

    small = np.asarray(Image.fromarray(field).reduce(zoom)) if zoom > 1 else field
    again = max(1, -(-TILE // small.shape[0]))
    small = np.tile(small, (again, again, 1))
    each = small.shape[0] // TILE
    packed = [
        [
            bytes(
                imagecodecs.jpeg8_encode(
                    np.ascontiguousarray(
                        small[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
                    ),
                    level=80,
                )
            )
            for column in range(each)
        ]
        for row in range(each)
    ]
    for row in range(count):
        for column in range(count):
            yield packed[row % each][column % each]
