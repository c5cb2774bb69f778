"""What a session knows of the cost of a question before it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import ReadPlan, plan
from napari_pathreason.errors import PathreasonError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import Slide
from napari_pathreason.types import Allocation, ModelInfo, Query

from ._budget_grid import BudgetCost, budget_costs
from ._layers import SLIDE_KEY, layer_size
from ._regions import RegionSource, region_of
from ._session import Session

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

USUAL_TOKEN_PX = 32
"""Pixels a visual token of Qwen3-VL, taken where nothing is known of the model yet."""


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
    past = [entry.result for entry in session.entries if entry.result.model == info]
    same = [r for r in past if r.region == region and r.query == query]
    looked = [r.allocation for r in same if r.allocation.tokens_spent]
    slide: Any = image.metadata.get(SLIDE_KEY)
    layer_size(image)
    sizes = (
        slide.level_sizes
        if isinstance(slide, Slide)
        else tuple((int(shape[1]), int(shape[0])) for shape in image.level_shapes)
    )
    token_px = USUAL_TOKEN_PX if info is None else info.dims.token_px
    last = looked[-1] if looked else None
    most = None if info is None else info.max_visual_tokens
    costs = budget_costs(region, token_px, sizes, past, last, most)
    return costs, " ".join(allocation_notes(info is not None, past, last))


def native_of(
    viewer: Viewer, image: Image | None, source: RegionSource, info: ModelInfo | None
) -> int | None:
    """Visual tokens of the region that would be asked about, at native size.

    Returns
    -------
    int or None
        None where there is no such region, or it is smaller than one token.
    """
    if image is None:
        return None
    token_px = USUAL_TOKEN_PX if info is None else info.dims.token_px
    try:
        return plan(region_of(viewer, image, source), None, token_px).tokens
    except PathreasonError:
        return None


def allocation_notes(known: bool, past: list[Any], looked: Allocation | None) -> list[str]:
    if not known:
        return [f"This model was not loaded yet: {USUAL_TOKEN_PX} px a token are assumed."]
    if looked is not None and looked.probabilities is None:
        return ["The allocator wrote no number about this: no probabilities."]
    if looked is not None and max(looked.probabilities or (0.0,)) == 1:
        return ["The allocator names one budget and weighs no other."]
    if looked is not None:
        return ["Probabilities are the allocator's for this region and question."]
    if any(r.allocation.source == "fixed" and not r.allocation.tokens_spent for r in past):
        return ["This model has a fixed budget in place of an allocator: no probabilities."]
    return ["No probabilities: the allocator has not been asked about this yet."]


def read_preview(
    opener: Callable[[], Slide], region: Region, plan: ReadPlan
) -> NDArray[np.uint8] | str:
    """Read a region just as a question at this plan would, for a worker.

    Returns
    -------
    uint8 array (height, width, 3) or str
        A text says why it cannot be read: a worker does not hand on errors that are returned.
    """
    try:
        return opener().read_region(region, plan.size).pixels
    except PathreasonError as error:
        return str(error)
    except Exception as error:  # a fault of ours must be told, not lost in a thread
        return f"unexpected {type(error).__name__} while reading; please report it"
