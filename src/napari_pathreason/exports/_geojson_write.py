"""Objects to QuPath GeoJSON, one line each, never all in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_pathreason.files import atomic_text

from ._feature import Feature
from ._shapes import geometry_of

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def write_geojson(path: str | Path, features: Iterable[Feature]) -> int:
    """Write a FeatureCollection as QuPath reads it (File > Import objects).

    Parameters
    ----------
    path : str or Path
        ``.geojson``, or ``.geojson.gz`` for a packed one.
    features : iterable of Feature
        Taken one after the other, so it may be longer than memory.

    Returns
    -------
    int
        How many were written.

    Raises
    ------
    ExportError
        If the file cannot be written, or a shape has no place.
    """
    count = 0
    with atomic_text(path) as file:
        file.write('{"type":"FeatureCollection","features":[')
        for feature in features:
            file.write(",\n" if count else "\n")
            file.write(_encode(feature_to_dict(feature)))
            count += 1
        file.write("\n]}\n")
    return count


def feature_to_dict(feature: Feature) -> dict[str, Any]:
    """GeoJSON Feature; keys as QuPath 0.4 and later writes them, empty ones left out."""
    properties: dict[str, Any] = {"objectType": feature.object_type}
    if feature.name:
        properties["name"] = feature.name
    if feature.classes:
        properties["classification"] = {"name": feature.label}
        if feature.colour is not None:
            properties["classification"]["color"] = feature.colour
    elif feature.colour is not None:
        properties["color"] = feature.colour
    if feature.locked:
        properties["isLocked"] = True
    measured = {name: value for name, value in feature.measurements.items() if math.isfinite(value)}
    if measured:
        properties["measurements"] = measured
    if feature.metadata:
        properties["metadata"] = dict(feature.metadata)
    told: dict[str, Any] = {"type": "Feature"}
    if feature.id:
        told["id"] = feature.id
    return {**told, "geometry": geometry_of(feature.shape), "properties": properties}
