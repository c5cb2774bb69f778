"""What OME-XML says of the pictures of a file: sizes, scale, channels, and the files of a set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from . import _limits as limits
from ._scale import Mpp, number, um_of

SIZES = ("SizeX", "SizeY", "SizeZ", "SizeC", "SizeT")
PLACES = ("IFD", "PlaneCount", "FirstZ", "FirstC", "FirstT")
"""Numbers of Pixels, all of which are needed, and those of a TiffData."""


@dataclass(frozen=True, slots=True)
class OmeChannel:
    """A channel: its name, its colour (red, green, blue), whether a wavelength is named."""

    name: str
    colour: tuple[int, int, int] | None
    wavelength: bool
    samples: int


@dataclass(frozen=True, slots=True)
class OmeImage:
    """A picture: ``planes`` is the product of z, t and channels that lie apart.

    0 where its metadata alone are there. ``size`` is (width, height) in pixels.
    """

    name: str
    size: tuple[int, int]
    planes: int
    bits: int
    mpp: Mpp
    channels: tuple[OmeChannel, ...]

    @property
    def is_here(self) -> bool:
        """Whether it has pixels, in this file or another of the set."""
        return self.planes != 0


@dataclass(frozen=True, slots=True)
class Ome:
    """A document.

    Parameters
    ----------
    images : tuple of OmeImage
    files : tuple of str
        Other files of a set.
    elsewhere : str
        File that holds the metadata, where this one does not.
    named : tuple of str
        Files that libraries open: the others of a set, and one that may be this under an old name.
    fault : str
        What cannot be understood in it; empty for nothing.
    """

    images: tuple[OmeImage, ...]
    files: tuple[str, ...]
    elsewhere: str
    named: tuple[str, ...] = ()
    fault: str = ""


def parse_ome(xml: str | None) -> Ome | None:
    """Read OME-XML; None where there is none that can be read."""
    if not xml or len(xml) > limits.XML:
        return None
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        return None
    if _name(root) != "OME":
        return None
    only = next(_children(root, "BinaryOnly"), None)
    own = root.attrib.get("UUID", "").strip()
    files = {
        item.attrib["FileName"]
        for item in root.iter()
        if _name(item) == "UUID"
        and item.attrib.get("FileName")
        and (not own or (item.text or "").strip() != own)  # itself, whatever it is called now
    }
    return Ome(
        tuple(filter(None, map(_image, _children(root, "Image")))),
        () if len(files) == 1 and not own else tuple(sorted(files)),
        "" if only is None else only.attrib.get("MetadataFile", "another file"),
        tuple(sorted(files)),
        next(filter(None, map(_fault, _children(root, "Image"))), ""),
    )


def mpp_of_ome(xml: str | None) -> Mpp:
    """Scale that OME-XML states for its first picture; None if it states none."""
    ome = parse_ome(xml)
    return ome.images[0].mpp if ome is not None and ome.images else None


def _fault(image: Any) -> str:
    """What of a picture's numbers cannot be understood; empty for nothing."""
    pixels = next(_children(image, "Pixels"), None)
    if pixels is None or next(_children(pixels, "MetadataOnly"), None) is not None:
        return ""
    for name in SIZES:
        if name not in pixels.attrib:
            return f"does not state its {name}"
    order = pixels.attrib.get("DimensionOrder", "XYCZT")
    if sorted(order) != sorted("XYCZT") or order[:2] != "XY":
        return f"states the order of its dimensions as {_short(order)}, which is none"
    stated = [(pixels, name) for name in SIZES]
    stated += [(channel, "SamplesPerPixel") for channel in _children(pixels, "Channel")]
    for place in _children(pixels, "TiffData"):
        stated += [(place, name) for name in PLACES]
    for item, name in stated:
        value = item.attrib.get(name)
        try:
            int("0" if value is None else value)
        except ValueError:
            return f"states {name} as {_short(value)}, which is no whole number"
    return ""


def _short(text: Any) -> str:
    """A word out of a file, fit for one line."""
    return repr("".join(c for c in str(text) if c.isprintable())[:20])


def _image(item: Any) -> OmeImage | None:
    pixels = next(_children(item, "Pixels"), None)
    if pixels is None:
        return None
    channels = tuple(map(_channel, _children(pixels, "Channel")))
    apart = len(channels) or _whole(pixels, "SizeC", 1)
    planes = _whole(pixels, "SizeZ", 1) * _whole(pixels, "SizeT", 1) * apart
    if next(_children(pixels, "MetadataOnly"), None) is not None:
        planes = 0
    return OmeImage(
        item.attrib.get("Name", ""),
        (_whole(pixels, "SizeX", 0), _whole(pixels, "SizeY", 0)),
        planes,
        _whole(pixels, "SignificantBits", 0),
        _mpp(pixels),
        channels,
    )


def _channel(item: Any) -> OmeChannel:
    named = item.attrib
    colour = None
    if "Color" in named:
        try:
            packed = int(named["Color"]) & 0xFFFFFFFF  # red is the highest byte, alpha the lowest
            colour = (packed >> 24, packed >> 16 & 255, packed >> 8 & 255)
        except ValueError:
            colour = None
    wave = "EmissionWavelength" in named or "ExcitationWavelength" in named
    text = named.get("Name") or named.get("Fluor") or ""
    return OmeChannel(
        text, colour, wave or "Fluor" in named, max(1, _whole(item, "SamplesPerPixel", 1))
    )


def _mpp(pixels: Any) -> Mpp:
    try:
        x, y = (
            number(pixels.attrib[f"PhysicalSize{axis}"])
            * um_of(pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "XY"
        )
    except (KeyError, ValueError):
        return None
    return (x, y) if x > 0 and y > 0 else None


def _whole(item: Any, name: str, default: int) -> int:
    try:
        return int(item.attrib.get(name, default))
    except ValueError:
        return default


def _children(item: Any, name: str) -> Iterator[Any]:
    return (child for child in item if _name(child) == name)


def _name(item: Any) -> str:
    """Name of an element without its namespace."""
    return str(item.tag).rpartition("}")[2]
