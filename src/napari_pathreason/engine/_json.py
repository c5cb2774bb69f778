"""A result as plain values for JSON; the shell, the writers and the docks share this form."""

from __future__ import annotations

from typing import Any

from napari_pathreason.types import Result


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
                "label": found.label,
                "box": [found.box.x, found.box.y, found.box.w, found.box.h],
                "confidence": _short(found.confidence),
            }
            for found in result.detections
        ],
        "tokens": {
            "allocator": tokens.allocator,
            "requested": tokens.requested,
            "realised": tokens.realised,
            "zoom": tokens.zoom,
            "native": tokens.native,
            "saved": tokens.saved,
            "encoder_patches": tokens.encoder_patches,
            "prompt_tokens": tokens.prompt_tokens,
            "new_tokens": tokens.new_tokens,
            "flops": tokens.flops,
            "flops_native": tokens.flops_native,
        },
        "pixels_decoded": result.pixels_decoded,
        "level": result.level,
        "picture_size": list(result.picture_size),
        "seconds": {stage: round(spent, 4) for stage, spent in result.seconds.items()},
        "model": {
            "name": result.model.name,
            "family": result.model.family,
            "device": result.model.device,
        },
        "slide": {
            "name": slide.name,
            "width": slide.width,
            "height": slide.height,
            "mpp": None if slide.mpp is None else list(slide.mpp),
            "mpp_source": slide.mpp_source,
        },
        "region": [result.region.x, result.region.y, result.region.width, result.region.height],
        "query": {
            "task": result.query.task,
            "question": result.query.question,
            "options": list(result.query.options),
        },
        "allocation": {
            "source": result.allocation.source,
            "effort": result.allocation.effort,
            "probabilities": (
                None
                if result.allocation.probabilities is None
                else list(result.allocation.probabilities)
            ),
        },
        "seed": result.settings.seed,
        "temperature": result.settings.temperature,
        "zoom": result.settings.zoom,
        "warnings": list(result.warnings),
    }


def _short(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
