"""What Ventana (BIF) and Trestle say of a slide in their own words, and no tag of TIFF tells.

They store what the camera saw, and by how much each tile overlaps the next one: side by side such
tiles would show the same tissue twice.
"""

from __future__ import annotations

import re
from typing import Any

from ._pyramid import Picture
from ._scale import Mpp, number

XMP = 700  # a tag
_JOINT = re.compile(rb"""Overlap[XY]\s*=\s*["']\s*(-?\d+)""")
_LEVELS = re.compile(r"OverlapsXY\s*=([\d\s]*)")
_SCAN = re.compile(rb"<iScan\b[^>]*>")
_ITEM = re.compile(rb"""([\w-]+)\s*=\s*["']([^"']*)["']""")
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
    joints = _xmp(chosen.levels[0].page)
    return any(int(match[1]) for match in _JOINT.finditer(joints))


def mpp_of_ventana(tiff: Any) -> Mpp:
    """Scale that Ventana's description of the scan states; None if it states none."""
    try:
        value = number(_scan(tiff)["ScanRes"])
    except (KeyError, ValueError):
        return None
    return value, value


def focal_planes(tiff: Any, chosen: Picture) -> tuple[str, ...]:
    """What to say of a slide that Ventana scanned in several focal planes: one is read."""
    text = _scan(tiff).get("Z-layers", "") if chosen.kind == "bif" else ""
    count = int(text) if text.isdecimal() else 1
    return (f"it was scanned in {count} focal planes, of which one was read",) * (count > 1)


def _scan(tiff: Any) -> dict[str, str]:
    """What Ventana says of the scan, on whatever page."""
    for page in tiff.pages:
        found = _SCAN.search(_xmp(page))
        if found is not None:
            items = _ITEM.findall(found[0])
            return {key.decode(): value.decode(errors="replace") for key, value in items}
    return {}


def _xmp(page: Any) -> bytes:
    tags = getattr(page, "tags", None)
    text = b"" if tags is None else tags.valueof(XMP, b"")
    text = text.encode(errors="replace") if isinstance(text, str) else text
    return text if isinstance(text, bytes) else b""
