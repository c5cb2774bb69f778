"""Slides for benchmarks: JPEG pyramids as Aperio writes them, of real tissue and any size."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide

SAMPLE = "sample_data/CMU-1-Small-Region.svs"
TILE = 256
ZOOMS = (1, 4, 16, 64)


def encoded_tiles() -> list[bytes]:
    """JPEG tiles of the bundled sample slide."""
    import imagecodecs

    import napari_pathreason

    sample = Path(napari_pathreason.__file__).parent / SAMPLE
    with open_slide(sample) as slide:
        corners = [(x, y) for y in range(0, 2560, TILE) for x in range(0, 2048, TILE)]
        tiles = [slide.read_region(Region(x, y, TILE, TILE), (TILE, TILE)) for x, y in corners]
    return [bytes(imagecodecs.jpeg8_encode(tile.pixels, level=80)) for tile in tiles]


def write_slide(path: Path, side: int, tiles: list[bytes]) -> None:
    """An Aperio-like pyramid whose tiles are drawn from ``tiles``."""
    import tifffile

    about = f"Aperio Image Library v11.2.1\r\n{side}x{side} (256x256) JPEG/RGB Q=80|MPP = 0.25"
    draw = random.Random(side)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for zoom in ZOOMS:
            length = side // zoom
            count = (-(-length // TILE)) ** 2
            writer.write(
                (draw.choice(tiles) for _ in range(count)),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                description=about,
                metadata=None,
            )
