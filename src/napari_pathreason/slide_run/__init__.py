"""Lesions of whole slides: tile by tile, kept on disk as they come, joined across seams."""

from ._merge import Lesion, merge
from ._settings import DetectSettings
from ._tiles import Tile, lay_tiles, starts, tile_side

__all__ = [
    "DetectSettings",
    "Lesion",
    "Tile",
    "lay_tiles",
    "merge",
    "starts",
    "tile_side",
]
