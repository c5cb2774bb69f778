"""From windows and budgets to views of exact size, and what they cost before they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from napari_pathreason.budgets import BUDGET_GRID, flops, native_tokens, plan
from napari_pathreason.geometry import Region
from napari_pathreason.types import ModelInfo, Role, View, Views

BYTES_PER_PIXEL = 3 + 3 * 4
"""A picture as uint8 RGB and, for the encoder, as float32 RGB."""
WORDS, WRITTEN = 100, 40
"""Tokens of a usual question and of a usual answer, where neither is known yet."""
JOINT_OVERVIEW = 64
"""Visual tokens of the overview that stands before windows in one prompt."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What views cost, before anything of it is spent.

    Parameters
    ----------
    tokens : int
        Visual tokens.
    flops : float
        Of the model, for a question and an answer of usual length.
    pixels : int
        Pixels of the pyramid levels that the views cover; whole tiles at their rims come on top.
    memory : int
        Bytes of the pictures of one pass, as read and as the encoder takes them; the model's
        weights and its working memory come on top.
    seconds : float or None
        At the FLOPs a second of earlier answers; None where there are none.
    """

    tokens: int
    flops: float
    pixels: int
    memory: int
    seconds: float | None = None


def view_of(region: Region, tokens: int | None, token_px: int, role: Role = "picture") -> View:
    """A region as a view of at most ``tokens`` visual tokens, None for native size.

    Raises
    ------
    RegionError
        If a side of the region is below one token.
    """
    reading = plan(region, tokens, token_px)
    return View(region, reading.size, reading.tokens, role)


def one_view(region: Region, tokens: int | None, token_px: int) -> Views:
    """A region as one picture."""
    native = native_tokens(region, token_px)
    return Views((view_of(region, tokens, token_px),), native, native)


def window_budgets(window: Region, model: ModelInfo, most: int) -> tuple[int, ...]:
    """What a window may be read with, rising; the last is native size or the most of a picture.

    Parameters
    ----------
    window : Region
        Level-0 pixels.
    model : ModelInfo
        Whose pictures may have certain numbers of visual tokens alone.
    most : int
        Visual tokens of one picture, see `most_of_picture`.
    """
    highest = min(native_tokens(window, model.dims.token_px), most)
    levels = [level.detail for level in model.levels] or BUDGET_GRID
    return (*(budget for budget in levels if budget < highest), highest)


def budget_flops(budgets: Iterable[int], model: ModelInfo) -> tuple[float, ...]:
    """FLOPs of a question and an answer of usual length about one view of each budget.

    Empty where they are not known, as of a model on a server.
    """
    each = tuple(flops(model.dims, tokens, WORDS, WRITTEN) for tokens in budgets)
    return each if all(each) else ()


def numbered(views: Iterable[View], first: int) -> tuple[View, ...]:
    """Views with the numbers by which answers cite them."""
    return tuple(replace(view, number=number) for number, view in enumerate(views, first))


def cost_of(
    views: Sequence[View],
    model: ModelInfo,
    level_sizes: tuple[tuple[int, int], ...],
    *,
    joint: bool = False,
    together: int = 1,
    flops_per_second: float | None = None,
) -> Cost:
    """What views will cost.

    Parameters
    ----------
    views : sequence of View
    model : ModelInfo
    level_sizes : tuple of (width, height)
        Levels of the slide in pixels, level 0 first.
    joint : bool
        Whether all stand in one prompt.
    together : int
        Views that are held in memory at once, at the most.
    flops_per_second : float, optional
        Of earlier answers of the model on this machine.
    """
    from napari_pathreason.slides import choose_level  # loads what reads files

    prompts = [sum(view.tokens for view in views)] if joint else [view.tokens for view in views]
    spent = sum(flops(model.dims, tokens, WORDS, WRITTEN) for tokens in prompts)
    width, height = level_sizes[0]
    pixels = 0
    for view in views:
        across, down = level_sizes[choose_level(level_sizes, view.region, view.size)]
        pixels += round(view.region.width * across / width * view.region.height * down / height)
    areas = sorted((view.size[0] * view.size[1] for view in views), reverse=True)
    held = sum(areas if joint else areas[:together]) * BYTES_PER_PIXEL
    return Cost(
        sum(prompts),
        spent,
        pixels,
        held,
        None if flops_per_second is None else spent / flops_per_second,
    )
