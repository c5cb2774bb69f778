"""What the numbers of a picture mean: decided from what a file says, or refused by its name.

`Colours` turns decoded values into 8-bit RGB. It is made from the tags of a TIFF page
(`_page_colour`), from channels that the user chooses (`_channels`), or from the shape of an array,
whose fourth channel is alpha only where its owner says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Alpha = Literal["none", "straight", "premultiplied"]
Kind = Literal["rgb", "grey", "palette", "channels"]
Rgb = tuple[int, int, int]

COLOURS: dict[str, Rgb] = {
    **{"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "grey": (255, 255, 255)},
    **{"white": (255, 255, 255), "cyan": (0, 255, 255), "magenta": (255, 0, 255)},
    **{"yellow": (255, 255, 0), "orange": (255, 128, 0), "gray": (255, 255, 255)},
}
"""Names of colours that a channel can be given; others are #rrggbb."""

BITS = (8, 10, 12, 14, 16)
"""Bits of cameras whose values lie in more; the glass around bright tissue nearly fills them."""

DARK, BRIGHT = 64, 191
"""Of 255: more of a single channel below the first than above the second is fluorescence."""

HOT = 1e-3
"""Share of values above what the bits of a file can hold, up to which it is a camera's fault."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that is shown: its index from 0, its name, its colour."""

    index: int
    name: str
    colour: Rgb

    def __str__(self) -> str:
        known = {value: name for name, value in reversed(COLOURS.items())}
        colour = known.get(self.colour) or "#{:02x}{:02x}{:02x}".format(*self.colour)
        return f"{self.index + 1}={colour}"


