"""Micrometres per pixel: from the file, else from the user, else unknown; never guessed."""

from __future__ import annotations

import math
from typing import Any

from napari_pathreason.errors import SlideError

Mpp = tuple[float, float] | None
"""(x, y) in micrometres per level-0 pixel, None where unknown."""

PLAUSIBLE = (0.01, 1000.0)  # um per pixel; a TIFF resolution tag of 72 dpi (353 um) is a default
DEFAULT_RESOLUTIONS = (72.0, 96.0, 300.0)  # dpi written by programs that know nothing of the scale


def checked_mpp(mpp: float | tuple[float, float] | None) -> Mpp:
    """Scale that a user gave, as a pair.

    Raises
    ------
    SlideError
        If it is not above zero.
    """
    if mpp is None:
        return None
    pair = (
        (float(mpp), float(mpp)) if isinstance(mpp, int | float) else (float(mpp[0]), float(mpp[1]))
    )
    if not all(math.isfinite(value) and value > 0 for value in pair):
        raise SlideError(f"mpp {mpp} makes no sense; give micrometres per pixel, such as 0.5")
    return pair


def mpp_of_tiffslide(slide: Any) -> Mpp:
    """Scale that the file states through tiffslide; None if it states none or a default dpi."""
    values = [slide.properties.get(f"tiffslide.mpp-{axis}") for axis in "xy"]
    try:
        x, y = (float(value) for value in values)
    except (TypeError, ValueError):
        return None
    low, high = PLAUSIBLE
    if not (low <= x <= high and low <= y <= high):
        return None
    if any(math.isclose(x, 25400 / dpi, rel_tol=1e-3) for dpi in DEFAULT_RESOLUTIONS):
        return None
    return x, y


def mpp_of_aperio(tiff: Any) -> Mpp:
    """Scale that the description of an SVS states; None if it states none."""
    if not tiff.is_svs:
        return None
    items = (item.partition("=") for item in tiff.pages[0].description.split("|"))
    about = {key.strip(): value.strip() for key, _, value in items}
    try:
        value = float(about["MPP"])
    except (KeyError, ValueError):
        return None
    return (value, value) if PLAUSIBLE[0] <= value <= PLAUSIBLE[1] else None


MICROMETRES = {
    "µm": 1.0,
    "um": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
}
"""Units of length that OME files name."""


def mpp_of_ome(xml: str | None) -> Mpp:
    """Scale that OME-XML states for its first picture; None if it states none."""
    if not xml:
        return None
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    pixels = next((item for item in root.iter() if item.tag.endswith("}Pixels")), None)
    if pixels is None:
        return None
    try:
        x, y = (
            float(pixels.attrib[f"PhysicalSize{axis}"])
            * MICROMETRES[pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "XY"
        )
    except (KeyError, ValueError):
        return None
    return (x, y) if x > 0 and y > 0 else None
