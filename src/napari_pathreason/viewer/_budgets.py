"""What each budget would cost for a region, before it is spent, and what the model would see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID, ReadPlan, plan
from napari_pathreason.engine import read_masked
from napari_pathreason.errors import PathreasonError
from napari_pathreason.geometry import Outline, Region
from napari_pathreason.slides import Slide, choose_level
from napari_pathreason.types import Allocation, Budget, Query, Result

from ._frame import laid_over
from ._layers import PREVIEW_KEY, layer_size, slide_of
from ._outlook import why_windows
from ._session import Session
from ._window_map import has_windows

if TYPE_CHECKING:
    from napari.layers import Image

BYTES_PER_PIXEL = 3 + 3 * 4
"""A picture as uint8 RGB and, for the encoder, as float32 RGB."""
USUAL_TOKEN_PX = 32
"""Pixels a visual token of Qwen3-VL, taken where nothing is known of the model yet."""
GRID_COLOR = "#1a5cff"


@dataclass(frozen=True, slots=True)
class BudgetCost:
    """What one budget would cost for a region.

    Parameters
    ----------
    budget : int or "native"
    plan : ReadPlan
        Picture size in px, grid and realised visual tokens.
    pixels : int
        Pixels of the pyramid level that the region covers; whole tiles at its rim come on top.
    memory : int
        Bytes of the picture as read and as the encoder takes it; the model's weights and its
        working memory come on top.
    seconds : float or None
        Median of earlier answers of the same model at as many tokens; None without any.
    probability : float or None
        The allocator's; None where it has none.
    windows : str
        Why it is not read as one picture; empty where it is.
    """

    budget: Budget
    plan: ReadPlan
    pixels: int
    memory: int
    seconds: float | None = None
    probability: float | None = None
    windows: str = ""

    @property
    def saved(self) -> float:
        """Share of the native tokens that are not spent, 0 to 1."""
        return 1 - self.plan.tokens / self.plan.native


def budget_costs(
    region: Region,
    token_px: int,
    level_sizes: Sequence[tuple[int, int]],
    past: Iterable[Result] = (),
    allocation: Allocation | None = None,
    most: int | None = None,
    one_picture: bool = False,
) -> list[BudgetCost]:
    """Cost of every budget, native last.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    token_px : int
        Side of a visual token in pixels.
    level_sizes : sequence of (width, height)
        Levels of the slide in pixels, level 0 first.
    past : iterable of Result
        Answers of the same model on this machine.
    allocation : Allocation, optional
        The allocator's for this region; its probabilities follow the budget grid.
    most : int, optional
        Visual tokens of one picture up to which the model's replies hold.
    one_picture : bool
        Whether the user wants one picture whatever it costs.

    Raises
    ------
    RegionError
        If a side of the region is below that of a token.
    """
    seconds: dict[int, list[float]] = {}
    for result in past:
        seconds.setdefault(result.tokens.realised, []).append(sum(result.seconds.values()))
    probabilities = (allocation.probabilities if allocation is not None else None) or ()
    budgets: list[int | Literal["native"]] = [*BUDGET_GRID, "native"]
    costs = []
    for i, budget in enumerate(budgets):
        planned = plan(region, None if budget == "native" else budget, token_px)
        width, height = planned.size
        level = level_sizes[choose_level(tuple(level_sizes), region, planned.size)]
        across = region.width * level[0] / level_sizes[0][0]
        down = region.height * level[1] / level_sizes[0][1]
        costs.append(
            BudgetCost(
                budget,
                planned,
                round(across * down),
                width * height * BYTES_PER_PIXEL,
                median(seconds[planned.tokens]) if planned.tokens in seconds else None,
                probabilities[i] if i < len(probabilities) else None,
                why_windows(planned.tokens, most, one_picture),
            )
        )
    return costs


def estimate_costs(
    session: Session, image: Image, region: Region, query: Query | None, model: str
) -> tuple[list[BudgetCost], str]:
    """Budgets for a region, and a line that says what is known of them and what is not.

    Seconds and probabilities come from the session's own answers by the same model: seconds of
    any region, probabilities of this region and question alone.

    Raises
    ------
    PathreasonError
        If the region is too small, the layer is no slide, or the model's files are damaged.
    """
    info = session.info_of(model)
    past = [e.result for e in session.entries if e.result.model == info and e.former is None]
    past = [result for result in past if not has_windows(result)]
    same = [r for r in past if r.region == region and r.query == query]
    allocations = [r.allocation for r in same if r.allocation.tokens_spent]
    layer_size(image)  # refuses what is no plane
    slide = slide_of(image)
    sizes = (
        tuple((int(shape[1]), int(shape[0])) for shape in image.level_shapes)
        if slide is None
        else slide.level_sizes
    )
    token_px = USUAL_TOKEN_PX if info is None else info.dims.token_px
    last = allocations[-1] if allocations else None
    most = None if info is None else info.max_visual_tokens
    one_picture = session.steering.policy == "one_view"
    costs = budget_costs(region, token_px, sizes, past, last, most, one_picture)
    return costs, _allocation_note(info is not None, past, last)


def _allocation_note(loaded: bool, past: Sequence[Result], last: Allocation | None) -> str:
    """Why there are probabilities or none; ``last`` is the allocator's for this very question."""
    if not loaded:
        return f"This model was not loaded yet: {USUAL_TOKEN_PX} px a token are assumed."
    if last is not None and last.probabilities is None:
        return "The allocator wrote no number about this: no probabilities."
    if last is not None and max(last.probabilities or (0.0,)) == 1:
        return "The allocator names one budget and weighs no other."
    if last is not None:
        return "Probabilities are the allocator's for this region and question."
    if any(r.allocation.source == "fixed" and not r.allocation.tokens_spent for r in past):
        return "This model has a fixed budget in place of an allocator: no probabilities."
    return "Ask once to see which budget Auto prefers."