@dataclass(frozen=True, slots=True)
class Range:
    """Values that become 0 and 255, one pair for all channels or one for each.

    ``opaque`` is the alpha that hides all; None for the largest of its type.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    opaque: float | None = None


@dataclass(frozen=True, slots=True)
class Colours:
    """How decoded values (height, width, channels) become RGB.

    Parameters
    ----------
    kind : {"rgb", "grey", "palette", "channels"}
    dtype : numpy dtype
        Of the values.
    alpha : {"none", "straight", "premultiplied"}
        Of the channel after the colours.
    bits : int
        That the values use of their type; 0 where the file does not say.
    luma : (float, float, float), optional
        Shares of red, green and blue in Y, where the values are Y, Cb, Cr.
    inverted : bool
        0 is white.
    table : uint8 array (n, 3), optional
        Colours of a palette.
    channels : tuple of Channel
        Of fluorescence, that are laid over each other.
    notes : tuple of str
        What a reader of results must know.
    """

    kind: Kind
    dtype: np.dtype[Any]
    alpha: Alpha = "none"
    bits: int = 0
    luma: tuple[float, float, float] | None = None
    inverted: bool = False
    table: NDArray[np.uint8] | None = None
    channels: tuple[Channel, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def background(self) -> int:
        """Value, 0 to 255, of what is left out: fluorescence lies on black, all else on white.

        Of a single channel `Look.ground` tells.
        """
        return 0 if self.kind == "channels" else 255

    @property
    def needs_range(self) -> bool:
        """Whether pixels must be looked at before any can be turned into 8 bits."""
        if self.kind == "channels":
            return True
        return self.kind != "palette" and (self.dtype != np.uint8 or self._is_narrow)

    @property
    def needs_look(self) -> bool:
        """Whether pixels must be looked at before it is known what they mean, see `settled`."""
        return self.needs_range or self.alpha != "none"

    @property
    def _is_narrow(self) -> bool:
        """Whether values fill less than 8 bits: of one bit, or of those that the file states."""
        return self.dtype == np.bool_ or 0 < self.bits < 8

    def all_notes(self) -> tuple[str, ...]:
        """Notes, and what was done to the values."""
        notes = list(self.notes)
        if self.kind == "channels":
            shown = ", ".join(
                f"{one.name or f'channel {one.index + 1}'} in {str(one).partition('=')[2]}"
                for one in self.channels
            )
            notes.append(f"the picture was composed of single channels: {shown}")
        elif self.needs_range:
            held = f"{self.bits}-bit" if self.dtype == np.uint8 else self.dtype.name
            notes.append(f"{held} pixels were stretched to 8 bits for the model")
        if self.kind == "grey":
            notes.append("a single channel was read as grey; the model was trained on RGB")
        return tuple(notes)

    def settled(self, values: NDArray[Any]) -> Colours:
        """The same, but for an alpha that hides a whole picture, which nobody means.

        Programs leave a fourth channel empty and call it alpha. Where nothing but one colour lies
        below it, it may be meant.

        Parameters
        ----------
        values : array (height, width, channels)
            Of a coarse level.
        """
        if self.alpha == "none":
            return self
        count = 3 if self.kind == "rgb" else 1
        colours, alpha = values[..., :count], values[..., count]
        is_blank = (colours == colours[:1, :1]).all()
        if not alpha.size or np.any(alpha > 0) or is_blank:
            return self
        note = "its alpha hides all of the picture, which was read as if it had none"
        return replace(self, alpha="none", notes=(*self.notes, note))

    def range_of(self, values: NDArray[Any]) -> Range:
        """What becomes 0 and 255, from the values (height, width, channels) of a coarse level."""
        if self.kind == "channels":
            pairs = [_percentiles(values[..., one.index]) for one in self.channels]
            low, high = zip(*pairs, strict=True)
            return Range(np.array(low, np.float32), np.array(high, np.float32))
        count = {"rgb": 3, "grey": 1, "palette": 1}[self.kind]
        colours = values[..., :count]
        known = self.kind == "rgb" or self._is_narrow
        limit = self._full(colours) if known else None
        bounds = (0.0, limit) if limit is not None else _percentiles(colours)
        opaque = self._opaque(values[..., count]) if self.alpha != "none" else None
        black, white = (np.array([bound], np.float32) for bound in bounds)
        return Range(black, white, opaque)

    def _full(self, values: NDArray[Any]) -> float | None:
        """Value of white where it is known: the type's or the camera's; else None."""
        if self.dtype == np.bool_:
            return 1.0
        finite = values[np.isfinite(values)]
        if not finite.size or finite.min() < 0:
            return None
        brightest = float(finite.max())
        stated = self._stated_top()
        if stated is not None and float((finite > stated).mean()) <= HOT:
            return stated
        return next((top for top in self._tops() if 0.7 * top < brightest <= top), None)

    def _tops(self) -> list[float]:
        """What white may be: of a camera, of the type, and of pictures that became floats."""
        if self.dtype.kind == "f":
            return [1.0, 255.0, 65535.0]
        most = int(np.iinfo(self.dtype).max)
        return sorted(
            {float(top) for top in (*(2**bits - 1 for bits in BITS), most) if top <= most}
        )

    def _stated_top(self) -> float | None:
        """White by the bits that the file states; None where it states none."""
        return float(2**self.bits - 1) if self.bits and self.dtype.kind == "u" else None

    def _opaque(self, alpha: NDArray[Any]) -> float | None:
        """Alpha that hides all: where the colours fill a part of their type, it does too."""
        finite = alpha[np.isfinite(alpha)]
        most = float(finite.max(initial=0))
        stated = self._stated_top()
        if stated is not None and float((finite > stated).mean()) <= HOT:
            return stated
        return next((top for top in self._tops() if most and most <= top), None)

    def to_rgb(self, values: NDArray[Any], bounds: Range | None) -> NDArray[np.uint8]:
        """RGB, uint8 (height, width, 3), of values (height, width, channels)."""
        if self.kind == "palette":
            assert self.table is not None  # it is made with the kind
            indices = np.minimum(values[..., 0].astype(np.intp), len(self.table) - 1)
            looked_up: NDArray[np.uint8] = self.table[indices]
            return looked_up
        if self.kind == "channels":
            return self._composed(values, bounds)
        count = 3 if self.kind == "rgb" else 1
        alpha = values[..., count] if self.alpha != "none" else None
        colours = values[..., :count]
        if self.luma is not None:
            colours = _rgb_of_ycbcr(colours, self.luma)
        if colours.dtype != np.uint8 or bounds is not None:
            colours = _scaled(colours, bounds)
        if self.inverted and self.alpha != "premultiplied":
            colours = 255 - colours
        if alpha is not None:
            opaque = None if bounds is None else bounds.opaque
            opacity = self._opacity(alpha, opaque)
            if self.inverted and self.alpha == "premultiplied":  # the ink is what was multiplied
                colours = 255 - np.minimum(colours, opacity.astype(np.uint8))
            else:
                colours = _over_white(colours, opacity, self.alpha == "premultiplied")
        if count == 1:
            colours = np.repeat(colours, 3, axis=2)
        elif values.dtype.kind == "f" and (nothing := np.isnan(values[..., :3]).all(axis=2)).any():
            colours[nothing] = self.background  # no numbers stand where nothing was scanned
        return np.ascontiguousarray(colours)

    def _opacity(self, alpha: NDArray[Any], opaque: float | None) -> NDArray[np.uint16]:
        """Alpha as 0 to 255."""
        if alpha.dtype == np.uint8 and opaque is None:
            return alpha[..., None].astype(np.uint16)
        top = opaque
        if top is None:
            top = 1.0 if alpha.dtype.kind in "bf" else float(np.iinfo(alpha.dtype).max)
        part = np.clip(np.nan_to_num(alpha.astype(np.float32)) / top, 0, 1)
        opacity: NDArray[np.uint16] = np.rint(part[..., None] * 255).astype(np.uint16)
        return opacity

    def _composed(self, values: NDArray[Any], bounds: Range | None) -> NDArray[np.uint8]:
        total = np.zeros((*values.shape[:2], 3), np.float32)
        for number, one in enumerate(self.channels):
            each = None if bounds is None else Range(bounds.low[number:], bounds.high[number:])
            part = _scaled(values[..., one.index : one.index + 1], each, rounded=False)
            total += part * (np.array(one.colour, np.float32) / 255)
        return np.clip(np.rint(total), 0, 255).astype(np.uint8)


def _scaled(values: NDArray[Any], bounds: Range | None, rounded: bool = True) -> NDArray[Any]:
    low, high = (0.0, 255.0) if bounds is None else (float(bounds.low[0]), float(bounds.high[0]))
    finite = np.nan_to_num(values.astype(np.float32), nan=low, posinf=high, neginf=low)
    scaled = np.clip((finite - low) * (255.0 / (high - low)), 0, 255)
    whole: NDArray[Any] = np.rint(scaled).astype(np.uint8) if rounded else scaled
    return whole


def _percentiles(values: NDArray[Any]) -> tuple[float, float]:
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite.astype(np.float64), (0.1, 99.9)))
    return low, high if high > low else low + 1.0


def _over_white(
    colours: NDArray[np.uint8], opacity: NDArray[np.uint16], premultiplied: bool
) -> NDArray[np.uint8]:
    """Colours (..., n) laid over white; premultiplied ones hold their share already."""
    own = colours.astype(np.uint16)
    own = own * 255 if premultiplied else own * opacity
    mixed = (own + 255 * (255 - opacity) + 127) // 255
    laid: NDArray[np.uint8] = np.minimum(mixed, 255).astype(np.uint8)
    return laid


def _rgb_of_ycbcr(values: NDArray[Any], luma: tuple[float, float, float]) -> NDArray[np.uint8]:
    """RGB of full-range Y, Cb, Cr, uint8 (..., 3)."""
    red, green, blue = luma
    y, cb, cr = (values[..., index].astype(np.float32) for index in range(3))
    r = y + (2 - 2 * red) * (cr - 128)
    b = y + (2 - 2 * blue) * (cb - 128)
    g = (y - red * r - blue * b) / green
    turned: NDArray[np.uint8] = np.clip(np.rint(np.stack([r, g, b], axis=-1)), 0, 255).astype(
        np.uint8
    )
    return turned


def colours_of_array(shape: Sequence[int], dtype: Any) -> Colours:
    """Of an array whose owner calls it a picture: (H, W) or (H, W, 1) grey, RGB, or RGBA."""
    channels = shape[2] if len(shape) == 3 else 1
    return Colours(
        "rgb" if channels >= 3 else "grey",
        np.dtype(dtype),
        "straight" if channels == 4 else "none",
    )


class Look:
    """What the numbers of a slide mean, settled at the first read, of whatever thread.

    Parameters
    ----------
    colours : Colours
        As far as the file tells.
    """

    def __init__(self, colours: Colours) -> None:
        self.colours = colours
        self._range: Range | None = None
        self._ground: int | None = None if colours.kind == "grey" else colours.background
        self._lock, self._is_done = Lock(), not colours.needs_look

    def range_of(self, sample: Callable[[], NDArray[Any]]) -> Range | None:
        """What becomes 0 and 255; None where the type says it.

        Parameters
        ----------
        sample : callable
            Gives values (height, width, channels) of a coarse level; called once.
        """
        if self._is_done:
            return self._range
        with self._lock:
            if not self._is_done:
                values = sample()
                self.colours = self.colours.settled(values)
                if self.colours.needs_range:
                    self._range = self.colours.range_of(values)
                self._is_done = True
        return self._range

    def ground(self, sample: Callable[[], NDArray[Any]]) -> int:
        """Value, 0 to 255, of what is left out; see `range_of`.

        A single channel may be of either kind: where more of what was written is dark than bright,
        it is fluorescence, and the ground is black; else it is glass.
        """
        bounds = self.range_of(sample)
        if self._ground is None:
            grey = self.colours.to_rgb(sample(), bounds)[..., 0]
            is_even = grey.min() == grey.max()  # also where nothing could be read
            is_dark = (grey < DARK).sum() > (grey > BRIGHT).sum()
            self._ground = 0 if is_dark and not is_even else 255
        return self._ground


def with_bits(colours: Colours, bits: int) -> Colours:
    """Take over the bits that other metadata state, where they are fewer than the type's."""
    if not bits or bits >= 8 * colours.dtype.itemsize or colours.dtype.kind != "u":
        return colours
    return replace(colours, bits=bits)
