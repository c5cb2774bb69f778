"""The account of one answer: visual tokens, FLOPs, and one line that sums them up."""

from __future__ import annotations

from collections.abc import Sequence

from napari_pathreason.budgets import ReadPlan, flops
from napari_pathreason.types import (
    Allocation,
    Completion,
    ModelDims,
    Result,
    TokenReport,
)


def token_report(
    dims: ModelDims,
    allocation: Allocation,
    plan: ReadPlan,
    completion: Completion,
    views: Sequence[Completion] = (),
) -> TokenReport:
    """Count what was spent, and what the same answer would have cost at native size.

    ``views`` are zooms; a first look at native size has them too.
    """
    realised = completion.visual_tokens
    words, written = completion.prompt_tokens - realised, completion.new_tokens
    zoom = sum(view.visual_tokens for view in views)
    zoom_flops = sum(
        flops(dims, view.visual_tokens, view.prompt_tokens - view.visual_tokens, view.new_tokens)
        for view in views
    )
    return TokenReport(
        allocator=allocation.tokens_spent,
        requested=allocation.budget,
        realised=realised,
        native=plan.native,
        encoder_patches=(realised + zoom) * dims.merge**2,
        prompt_tokens=completion.prompt_tokens + sum(view.prompt_tokens for view in views),
        new_tokens=written + sum(view.new_tokens for view in views),
        flops=allocation.flops + flops(dims, realised, words, written) + zoom_flops,
        flops_native=flops(dims, plan.native, words, written) + zoom_flops,
        zoom=zoom,
    )


def token_line(result: Result) -> str:
    """Sum up what an answer cost.

    For example ``64 of 1,024 visual tokens (-94 %), 0.3 of 1.0 Mpx decoded, 0.4 s``; tokens that
    the allocator's own look took stand as ``64 + 16``, those of zooms at what was found
    before them, as ``64 + 32 zoom + 16``; native size would have had those as well. A
    small region of a slide without coarse levels decodes more than itself, since tiles come whole:
    ``1.4 Mpx decoded for 0.3``.
    """
    tokens = result.tokens
    spent = f"{tokens.realised:,}"
    if tokens.zoom:
        spent += f" + {tokens.zoom:,} closer"
    if tokens.allocator:
        spent += f" + {tokens.allocator:,}"
    change = round(-100 * tokens.saved / (tokens.native + tokens.zoom))
    # a positive change: the allocator's look cost more than its choice saved
    sign = "+" if change > 0 else ""
    whole = result.region.width * result.region.height
    decoded = f"{_mega(result.pixels_decoded)} of {_mega(whole)} Mpx decoded"
    if result.pixels_decoded > whole:
        decoded = f"{_mega(result.pixels_decoded)} Mpx decoded for {_mega(whole)}"
    return (
        f"{spent} of {tokens.native:,} visual tokens ({sign}{change} %), "
        f"{decoded}, {sum(result.seconds.values()):.1f} s"
    )


def confidence_line(result: Result) -> str:
    """How sure the model is, such as ``Confidence 0.83``; empty where it does not tell.

    ``(not calibrated)`` stands behind it where nobody has held it against known answers.
    """
    if result.confidence is None:
        return ""
    line = f"Confidence {result.confidence:.2f}"
    return line if result.model.calibration is not None else f"{line} (not calibrated)"


def _mega(pixels: int) -> str:
    millions = pixels / 1e6
    return f"{millions:,.1f}" if millions >= 0.1 or not pixels else f"{millions:.1g}"
