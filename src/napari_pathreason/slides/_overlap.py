"""Whether the tiles of a slide overlap: side by side they would show the same tissue twice.

Ventana (BIF) and Trestle store what the camera saw, and say in their own words by how much each
tile overlaps the next one. Nothing in the tags of TIFF tells it.
"""

from __future__ import annotations

import re
from typing import Any

from ._pyramid import Picture

XMP = 700  # a tag
_JOINT = re.compile(rb"""Overlap[XY]\s*=\s*["']\s*(-?\d+)""")
_LEVELS = re.compile(r"OverlapsXY\s*=([\d\s]*)")
TRESTLE = "MedScan"
"""What the software of Trestle's scanners calls itself."""


def tiles_overlap(tiff: Any, chosen: Picture) -> bool:
    """Whether a file says that tiles of its slide overlap.

    Parameters
    ----------
    tiff : tifffile.TiffFile
    chosen : Picture
        The slide.
    """
    first = tiff.pages[0]
    if str(first.tags.valueof("Software", "")).startswith(TRESTLE):
        found = _LEVELS.search(str(first.description))
        return found is not None and any(map(int, found[1].split()))
    if chosen.kind != "bif":
        return False
    joints = chosen.levels[0].page.tags.valueof(XMP, b"")
    joints = joints.encode(errors="replace") if isinstance(joints, str) else joints
    return isinstance(joints, bytes) and any(int(match[1]) for match in _JOINT.finditer(joints))
