"""A calibration as JSON values: in the file beside the weights, and remembered of a server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, get_args

from napari_pathreason.types import Calibration, Form, Scale, TopicScale

LEAST = 0.5
"""Confidence below which an answer is uncertain where no calibration says."""


def calibration_values(calibration: Calibration) -> dict[str, Any]:
    """Values that `calibration_of` reads."""
    values = asdict(calibration)
    for name in ("topics", "regions"):
        values[name] = [
            {"form": one.form, "topics": list(one.topics), **asdict(one.scale)}
            for one in getattr(calibration, name)
        ]
    return values


def calibration_of(values: Any) -> Calibration:
    """A calibration from its values, other keys left aside.

    Raises
    ------
    ValueError
        If they are none.
    """
    try:
        return Calibration(
            _scale(values["choice"]),
            _scale(values["open"]),
            _scale(values["box"]),
            _share(values.get("least", LEAST)),
            tuple(map(_topic_scale, values.get("topics", ()))),
            tuple(map(_topic_scale, values.get("regions", ()))),
        )
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("no calibration") from error


def _topic_scale(values: Mapping[str, Any]) -> TopicScale:
    form, topics = values["form"], values["topics"]
    if form not in get_args(Form) or not isinstance(topics, list):
        raise ValueError("no kind of question")
    return TopicScale(form, tuple(sorted(map(str, topics))), _scale(values))


def _scale(values: Mapping[str, Any]) -> Scale:
    temperature, offset = float(values["temperature"]), float(values["offset"])
    if not (0 < temperature < math.inf and math.isfinite(offset)):
        raise ValueError("no scale")
    return Scale(temperature, offset, bool(values["rationale"]))


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError("no share")
    return share
