"""Picture sizes that fill whole visual tokens, as Qwen's processors compute them."""

from __future__ import annotations

import math


def smart_resize(
    height: int, width: int, token_px: int, min_pixels: int, max_pixels: int
) -> tuple[int, int]:
    """Size nearest to (height, width) whose sides are multiples of ``token_px``.

    Equal to the processors of Qwen2-VL and its successors wherever their result keeps
    ``height * width <= max_pixels`` and no side is below one cell; where they break one of the
    two (regions thinner than a cell at the target scale), the thin side is one cell and the long
    side shrinks until the budget holds.

    Parameters
    ----------
    height, width : int
        Pixels, both above zero.
    token_px : int
        Side of a visual token: 28 (Qwen2.5-VL) or 32 (Qwen3-VL).
    min_pixels, max_pixels : int
        Bounds of the area; ``max_pixels`` is the token budget times ``token_px ** 2``.

    Returns
    -------
    tuple of int
        (height, width) in pixels.
    """
    h, w = round(height / token_px) * token_px, round(width / token_px) * token_px
    if h * w > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        h = max(token_px, math.floor(height / beta / token_px) * token_px)
        w = max(token_px, math.floor(width / beta / token_px) * token_px)
    elif h * w < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        h = math.ceil(height * beta / token_px) * token_px
        w = math.ceil(width * beta / token_px) * token_px
    h, w = max(token_px, h), max(token_px, w)
    if h * w > max_pixels:
        cells = max_pixels // (token_px * token_px)
        if h >= w:
            h = max(1, cells // (w // token_px)) * token_px
        else:
            w = max(1, cells // (h // token_px)) * token_px
    return h, w
