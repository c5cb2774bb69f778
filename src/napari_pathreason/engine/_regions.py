"""Regions out of GeoJSON, as QuPath, napari and other viewers write it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_pathreason.errors import RegionError, reading
from napari_pathreason.geometry import Outline, Region, count_points


def read_regions(path: str | Path) -> list[Region]:
    """Read the bounds of every polygon of a GeoJSON file; see `parse_regions`."""
    return [region for region, _ in read_outlines(path)]


def read_outlines(
    path: str | Path, placeless: list[str] | None = None
) -> list[tuple[Region, Outline]]:
    """Read the bounds and the outline of every polygon of a GeoJSON file; see `parse_outlines`.

    Raises
    ------
    RegionError
        If the file cannot be read, is not GeoJSON, or holds no polygon.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise RegionError(
            f"the regions file {path.name} cannot be read ({why}); check its name"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RegionError(
            f"the regions file {path.name} is not GeoJSON; export the regions again as GeoJSON"
        ) from error
    with reading(f"the regions file {path.name}", RegionError, "export the regions again"):
        return parse_outlines(value, placeless)


def parse_regions(value: Any) -> list[Region]:
    """Bounds of every polygon; see `parse_outlines`."""
    return [region for region, _ in parse_outlines(value)]


def parse_outlines(value: Any, placeless: list[str] | None = None) -> list[tuple[Region, Outline]]:
    """Bounds and outline of every polygon of a FeatureCollection, Feature, geometry, or a list.

    Parameters
    ----------
    value : dict or list
        Parsed GeoJSON with coordinates in level-0 pixels, (x, y).
    placeless : list of str, optional
        Gets the id of each feature without a geometry, which is legal and is left out; "" where it
        has none.

    Returns
    -------
    list of (Region, Outline)
        In the order of the file, bounds grown outwards to whole pixels; a multi-polygon gives one
        each. Holes are no part of an outline.

    Raises
    ------
    RegionError
        If anything in it is not a polygon, or there is none.
    """
    found = _geometries(value, [] if placeless is None else placeless)
    regions = [one for geometry in found for one in _bounds(geometry)]
    if not regions:
        raise RegionError("the GeoJSON holds no region; draw at least one rectangle or polygon")
    return regions


def _geometries(value: Any, placeless: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _geometries(item, placeless)
        return
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "FeatureCollection":
        yield from _geometries(value.get("features") or [], placeless)
    elif kind == "GeometryCollection":
        yield from _geometries(value.get("geometries") or [], placeless)
    elif kind == "Feature":
        if value.get("geometry") is None:
            placeless.append(value["id"] if isinstance(value.get("id"), str) else "")
        else:
            yield value["geometry"]
    else:
        yield value


def _bounds(geometry: Any) -> Iterator[tuple[Region, Outline]]:
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        geometry_type = f"a {kind}" if isinstance(kind, str) else "something else"
        raise RegionError(
            f"the GeoJSON holds {geometry_type} where a polygon is needed; keep only closed shapes"
        )
    try:
        count_points(geometry["coordinates"])
        polygons = shape(geometry)
        parts = list(getattr(polygons, "geoms", [polygons]))
        corners = [(part.bounds, _outline(part)) for part in parts]
        empty = any(part.is_empty for part in parts) or not parts
    except (ShapelyError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise RegionError(
            f"a {kind} of the GeoJSON has broken coordinates; export the regions again"
        ) from error
    if empty or not all(math.isfinite(v) for bounds, _ in corners for v in bounds):
        raise RegionError(f"a {kind} of the GeoJSON has no coordinates; export the regions again")
    for (x1, y1, x2, y2), outline in corners:
        left, top = math.floor(x1), math.floor(y1)
        yield Region(left, top, math.ceil(x2) - left, math.ceil(y2) - top), outline


def _outline(polygon: Any) -> Outline:
    """Corners of a polygon; none of a rectangle along the axes, which its bounds are."""
    x1, y1, x2, y2 = polygon.bounds
    if polygon.area >= 0.999 * (x2 - x1) * (y2 - y1):
        return ()
    return tuple((float(x), float(y)) for x, y, *_ in polygon.exterior.coords[:-1])
