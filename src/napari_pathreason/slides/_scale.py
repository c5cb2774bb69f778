"""Micrometres per pixel: decided in one place, with its reason, and never guessed.

The user's value goes first, then what the maker of the scanner wrote, then OME or NGFF, then the
resolution tags of TIFF. Of what a file states, nothing is believed outside the range in which
microscopes work, and no resolution that programs write when they know none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

from napari_pathreason.errors import SlideError

from . import _limits as limits

Mpp = tuple[float, float] | None
"""(x, y) in micrometres per level-0 pixel, None where unknown."""

PLAUSIBLE = (0.05, 50.0)
"""um per pixel: oil immersion with a small camera, and an overview taken with a macro lens."""

OBLONG = 2.0
"""Times that a pixel may be longer than it is wide; a line scanner's may differ by some percent."""

DEFAULT_DPI = (
    *(508, 600, 720, 800, 1000, 1016, 1200, 1440, 1600, 2000, 2400, 2880, 3000, 3200, 3600),
    *(4000, 4800, 5000, 5400, 6400, 7200, 9600),
)
"""Dots per inch that programs and office scanners write, knowing nothing of the specimen.

Fewer dots are outside the range anyway.
"""

SAME = 0.02
"""Two statements within so much of each other are one."""

Where = Literal["vendor", "OME", "TIFF"]
ORDER: tuple[Where, ...] = ("vendor", "OME", "TIFF")
NAMES = {
    "vendor": "the scanner's metadata state",
    "OME": "its OME metadata state",
    "TIFF": "its resolution tags state",
}


@dataclass(frozen=True, slots=True)
class Stated:
    """What one part of a file says of the size of a level-0 pixel, in um (x, y)."""

    where: Where
    mpp: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """The decision: the scale, who said so, and what a reader of results must know of it."""

    mpp: Mpp
    source: Literal["file", "user", "unknown"]
    notes: tuple[str, ...] = ()


def decide_scale(user: Mpp, stated: Sequence[Stated]) -> Scale:
    """Choose the size of a level-0 pixel among what is said of it.

    Parameters
    ----------
    user : (float, float) or None
        From the user, which always wins, see `checked_mpp`.
    stated : sequence of Stated
        By the file, in any order.
    """
    notes: list[str] = []
    believed: Stated | None = None
    for one in sorted(stated, key=lambda one: ORDER.index(one.where)):
        if not all(math.isfinite(value) and value > 0 for value in one.mpp):
            continue  # nothing was said
        if not _plausible(one.mpp):
            if believed is not None or user is not None:
                continue
            if _in_range(one.mpp):
                notes.append(
                    f"{NAMES[one.where]} {_words(one.mpp)} µm per pixel, which are no pixels of a "
                    "microscope; it was not believed"
                )
            else:
                low, high = PLAUSIBLE
                notes.append(
                    f"{NAMES[one.where]} {_words(one.mpp)} µm per pixel, outside {low:g} to "
                    f"{high:g}, which was not believed"
                )
        elif one.where == "TIFF" and _is_default(one.mpp):
            if believed is None and user is None:
                notes.append(
                    f"{NAMES[one.where]} {_words(one.mpp)} µm per pixel, which programs write that "
                    "do not know it; it was not believed"
                )
        elif believed is None:
            believed = one
        elif not _same(believed.mpp, one.mpp) and user is None:
            notes.append(
                f"{NAMES[one.where]} {_words(one.mpp)} µm per pixel, but {NAMES[believed.where]} "
                f"{_words(believed.mpp)}, which was taken"
            )
    if user is not None:
        other = believed or next(iter(stated), None)
        if (
            other is not None
            and not _same(other.mpp, user)
            and not (other.where == "TIFF" and _is_default(other.mpp))
        ):
            notes = [
                f"{_words(user)} µm per pixel were given, but {NAMES[other.where]} "
                f"{_words(other.mpp)}; what was given was taken"
            ]
        return Scale(user, "user", tuple(notes))
    if believed is None:
        return Scale(None, "unknown", tuple(notes))
    return Scale(believed.mpp, "file", tuple(notes))


def layer_scale(mpp: tuple[float, float]) -> Mpp:
    """Scale of a layer that someone else has placed, where it can be believed; else None."""
    return mpp if all(map(math.isfinite, mpp)) and _plausible(mpp) else None


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


def number(text: Any) -> float:
    """A number as a file writes it, with a point or, in some countries, a comma.

    Raises
    ------
    ValueError
        If it is none.
    """
    if isinstance(text, str):
        text = text.strip()
        if "," in text and "." not in text:
            text = text.replace(",", ".", 1)
    return float(text)


def um_of(unit: Any) -> float:
    """Micrometres of a unit of length as OME-XML, NGFF, ImageJ or people name it.

    Raises
    ------
    KeyError
        If it is no unit of length.
    """
    text = str(unit).strip().replace("\\u00B5", "µ").replace("\N{GREEK SMALL LETTER MU}", "µ")
    if text in _SYMBOLS:
        return _SYMBOLS[text]
    word = text.lower()
    word = word.replace("metre", "meter")
    return _WORDS[word] if word in _WORDS else _WORDS[word.removesuffix("s")]


