"""What one answer cost, in numbers and in one line; and all of it as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_pathreason.budgets import flops
from napari_pathreason.types import Allocation, ModelDims, Reading, Result, TokenReport, Views


def token_report(
    dims: ModelDims,
    allocation: Allocation,
    views: Views,
    readings: Sequence[Reading],
    zooms: Sequence[Reading] = (),
    windows: int = 1,
) -> TokenReport:
    """Count what was spent, and what the same answer would have cost at native size.

    Parameters
    ----------
    dims : ModelDims
    allocation : Allocation
    views : Views
        What was read; it knows both native sizes.
    readings : sequence of Reading
        Of the picture, or of the windows.
    zooms : sequence of Reading
        Of zooms at detections; an answer at native size has them too.
    windows : int
        That cover all of the region but glass.
    """
    count = max(len(readings), 1)
    words = sum(one.prompt_tokens - one.visual_tokens for one in readings) // count
    written = sum(one.new_tokens for one in readings) // count
    of_zooms = sum(_flops(dims, one) for one in zooms)
    each = views.native_windows // max(windows, 1)
    everything = [*readings, *zooms]
    return TokenReport(
        allocator=allocation.tokens_spent,
        requested=allocation.budget,
        realised=sum(map(_computed, readings)),
        native_picture=views.native_picture,
        native_windows=views.native_windows,
        encoder_patches=sum(map(_computed, everything)) * dims.merge**2,
        prompt_tokens=sum(one.prompt_tokens for one in everything),
        new_tokens=sum(one.new_tokens for one in everything),
        flops=allocation.flops + sum(_flops(dims, one) for one in everything),
        flops_native_picture=flops(dims, views.native_picture, words, written) + of_zooms,
        flops_native_windows=windows * flops(dims, each, words, written) + of_zooms,
        zoom=sum(one.visual_tokens for one in zooms),
        cached=sum(one.cached_visual_tokens for one in readings),
    )


def with_check(report: TokenReport, dims: ModelDims, readings: Sequence[Reading]) -> TokenReport:
    """The account of an answer that was asked for a second time, with its choices reversed."""
    visual = sum(map(_computed, readings))
    return replace(
        report,
        check=visual,
        encoder_patches=report.encoder_patches + visual * dims.merge**2,
        prompt_tokens=report.prompt_tokens + sum(one.prompt_tokens for one in readings),
        new_tokens=report.new_tokens + sum(one.new_tokens for one in readings),
        flops=report.flops + sum(_flops(dims, one) for one in readings),
    )


def sum_tokens(reports: Sequence[TokenReport], native_picture: int) -> TokenReport:
    """One account of several answers about parts of a region, such as the tiles of a slide.

    Each part is a window of the whole, so their native sizes add up to its ``native_windows``.

    Parameters
    ----------
    reports : sequence of TokenReport
        Of the parts.
    native_picture : int
        Visual tokens of the whole as one picture.
    """
    return TokenReport(
        allocator=sum(one.allocator for one in reports),
        requested=sum(one.requested or one.native_picture for one in reports),
        realised=sum(one.realised for one in reports),
        native_picture=native_picture,
        native_windows=sum(one.native_picture for one in reports),
        encoder_patches=sum(one.encoder_patches for one in reports),
        prompt_tokens=sum(one.prompt_tokens for one in reports),
        new_tokens=sum(one.new_tokens for one in reports),
        flops=sum(one.flops for one in reports),
        flops_native_picture=sum(one.flops_native_picture for one in reports),
        flops_native_windows=sum(one.flops_native_windows for one in reports),
        zoom=sum(one.zoom for one in reports),
        check=sum(one.check for one in reports),
        cached=sum(one.cached for one in reports),
    )


def _computed(reading: Reading) -> int:
    """Visual tokens of a reading that the model did not know from the question before it."""
    return reading.visual_tokens - reading.cached_visual_tokens


def _flops(dims: ModelDims, reading: Reading) -> float:
    words = reading.prompt_tokens - reading.visual_tokens
    whole = flops(dims, reading.visual_tokens, words, reading.new_tokens)
    if not reading.cached_tokens:
        return whole
    known = reading.cached_tokens - reading.cached_visual_tokens
    before = flops(dims, reading.cached_visual_tokens, known, 0)
    first_word = 2 * dims.text_hidden * dims.vocabulary  # both hold that of a first word
    return whole - before + first_word


def token_line(result: Result) -> str:
    """Sum up what an answer cost.

    For example ``64 of 1,024 visual tokens (-94 %), 0.3 of 1.0 Mpx decoded, 0.4 s``; tokens that
    the allocator's overview took stand as ``64 + 16``, those of zooms at detections before
    them, as ``64 + 32 zoom + 16``; native size would have had those as well. Of windows it also
    says how many there were. A small region of a slide without coarse levels decodes more than
    itself, since tiles come whole: ``1.4 Mpx decoded for 0.3``.
    """
    tokens = result.tokens
    spent = f"{tokens.realised:,}"
    if tokens.zoom:
        spent += f" + {tokens.zoom:,} zoom"
    if tokens.cached:
        spent += f" + {tokens.cached:,} cached"
    if tokens.check:
        spent += f" + {tokens.check:,} check"
    if tokens.allocator:
        spent += f" + {tokens.allocator:,}"
    whole = result.region.width * result.region.height
    decoded = f"{_mega(result.pixels_decoded)} of {_mega(whole)} Mpx decoded"
    if result.pixels_decoded > whole:
        decoded = f"{_mega(result.pixels_decoded)} Mpx decoded for {_mega(whole)}"
    windows = sum(view.role == "window" for view in result.views.views) if result.views else 0
    place = "" if not windows else f" in {windows:,} {'window' if windows == 1 else 'windows'}"
    spent += f"{_of_native(tokens)} visual tokens{place}{_change(tokens)}"
    return f"{spent}, {decoded}, {sum(result.seconds.values()):.1f} s"


def _of_native(tokens: TokenReport) -> str:
    """Nothing where a user listed windows of a region of glass: it has no windows to read."""
    return f" of {tokens.native_windows:,}" if tokens.native_windows else ""


def _change(tokens: TokenReport) -> str:
    if not tokens.native_windows:
        return ""
    change = round(-100 * tokens.saved / (tokens.native_windows + tokens.zoom))
    # a positive change: the overview cost more than its choice saved
    sign = "+" if change > 0 else ""
    return f" ({sign}{change} %)"


def confidence_line(result: Result) -> str:
    """The model's confidence, such as ``Confidence 0.83``; empty where it does not tell.

    ``(not calibrated)`` stands behind it where nobody has measured it on known answers.
    """
    if result.confidence is None:
        return ""
    line = f"Confidence {result.confidence:.2f}"
    return line if result.model.calibration is not None else f"{line} (not calibrated)"


def order_line(result: Result) -> str:
    """Whether an answer held with its choices reversed; empty where that was not asked."""
    if result.order is None:
        return ""
    if not result.order.flipped:
        return "the answer holds with the choices reversed"
    other = result.order.answer or "no readable answer"
    return f"the answer flips: with the choices reversed it is {other}"


def result_to_dict(result: Result) -> dict[str, Any]:
    """Turn a result into values that `json.dumps` takes.

    Boxes and the region are ``[x, y, w, h]`` in level-0 pixels, counts under ``tokens`` are
    visual tokens unless named otherwise, and no path is in it. ``confidence`` is 0 to 1, or None
    where the model does not tell; ``calibrated`` says whether it was fitted on known answers.
    """
    tokens, slide = result.tokens, result.slide
    return {
        "reliability": {
            "level": result.reliability.level,
            "reasons": list(result.reliability.reasons),
        },
        "answer": result.answer.text,
        "rationale": result.answer.rationale,
        "well_formed": result.answer.well_formed,
        "reply": "" if result.answer.readable else result.answer.reply,
        "confidence": _short(result.confidence),
        "calibrated": result.model.calibration is not None,
        "order": None
        if result.order is None
        else {"answer": result.order.answer, "flipped": result.order.flipped},
        "ood": None
        if result.ood is None
        else {
            "score": round(result.ood.score, 4),
            "is_ood": result.ood.is_ood,
            "against": list(result.ood.against),
            "reason": result.ood.reason,
        },
        "detections": [
            {
                "label": one.label,
                "box": [one.box.x, one.box.y, one.box.w, one.box.h],
                "confidence": _short(one.confidence),
            }
            for one in result.detections
        ],
        "tokens": {
            "allocator": tokens.allocator,
            "requested": tokens.requested,
            "realised": tokens.realised,
            "zoom": tokens.zoom,
            "check": tokens.check,
            "cached": tokens.cached,
            "native_picture": tokens.native_picture,
            "native_windows": tokens.native_windows,
            "saved": tokens.saved,
            "encoder_patches": tokens.encoder_patches,
            "prompt_tokens": tokens.prompt_tokens,
            "new_tokens": tokens.new_tokens,
            "flops": tokens.flops,
            "flops_native_picture": tokens.flops_native_picture,
            "flops_native_windows": tokens.flops_native_windows,
        },
        "pixels_decoded": result.pixels_decoded,
        "level": result.level,
        "picture_size": list(result.picture_size),
        "seconds": {stage: round(spent, 4) for stage, spent in result.seconds.items()},
        "model": {
            "name": result.model.name,
            "family": result.model.family,
            "device": result.model.device,
            "encoder": result.model.encoder,
            "precision": result.model.precision,
        },
        "slide": {
            "name": slide.name,
            "width": slide.width,
            "height": slide.height,
            "mpp": _list(slide.mpp),
            "mpp_source": slide.mpp_source,
            **({"channels": slide.channels} if slide.channels else {}),
            **({"icc": slide.icc} if slide.icc != "none" else {}),
        },
        "region": [result.region.x, result.region.y, result.region.width, result.region.height],
        **_outline_to_dict(result),
        "query": {
            "task": result.query.task,
            "question": result.query.question,
            "options": list(result.query.options),
        },
        "allocation": {
            "source": result.allocation.source,
            "effort": result.allocation.effort,
            "probabilities": _list(result.allocation.probabilities),
        },
        "policy": "one_view" if result.views is None else result.views.policy,
        "thread": _thread(result),
        "views": [_reading_to_dict(reading) for reading in result.readings],
        "unread": [[one.x, one.y, one.width, one.height] for one in result.unread],
        "seed": result.settings.seed,
        "temperature": result.settings.temperature,
        "zoom": result.settings.zoom,
        "warnings": list(result.warnings),
    }


def _outline_to_dict(result: Result) -> dict[str, Any]:
    """Corners of an annotation, and the colour of what lies outside, which was not shown."""
    request, views = result.request, result.views
    found: dict[str, Any] = {}
    if request is not None and request.outline:
        found["outline"] = [[x, y] for x, y in request.outline]
    if views is not None and views.fill is not None:
        found["fill"] = list(views.fill)
    return found


def _thread(result: Result) -> list[dict[str, Any]]:
    """What was asked and replied before, of a follow-up question."""
    thread = None if result.request is None else result.request.thread
    return [
        {
            "task": turn.query.task,
            "question": turn.query.question,
            "options": list(turn.query.options),
            "reply": turn.reply,
        }
        for turn in (() if thread is None else thread.turns)
    ]


def _reading_to_dict(reading: Reading) -> dict[str, Any]:
    """A reading: its views, and what it said by itself."""
    return {
        "views": [
            {
                "name": view.name,
                "region": [view.region.x, view.region.y, view.region.width, view.region.height],
                "size": list(view.size),
                "tokens": view.tokens,
                "why": view.why,
            }
            for view in reading.views
        ],
        "answer": reading.answer.text,
        "rationale": reading.answer.rationale,
        "confidence": _short(reading.confidence),
        "reliability": reading.reliability.level,
        "visual_tokens": reading.visual_tokens,
    }


def _short(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _list(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)


def _mega(pixels: int) -> str:
    millions = pixels / 1e6
    return f"{millions:,.1f}" if millions >= 0.1 or not pixels else f"{millions:.1g}"
