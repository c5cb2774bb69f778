"""From a budget of visual tokens to a picture's size, and what an answer at it costs.

Arithmetic alone, without an array library: a budget is read from what a user wrote, snapped to the
budget grid where a model wrote a number, turned into the exact size that will be read, and counted
in FLOPs. Sizes are those of Qwen's processors, so that nothing is resized twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import QueryError, RegionError
from .geometry import Region
from .types import Budget, ModelDims, View

BUDGET_GRID: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Visual tokens of each budget; native size stands above them."""
DIGITS = 12
"""Of a budget, at most: Python takes numbers of thousands of digits for an error of its own."""


def parse_budget(text: str | int) -> Budget:
    """Read a budget from user input: ``auto``, ``native`` or a whole number of tokens.

    Raises
    ------
    QueryError
        If it is none of these.
    """
    word = str(text).strip().lower()
    if word == "auto":
        return "auto"
    if word == "native":
        return "native"
    if word.isdecimal() and len(word) <= DIGITS and int(word) > 0:
        return int(word)
    raise QueryError(
        f"the budget {word[:40]!r} is not understood; give auto, native or a number of visual "
        f"tokens such as {', '.join(map(str, BUDGET_GRID))}"
    )


def snap(number: int, native: int) -> int | None:
    """Budget for a number of visual tokens: the highest of the grid that is not above it.

    Below the grid it is its lowest budget; from ``native`` up, or where the budget reads no less,
    it is native size.

    Parameters
    ----------
    number : int
        Visual tokens that were asked for.
    native : int
        Visual tokens of the region at native size.

    Returns
    -------
    int or None
        One of `BUDGET_GRID`; None for native size.
    """
    budget = max((budget for budget in BUDGET_GRID if budget <= number), default=BUDGET_GRID[0])
    return None if number >= native or budget >= native else budget


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What will be read, known before any cost is spent.

    Parameters
    ----------
    requested : int or None
        Budget in visual tokens; None for native size.
    size : tuple of int
        (width, height) of the picture in pixels.
    grid : tuple of int
        (columns, rows) of visual tokens.
    native : int
        Tokens of the same region at native size.
    """

    requested: int | None
    size: tuple[int, int]
    grid: tuple[int, int]
    native: int

    @property
    def tokens(self) -> int:
        """Realised visual tokens."""
        return self.grid[0] * self.grid[1]


def native_tokens(region: Region, token_px: int) -> int:
    """Visual tokens of a region read at level 0."""
    return max(1, round(region.width / token_px)) * max(1, round(region.height / token_px))


def plan(region: Region, budget: int | None, token_px: int) -> ReadPlan:
    """Turn a budget into a picture size; never enlarges beyond native size.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    budget : int or None
        Most visual tokens to spend; None for native size.
    token_px : int
        Side of a visual token in pixels.

    Raises
    ------
    RegionError
        If a side of the region is below one token.
    """
    if min(region.width, region.height) < token_px:
        raise RegionError(
            f"the region is {region.width} x {region.height} px, thinner than one visual token "
            f"({token_px} px); mark a larger one"
        )
    native = native_tokens(region, token_px)
    most = native if budget is None else min(budget, native)
    height, width = smart_resize(
        region.height, region.width, token_px, 0, most * token_px * token_px
    )
    return ReadPlan(budget, (width, height), (width // token_px, height // token_px), native)


def budget_of(view: View) -> int:
    """The least budget that gives a region just this view.

    Sides are whole tokens, so a view of a budget often has fewer tokens than that; read at those it
    would come out smaller still.

    Parameters
    ----------
    view : View
        Of some size; one that is not planned yet has none.
    """
    token_px = token_px_of(view)
    native = native_tokens(view.region, token_px)
    for budget in range(view.tokens, native + 1):
        if plan(view.region, budget, token_px).size == view.size:
            return budget
    return view.tokens


def token_px_of(view: View) -> int:
    """Side of a visual token in pixels of a view's picture."""
    return math.isqrt(view.size[0] * view.size[1] // max(view.tokens, 1))


def smart_resize(
    height: int, width: int, token_px: int, min_pixels: int, max_pixels: int
) -> tuple[int, int]:
    """Size nearest to (height, width) whose sides are multiples of ``token_px``.

    Equal to the processors of Qwen2-VL and its successors wherever their result keeps
    ``height * width <= max_pixels`` and no side is below one token; where they break one of
    the two (regions thinner than a token at the target scale), the thin side is one token and the
    long side shrinks until the budget holds.

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
        tokens = max_pixels // (token_px * token_px)
        if h >= w:
            h = max(1, tokens // (w // token_px)) * token_px
        else:
            w = max(1, tokens // (h // token_px)) * token_px
    return h, w


def flops(dims: ModelDims, visual_tokens: int, text_tokens: int, new_tokens: int) -> float:
    """FLOPs of encoder, prefill and decode for one picture and one answer.

    A multiply-add counts as two. Norms, softmax and positions are left out (below 1 %).

    Parameters
    ----------
    dims : ModelDims
    visual_tokens : int
        Realised visual tokens; the encoder sees ``merge ** 2`` patches for each.
    text_tokens : int
        Prompt tokens that are not visual.
    new_tokens : int
        Tokens written.
    """
    if visual_tokens == 0:
        encoder = 0.0
    else:
        patches = visual_tokens * dims.merge**2
        v = dims.vision_hidden
        linear = 4 * v * v + (3 if dims.vision_gated else 2) * v * dims.vision_mlp
        attention = 2 * patches * v
        embed = 3 * 2 * dims.patch**2 * v
        merged = v * dims.merge**2
        merger = merged * merged + merged * dims.text_hidden
        encoder = 2.0 * (
            patches * (dims.vision_depth * (linear + attention) + embed) + visual_tokens * merger
        )
    width = dims.text_heads * dims.head_dim
    keys = dims.text_kv_heads * dims.head_dim
    t = dims.text_hidden
    layer = 2 * t * width + 2 * t * keys + 3 * t * dims.text_mlp
    head = t * dims.vocabulary
    prompt = visual_tokens + text_tokens
    # causal attention: position i looks back on i keys, twice (scores and values)
    prefill = dims.text_depth * (prompt * layer + width * prompt * (prompt + 1)) + head
    steps = max(new_tokens - 1, 0)  # the first new token comes out of the prefill
    looked_at = steps * prompt + steps * (steps + 1) // 2
    decode = dims.text_depth * (steps * layer + 2 * width * looked_at) + steps * head
    return encoder + 2.0 * (prefill + decode)
