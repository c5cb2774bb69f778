"""Shapes to GeoJSON geometries and back; polygons are always valid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_pathreason.errors import ExportError
from napari_pathreason.geometry import Box

from ._feature import Shape

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

GRID = 1e-3
"""Coordinates are written to a thousandth of a level-0 pixel."""
DECIMALS = 3
_POLYGONS = ("Polygon", "MultiPolygon")


def geometry_of(shape: Shape) -> dict[str, Any]:
    """GeoJSON geometry of a shape.

    A polygon that crosses itself is taken apart into valid ones. A box side that vanishes becomes
    1 px, as a polygon without area is not valid.

    Raises
    ------
    ExportError
        If the shape is empty or its coordinates are not finite.
    """
    if isinstance(shape, Box):
        return {"type": "Polygon", "coordinates": [box_ring(shape)]}
    if shape.is_empty or not all(map(math.isfinite, shape.bounds)):
        raise ExportError("a shape has no place on the slide; delete it and save again")
    from shapely import get_parts

    if shape.geom_type == "GeometryCollection":
        return {
            "type": "GeometryCollection",
            "geometries": [geometry_of(part) for part in get_parts(shape) if not part.is_empty],
        }
    from shapely.geometry import mapping

    told: dict[str, Any] = mapping(valid(shape))
    return {"type": told["type"], "coordinates": _rounded(told["coordinates"])}


def box_ring(box: Box) -> list[list[float]]:
    """Closed ring (5, 2) around a box, in the order of QuPath: clockwise on the screen."""
    x1, y1, x2, y2 = box.corners
    if not math.isfinite(x1 + y1 + x2 + y2):
        raise ExportError("a box has no place on the slide; delete it and save again")
    x1, x2 = _sides(x1, x2)
    y1, y2 = _sides(y1, y2)
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]]


def _sides(low: float, high: float) -> tuple[float, float]:
    low, high = round(min(low, high), DECIMALS), round(max(low, high), DECIMALS)
    return (low, high) if low < high else (low, low + 1.0)


def valid(shape: BaseGeometry) -> BaseGeometry:
    """Return the shape on the grid of the file, its polygons valid; lines and points as they are.

    Of what taking a polygon apart leaves, only parts with area are kept.
    """
    import shapely

    if shape.geom_type not in _POLYGONS:
        return shape
    made = shapely.set_precision(shapely.make_valid(shape), GRID)
    parts = [
        part
        for part in shapely.get_parts(shapely.get_parts(made))  # collections hold collections
        if part.geom_type == "Polygon" and part.area > 0
    ]
    if parts:
        return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    left, top, right, bottom = shape.bounds  # without area, or a speck that the grid swallows
    (x1, x2), (y1, y2) = _sides(left, right), _sides(top, bottom)
    return shapely.box(x1, y1, x2, y2)


def shape_of(geometry: Any) -> Shape | None:
    """Shape of a GeoJSON geometry, mended if it is not valid; None where there is none.

    Returns
    -------
    Box or shapely geometry
        A `Box` for a polygon that is an upright rectangle.

    Raises
    ------
    ExportError
        If it is no geometry, or its coordinates are broken.
    """
    if geometry is None:
        return None
    box = _as_box(geometry)
    if box is not None:
        return box
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    try:
        read = shape(geometry)
        if read.is_empty:
            return None
        finite = all(map(math.isfinite, read.bounds))
    except (ShapelyError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ExportError(_BROKEN) from error
    if not finite:
        raise ExportError(_BROKEN)
    return read if read.geom_type not in _POLYGONS or read.is_valid else valid(read)


_BROKEN = "a geometry of the GeoJSON has broken coordinates; export the file again"


def _as_box(geometry: Any) -> Box | None:
    """The box that a rectangle's ring goes around, from any corner in either direction."""
    try:
        if geometry["type"] != "Polygon":
            return None
        (ring,) = geometry["coordinates"]
        a, b, c, d, e = ring
        if a != e:
            return None
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = a, b, c, d
        upright = ay == by and bx == cx and cy == dy and dx == ax
        if not upright and not (ax == bx and by == cy and cx == dx and dy == ay):
            return None
        box = Box.from_corners(ax, ay, cx, cy)
        return box if box.area > 0 and math.isfinite(box.area) else None
    except (TypeError, ValueError, LookupError):
        return None  # shapely finds out what it is


def _rounded(value: Any) -> Any:
    if isinstance(value, float | int):
        return round(value, DECIMALS)
    return [_rounded(item) for item in value]
