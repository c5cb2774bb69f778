"""Channels that are not red, green and blue: fluorescence, of which the user chooses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_pathreason.errors import SlideError

from ._colour import COLOURS, Channel, Colours, Rgb

PLAIN = {"r", "g", "b", "red", "green", "blue", "rgb", ""}
"""Names of channels that mean nothing but red, green and blue, or nothing at all."""
SHOWN: tuple[Rgb, ...] = tuple(
    COLOURS[name] for name in ("blue", "green", "red", "cyan", "magenta", "yellow")
)
"""Colours of channels that state none, the first where nuclei mostly are."""


class ChannelsError(SlideError):
    """Channels have to be chosen; ``offer`` is a choice that can be shown until the user did."""

    def __init__(self, message: str, offer: str) -> None:
        super().__init__(message)
        self.offer = offer


class Unnamed(Exception):
    """Several channels that are not red, green and blue by the file's own word."""

    def __init__(self, count: int, dtype: np.dtype[Any], bits: int = 0) -> None:
        super().__init__(count)
        self.count, self.dtype, self.bits = count, dtype, bits


def is_fluorescence(
    names: Sequence[str], colours: Sequence[Rgb | None], wavelengths: Sequence[bool]
) -> bool:
    """Whether three channels are something else than red, green and blue, as far as is known."""
    if any(wavelengths) or any(_plain(name) not in PLAIN for name in names):
        return True
    plain = [_plain(name)[:1] for name in names]
    if all(plain) and plain != ["r", "g", "b"]:
        return True
    known = [colour for colour in colours if colour is not None and colour != (255, 255, 255)]
    return bool(known) and known != [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def _plain(name: str) -> str:
    """A channel's name without what programs put around a number."""
    word = name.strip().lower()
    return "" if re.fullmatch(r"(ch|channel|c)?[ _:-]*\d+([ _:-]+\d+)*", word) else word


def channels_named(
    name: str,
    names: Sequence[str],
    dtype: Any,
    wanted: str,
    fluorescent: bool,
    bits: int = 0,
    colours: Sequence[Rgb | None] = (),
) -> Colours:
    """Colours of a picture of single channels, as the user chose them.

    Parameters
    ----------
    name : str
        Of the slide.
    names : sequence of str
        Of its channels, as many as there are; "" where it has none.
    dtype : numpy dtype
    wanted : str
        ``"1=blue,DAPI=#00ffff"``: channels by number or name with their colours; ``"rgb"`` for the
        first three as red, green and blue; empty where the user chose nothing.
    fluorescent : bool
        Whether something speaks against red, green and blue.
    bits : int
        That the values use of their type.
    colours : sequence of (int, int, int) or None
        Of the channels, as the file states them.

    Raises
    ------
    ChannelsError
        If channels have to be chosen.
    SlideError
        If those that were are not there.
    """
    count, kind = len(names), np.dtype(dtype)
    if wanted.strip().lower() == "rgb":
        if count < 3:
            raise SlideError(f"{name} has {count} channels, too few for RGB; choose among them")
        return Colours("rgb", kind, bits=bits, notes=("the first three channels were read as RGB",))
    if wanted.strip():
        return Colours("channels", kind, channels=_chosen(name, names, wanted))
    if count == 1:
        return Colours("grey", kind, bits=bits)
    if count == 3 and not fluorescent:
        if all(_plain(one) for one in names):
            return Colours("rgb", kind, bits=bits)
        listing = "three channels without names were read as red, green and blue"
        return Colours("rgb", kind, bits=bits, notes=(listing,))
    listing = ", ".join(f"{i} {one}".strip() for i, one in enumerate(names[:12], 1))
    raise ChannelsError(
        f"{name} has {count} channels ({listing}), not RGB; choose channels and colours, as in "
        '--channels "1=blue,2=green" or Channels of the Ask dock; rgb takes the first three',
        _offer(names, colours),
    )


def _offer(names: Sequence[str], colours: Sequence[Rgb | None]) -> str:
    """A choice of the first channels in their own colours, else in those of `SHOWN`."""
    offered = []
    for index, default in enumerate(SHOWN[: len(names)]):
        own = colours[index] if index < len(colours) else None
        colour = default if own is None or own == COLOURS["white"] else own
        offered.append(str(Channel(index, names[index], colour)))
    return ",".join(offered)


def _chosen(name: str, names: Sequence[str], wanted: str) -> tuple[Channel, ...]:
    lower = [one.strip().lower() for one in names]
    chosen = []
    for part in wanted.split(","):
        which, _, colour = (word.strip().lower() for word in part.rpartition("="))
        if not which:
            which, colour = colour, "grey"
        if which.isdigit() and 1 <= int(which) <= len(names):
            index = int(which) - 1
        elif which in lower:
            index = lower.index(which)
        else:
            there = ", ".join(f"{i} {one}".strip() for i, one in enumerate(names[:12], 1))
            raise SlideError(f"{name} has no channel {which!r}; it has {there}")
        chosen.append(Channel(index, names[index], _rgb(colour)))
    return tuple(chosen)


def _rgb(text: str) -> Rgb:
    if text in COLOURS:
        return COLOURS[text]
    if re.fullmatch(r"#[0-9a-f]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    raise SlideError(f"{text!r} is no colour; give {', '.join(list(COLOURS)[:3])} or #rrggbb")
