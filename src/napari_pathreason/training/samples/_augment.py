"""Changes that keep a label true: turns and flips, stain, levels, and sharpness."""

from __future__ import annotations

from random import Random
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from napari_pathreason.tasks import PLACES

from ._sample import Corners

T = TypeVar("T", bound=np.generic)

Turn = tuple[int, bool]
"""Quarter turns anticlockwise (0 to 3), then a flip from left to right or not."""

STAY: Turn = (0, False)


def draw_turn(rng: Random) -> Turn:
    """One of the eight symmetries of a square."""
    return rng.randrange(4), rng.random() < 0.5


def turn_array(array: NDArray[T], turn: Turn) -> NDArray[T]:
    """Turn an array (height, width, ...) in its first two axes."""
    turned = np.rot90(array, turn[0])
    return np.ascontiguousarray(turned[:, ::-1] if turn[1] else turned)


def turn_corners(corners: Corners, turn: Turn) -> Corners:
    """Turn a box given in shares of width and height (0 to 1)."""
    x1, y1, x2, y2 = corners
    for _ in range(turn[0]):
        x1, y1, x2, y2 = y1, 1 - x2, y2, 1 - x1
    return (1 - x2, y1, 1 - x1, y2) if turn[1] else (x1, y1, x2, y2)


def turn_place(answer: str, turn: Turn) -> str:
    """Turn an answer that names a place; any other answer stays."""
    if answer not in PLACES:
        return answer
    where = np.arange(9).reshape(3, 3) == PLACES.index(answer)
    return PLACES[int(turn_array(where, turn).argmax())]


def stain(pixels: NDArray[np.uint8], strength: float, rng: Random) -> NDArray[np.uint8]:
    """Scale and shift each channel in optical density, -log((v + 1) / 256).

    Parameters
    ----------
    pixels : uint8 array (height, width, 3)
    strength : float
        Standard deviation of the scale around 1; the shift has a quarter of it.
    rng : Random
    """
    if strength <= 0:
        return pixels
    shared = rng.gauss(0, strength)
    scale = np.array([1 + shared + rng.gauss(0, strength / 2) for _ in range(3)], np.float32)
    shift = np.array([rng.gauss(0, strength / 4) for _ in range(3)], np.float32)
    old = np.arange(256, dtype=np.float32)[:, None]
    new = 256 * np.exp(np.log((old + 1) / 256) * np.maximum(scale, 0.3) - shift) - 1
    return _looked_up(pixels, new)


DARKEST, BRIGHTEST = (0.0, 90.0), (200.0, 255.0)
"""Ranges that `levels` draws the darkest and the brightest grey value of a picture from."""

LEAST_CONTRAST = 60
"""Grey values between darkest and brightest; what has fewer, as glass alone, is stretched less."""


def levels(pixels: NDArray[np.uint8], rng: Random) -> NDArray[np.uint8]:
    """Stretch a picture on the way to other levels: white glass and dark nuclei, or dim ones.

    Scanners white-balance and stretch their pictures, cameras often do not; a set of pictures
    knows one kind.

    Parameters
    ----------
    pixels : uint8 array (height, width, 3)
    rng : Random
    """
    black, white, part = rng.uniform(*DARKEST), rng.uniform(*BRIGHTEST), rng.random()
    few = pixels[::4, ::4].reshape(-1, 3)
    low, high = np.percentile(few, 1), np.percentile(few, 99, axis=0)  # white is of each channel
    old = np.arange(256)[:, None]
    wanted = white + (old - high) * (white - black) / np.maximum(high - low, LEAST_CONTRAST)
    return _looked_up(pixels, old + part * (wanted - old))


SCALES = (0.5, 2.0)
"""Range of the deviation of the blur, in pixels as read."""

SHARPEST = 3.0
"""Times that the detail below the blur's scale is added, at the most."""


def sharpness(pixels: NDArray[np.uint8], rng: Random) -> NDArray[np.uint8]:
    """Blur a picture, or sharpen its edges by an unsharp mask, each as often as the other.

    Scanners sharpen what they write, cameras that oversample write blurred pictures; a model that
    knows one kind takes the edges of the other for nuclei.

    Parameters
    ----------
    pixels : uint8 array (height, width, 3)
    rng : Random
    """
    scale = rng.uniform(*SCALES)
    if rng.random() < 0.5:
        change: ImageFilter.Filter = ImageFilter.GaussianBlur(scale)
    else:
        percent = round(100 * rng.uniform(0, SHARPEST))
        change = ImageFilter.UnsharpMask(scale, percent, threshold=0)
    return np.asarray(Image.fromarray(pixels).filter(change))


def _looked_up(pixels: NDArray[np.uint8], new: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A picture whose value v of channel c becomes ``new[v, c]``."""
    table = np.minimum(np.maximum(np.rint(new), 0), 255).astype(np.uint8)
    return np.stack([table[pixels[..., c], c] for c in range(3)], axis=-1)
