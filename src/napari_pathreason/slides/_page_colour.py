"""What the numbers of a TIFF page mean: by compression and photometric interpretation together."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_pathreason.errors import SlideError

from ._channels import Unnamed
from ._colour import Alpha, Colours

REFUSED = {
    4: "a transparency mask",
    5: "printing inks (CMYK)",
    8: "CIELAB colours",
    9: "ICCLAB colours",
    10: "ITULAB colours",
    32803: "raw values of a colour filter array",
    32844: "logarithmic brightness (LogL)",
    32845: "logarithmic colours (LogLuv)",
    34892: "linear raw values",
}
"""Photometric interpretations that are refused, by their number in TIFF."""
JPEG = {7, 33007}
"""Compressions whose decoder turns YCbCr into RGB by itself, where all three lie in one stream;
33007 is what Aperio writes too."""
WHITE_IS_ZERO, BLACK_IS_ZERO, IS_RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
SERVED = {WHITE_IS_ZERO, BLACK_IS_ZERO, IS_RGB, PALETTE, YCBCR}
APERIO_YCBCR, APERIO_RGB = 33003, 33005
"""JPEG 2000 as Aperio packs it: the compression says what the components are, no tag does."""
JPEG_2000 = {34712, 33004, APERIO_YCBCR, APERIO_RGB}


def colours_of_page(page: Any, name: str) -> Colours:
    """Of a tifffile page of one plane; its channels lie in it.

    Raises
    ------
    SlideError
        If its colours are none that are read right, by their name.
    """
    photometric, compression = int(page.photometric), int(page.compression)
    samples = int(page.samplesperpixel)
    if photometric in REFUSED:
        raise SlideError(f"{name} holds {REFUSED[photometric]}; save it as RGB")
    if photometric not in SERVED:
        raise SlideError(
            f"{name} holds colours of a kind that is not known ({photometric}); save it as RGB"
        )
    dtype = np.dtype(page.dtype)
    if dtype.kind not in "buif":
        raise SlideError(f"{name} holds {dtype.name} values, which are no picture; save it as RGB")
    extra = tuple(int(value) for value in page.extrasamples)
    own = 3 if photometric in (IS_RGB, YCBCR) else 1
    if samples < own:
        raise SlideError(f"{name} calls itself RGB but has {samples} channels; save it as RGB")
    alpha: Alpha = "none"
    if samples > own and extra[:1] in ((1,), (2,)):
        alpha = "premultiplied" if extra[0] == 1 else "straight"
    bits = _bits_of(page, dtype)
    if photometric == PALETTE:
        return _palette(page, dtype, name)
    if photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        if samples - (alpha != "none") > 1:
            raise Unnamed(samples, dtype, bits)
        return Colours("grey", dtype, alpha, bits, inverted=photometric == WHITE_IS_ZERO)
    notes: tuple[str, ...] = ()
    if samples > own and alpha == "none":
        notes = (f"only red, green and blue of {samples} channels were read",)
    luma = None
    if compression == APERIO_YCBCR:
        luma = _luma(page)
    elif photometric == YCBCR and (compression not in JPEG or int(page.planarconfig) == 2):
        luma = _luma_unpacked(page, compression, name)
    if luma is not None and dtype != np.uint8:
        raise SlideError(f"{name} holds YCbCr colours of {dtype.name}; save it as RGB of 8 bits")
    return Colours("rgb", dtype, alpha, bits, luma, notes=notes)


def _bits_of(page: Any, dtype: np.dtype[Any]) -> int:
    """Bits that a page says its values use, where they are fewer than those of their type."""
    if dtype.kind != "u":
        return 0
    stated = page.bitspersample
    bits = max(stated) if isinstance(stated, tuple) else int(stated)
    if bits < 8 * dtype.itemsize:
        # those of 565 are widened when they are unpacked
        return 0 if isinstance(stated, tuple) and len({*stated}) > 1 else bits
    if dtype == np.uint8:
        return 0
    most = page.tags.valueof("MaxSampleValue", 0)
    most = max(most) if isinstance(most, tuple) else most
    try:
        top = int(most)
    except (TypeError, ValueError):
        return 0
    return top.bit_length() if top > 255 and top + 1 == 1 << top.bit_length() else 0


def _palette(page: Any, dtype: np.dtype[Any], name: str) -> Colours:
    table = page.colormap
    if table is None or dtype.kind not in "bu":  # two colours take one bit
        raise SlideError(f"{name} names colours of a palette that it lacks; save it as RGB")
    values = np.asarray(table)
    if values.size and values.max() > 255:  # some writers put 8 bits where 16 belong
        values = values >> 8
    return Colours("palette", dtype, table=values.astype(np.uint8).T)


def _luma(page: Any) -> tuple[float, float, float]:
    """Shares of red, green and blue in Y: those of the tag, else of television, as JPEG's."""
    value = page.tags.valueof("YCbCrCoefficients", None)
    try:
        parts = [value[i] / value[i + 1] for i in (0, 2, 4)]
    except (TypeError, IndexError, ZeroDivisionError):
        parts = []
    if len(parts) == 3 and min(parts) > 0 and abs(sum(parts) - 1) < 0.01:
        return parts[0], parts[1], parts[2]
    return 0.299, 0.587, 0.114


def _luma_unpacked(page: Any, compression: int, name: str) -> tuple[float, float, float] | None:
    """Of YCbCr that no JPEG decoder turns into RGB; None where that of JPEG 2000 does."""
    subsampling = page.tags.valueof("YCbCrSubSampling", (2, 2))
    if compression in JPEG_2000:
        return None if _turns_colours(page) else _luma(page)
    if subsampling != (1, 1):
        raise SlideError(
            f"{name} holds YCbCr colours without JPEG or apart, at a lower resolution than "
            "brightness; save it as RGB"
        )
    levels = page.tags.valueof("ReferenceBlackWhite", None)
    if levels is not None:
        try:
            bounds = [levels[i] / levels[i + 1] for i in range(0, 12, 2)]
        except (IndexError, TypeError, ZeroDivisionError):
            bounds = []
        if bounds and not np.allclose(bounds, (0, 255, 128, 255, 128, 255), atol=1.5):
            raise SlideError(f"{name} holds YCbCr colours of a narrow range; save it as RGB")
    return _luma(page)


def _turns_colours(page: Any) -> bool:
    """Whether JPEG 2000 of a page carries its own colour transform, which its decoder undoes."""
    try:
        offset = next(o for o, n in zip(page.dataoffsets, page.databytecounts, strict=True) if n)
        handle = page.parent.filehandle
        handle.seek(offset)
        head = handle.read(512)
    except (StopIteration, OSError, ValueError):
        return False
    at = head.find(b"\xff\x52")
    return bool(at >= 0 and len(head) > at + 8 and head[at + 8] == 1)
