"""What a slide's annotations ask about: bounds, outline and name of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import shapely

from napari_pathreason.exports import WINDOW_CLASS, Feature, read_geojson
from napari_pathreason.geometry import Box, Outline, Region


@dataclass(frozen=True, slots=True)
class Annotation:
    """One part of a slide that is asked about.

    Parameters
    ----------
    region : Region
        Its bounds, level-0 pixels.
    outline : tuple of (float, float)
        Corners of what is no upright rectangle; empty where all of the region counts.
    name : str
        As the file has it; its class, or its number, where it has none.
    """

    region: Region
    outline: Outline
    name: str


def annotations_of(path: Path) -> list[Annotation]:
    """Annotations of a GeoJSON, in its order; detections, points, lines and windows are none.

    A multi-polygon gives one for each of its parts. Holes are no part of an outline.

    Raises
    ------
    ExportError
        If it cannot be read or is no GeoJSON.
    """
    found: list[Annotation] = []
    count = 0
    for feature in read_geojson(path):
        if feature.object_type != "annotation" or feature.classes == (WINDOW_CLASS,):
            continue
        parts = list(_parts(feature))
        count += bool(parts)
        for number, (region, outline) in enumerate(parts, 1):
            name = feature.name or feature.label or str(count)
            name = name if len(parts) == 1 else f"{name} ({number})"
            found.append(Annotation(region, outline, " ".join(name.split())))
    return found


def _parts(feature: Feature) -> Iterator[tuple[Region, Outline]]:
    if isinstance(feature.shape, Box):
        yield _region(feature.shape.corners), ()
        return
    for part in shapely.get_parts(feature.shape):
        if part.geom_type == "Polygon" and part.area > 0:
            outline = tuple((float(x), float(y)) for x, y, *_ in part.exterior.coords[:-1])
            yield _region(part.bounds), outline


def _region(bounds: tuple[float, float, float, float]) -> Region:
    """Bounds grown outwards to whole pixels."""
    x1, y1, x2, y2 = bounds
    left, top = math.floor(x1), math.floor(y1)
    return Region(left, top, max(1, math.ceil(x2) - left), max(1, math.ceil(y2) - top))