_PREFIXES = {
    **{"yotta": ("Y", 24), "zetta": ("Z", 21), "exa": ("E", 18), "peta": ("P", 15)},
    **{"tera": ("T", 12), "giga": ("G", 9), "mega": ("M", 6), "kilo": ("k", 3)},
    **{"hecto": ("h", 2), "deca": ("da", 1), "": ("", 0), "deci": ("d", -1)},
    **{"centi": ("c", -2), "milli": ("m", -3), "micro": ("µ", -6), "nano": ("n", -9)},
    **{"pico": ("p", -12), "femto": ("f", -15), "atto": ("a", -18), "zepto": ("z", -21)},
    **{"yocto": ("y", -24)},
}
_SYMBOLS = {f"{symbol}m": 10.0 ** (power + 6) for symbol, power in _PREFIXES.values()}
_SYMBOLS |= {"um": 1.0, "Å": 1e-4, "\N{ANGSTROM SIGN}": 1e-4, "in": 25400.0, "thou": 25.4}
_SYMBOLS |= {"li": 25400.0 / 12, "ft": 304_800.0, "yd": 914_400.0, "mi": 1.609344e9, '"': 25400.0}
_SYMBOLS |= {"ua": 1.495978707e17, "ly": 9.4607304725808e21, "pc": 3.0856775814913673e22}
_SYMBOLS |= {"pt": 25400.0 / 72}
_WORDS = {f"{prefix}meter": 10.0 ** (power + 6) for prefix, (_, power) in _PREFIXES.items()}
_WORDS |= {"micron": 1.0, "um": 1.0, "angstrom": 1e-4, "inch": 25400.0, "inche": 25400.0}
_WORDS |= {"foot": 304_800.0, "feet": 304_800.0, "yard": 914_400.0, "mile": 1.609344e9}
_WORDS |= {"parsec": 3.0856775814913673e22, "dekameter": 1e7}


def mpp_of_tiffslide(slide: Any) -> Mpp:
    """Scale that a maker's metadata state, as tiffslide reads them; None if they state none."""
    if "generic" in str(slide.properties.get("tiffslide.vendor", "generic")):
        return None
    try:
        x, y = (number(slide.properties[f"tiffslide.mpp-{axis}"]) for axis in "xy")
    except (KeyError, TypeError, ValueError):
        return None
    return x, y


def mpp_of_leica(description: str, size: tuple[int, int]) -> Mpp:
    """Scale that the description of an SCN states for its picture of a size; None if none.

    Each picture has a view of the glass, in nm.
    """
    if len(description) > limits.XML:
        return None
    try:
        root = ElementTree.fromstring(description)
    except (ElementTree.ParseError, ValueError):
        return None
    for image in (item for item in root.iter() if _named(item) == "image"):
        parts = {_named(item): item.attrib for item in image.iter()}
        try:
            pixels = tuple(int(parts["pixels"][f"size{axis}"]) for axis in "XY")
            view = tuple(number(parts["view"][f"size{axis}"]) for axis in "XY")
        except (KeyError, ValueError):
            continue
        if pixels == size:
            return view[0] / size[0] / 1000, view[1] / size[1] / 1000
    return None


def _named(item: Any) -> str:
    """Name of an element without its namespace."""
    return str(item.tag).rpartition("}")[2]


def mpp_of_aperio(description: str) -> Mpp:
    """Scale that the description of an SVS states; None if it states none."""
    items = (item.partition("=") for item in description.split("|"))
    about = {key.strip(): value.strip() for key, _, value in items}
    try:
        value = number(about["MPP"])
    except (KeyError, ValueError):
        return None
    return value, value


def mpp_of_tags(page: Any) -> Mpp:
    """Scale of the resolution tags of a tifffile page; None where there are none.

    The unit stands in the tag, and for ImageJ in the description.
    """
    unit = _unit_of_tag(page.tags.valueof("ResolutionUnit", 2))
    about = str(page.description)
    if about.startswith("ImageJ="):
        lines = (line.partition("=") for line in about.splitlines())
        named = {key.strip(): value.strip() for key, _, value in lines}.get("unit")
        if named is not None:
            try:
                unit = um_of(named)
            except KeyError:
                return None  # pixels, or a unit of time
    sizes = []
    for name in ("XResolution", "YResolution"):
        value = page.tags.valueof(name, None)
        try:
            above, below = value
            sizes.append(unit * below / above)
        except (TypeError, ValueError, ZeroDivisionError):
            return None
    return (sizes[0], sizes[1]) if unit else None


def _unit_of_tag(value: Any) -> float:
    """Micrometres of the unit of a resolution tag; 0 where it is none, whatever stands there."""
    return {2: 25400.0, 3: 10_000.0}.get(value, 0.0) if isinstance(value, int) else 0.0


def _plausible(mpp: tuple[float, float]) -> bool:
    return _in_range(mpp) and max(mpp) <= OBLONG * min(mpp)


def _in_range(mpp: tuple[float, float]) -> bool:
    low, high = PLAUSIBLE
    return all(low <= value <= high for value in mpp)


def _is_default(mpp: tuple[float, float]) -> bool:
    """Whether a program wrote it that knew no better: the same whole dpi across and down."""
    return any(
        all(math.isclose(value, 25400 / dpi, rel_tol=2e-3) for value in mpp) for dpi in DEFAULT_DPI
    )


def _same(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, rel_tol=SAME) for a, b in zip(one, other, strict=True))


def _words(mpp: tuple[float, float]) -> str:
    x, y = mpp
    return f"{x:.4g}" if math.isclose(x, y, rel_tol=1e-3) else f"{x:.4g} x {y:.4g}"