def read_preview(
    opener: Callable[[], Slide], region: Region, size: tuple[int, int], outline: Outline = ()
) -> NDArray[np.uint8] | str:
    """Read a region at a size (width, height), just as a question would; for a worker.

    What lies outside an outline is masked.

    Returns
    -------
    uint8 array (height, width, 3) or str
        A text says why it cannot be read: a worker does not hand on errors that are returned.
    """
    try:
        return read_masked(opener(), region, size, outline).pixels
    except PathreasonError as error:
        return str(error)
    except Exception as error:  # a fault of ours must be shown, not lost in a thread
        return f"unexpected {type(error).__name__} while reading; please report it"


def preview_layer_data(
    source: Image, region: Region, pixels: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], dict[str, Any], str]:
    """Image layer of the picture that a model reads, over its region.

    Parameters
    ----------
    source : napari.layers.Image
        The slide; its placement and units are carried over.
    region : Region
        Level-0 pixels of the slide.
    pixels : uint8 array (height, width, 3)
        The region as read, see `Slide.read_region`.
    """
    height, width = pixels.shape[:2]
    attributes = {
        **laid_over(source, region.box, (width, height)),
        "name": f"as read, {width} \N{MULTIPLICATION SIGN} {height} px: {source.name}",
        "rgb": True,
        "interpolation2d": "nearest",
        "metadata": {PREVIEW_KEY: True},
    }
    return pixels, attributes, "image"


def grid_layer_data(
    source: Image, region: Region, size: tuple[int, int], token_px: int
) -> tuple[NDArray[np.float64], dict[str, Any], str]:
    """Vectors layer with the borders of the visual tokens of a picture (width, height)."""
    width, height = size
    down = [[[-0.5, x - 0.5], [height, 0]] for x in range(0, width + 1, token_px)]
    across = [[[y - 0.5, -0.5], [0, width]] for y in range(0, height + 1, token_px)]
    attributes = {
        **laid_over(source, region.box, size),
        "name": f"visual tokens: {source.name}",
        "edge_color": GRID_COLOR,
        "edge_width": max(size) / 400,
        "vector_style": "line",
        "metadata": {PREVIEW_KEY: True},
    }
    return np.asarray([*down, *across], dtype=float), attributes, "vectors"
