"""Shapes layers as marks on a slide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.exports import (
    LEVEL_KEY,
    REASONS_KEY,
    Mark,
    confidence_of,
    to_reliability,
)
from napari_pathreason.geometry import Box
from napari_pathreason.types import Result

from ._frame import data_to_slide
from ._overlay import REGION_LABEL, RESULTS_KEY

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

ELLIPSE_POINTS = 64


def marks_of_shapes(
    data: Sequence[NDArray[np.float64]], attributes: Mapping[str, Any], run: str
) -> Iterator[Mark]:
    """Every shape of a Shapes layer, as napari hands it to a writer.

    Shapes of an answer bring their result with them; any other is a drawing, labelled by the
    feature ``label`` where there is one. The features ``reliability`` and ``reasons`` are those of
    the shape itself: each lesion of a slide run has its own. The layer must lie as its image does,
    as overlays do: its data coordinates are taken for the image's own.

    Parameters
    ----------
    data : sequence of arrays (n, d)
        Vertices, the last two axes (row, column).
    attributes : mapping
        Attributes of the layer.
    run : str
        UUID.
    """
    results: Mapping[int, Result] = attributes.get("metadata", {}).get(RESULTS_KEY, {})
    columns = attributes.get("features")
    count = len(data)
    labels = column_of(columns, "label", "", count)
    owners = column_of(columns, "result", 0, count)
    levels = column_of(columns, LEVEL_KEY, "", count)
    reasons = column_of(columns, REASONS_KEY, "", count)
    kinds = attributes.get("shape_type", "rectangle")
    kinds = [kinds] * count if isinstance(kinds, str) else list(kinds)
    colours = np.atleast_2d(np.asarray(attributes.get("edge_color", (0, 0, 0, 1)), dtype=float))
    mpp = _layer_mpp(attributes)
    for index, (vertices, kind) in enumerate(zip(data, kinds, strict=True)):
        shape = _shape(data_to_slide(vertices), kind)
        number = int(owners[index]) if isinstance(owners[index], Real) else 0
        result = results.get(number)
        label = "" if labels[index] is None else str(labels[index])
        red, green, blue = (round(255 * float(v)) for v in colours[index % len(colours)][:3])
        region = result is not None and label == REGION_LABEL
        yield Mark(
            shape=shape,
            kind="drawing" if result is None else "region" if region else "finding",
            label="" if region else label,
            colour=(red, green, blue),
            number=number if result is not None else 0,
            result=result,
            run=run,
            confidence=_confidence(result, label, shape, region),
            mpp=mpp if result is None else result.slide.mpp,
            own=None if result is None else to_reliability(levels[index], reasons[index]),
        )


def _shape(points: NDArray[np.float64], kind: str) -> Box | BaseGeometry:
    if kind == "rectangle" and _upright(points):
        return Box.from_corners(*points.min(axis=0), *points.max(axis=0))
    import shapely

    if kind in ("line", "path"):
        return shapely.LineString(points)
    if kind == "ellipse":  # its four corners; the axes are halves of the sides
        centre = points.mean(axis=0)
        right, down = (points[1] - points[0]) / 2, (points[3] - points[0]) / 2
        turn = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)[:, None]
        points = centre + np.cos(turn) * right + np.sin(turn) * down
    return shapely.Polygon(points)


def _upright(points: NDArray[np.float64]) -> bool:
    """Whether every side of a rectangle lies along an axis."""
    sides = np.abs(np.diff(points, axis=0, append=points[:1]))
    return bool((sides.min(axis=1) <= 1e-6 * max(1.0, float(sides.max()))).all())


def column_of(columns: Any, name: str, missing: Any, count: int) -> list[Any]:
    """A column of a feature table as a list; ``missing`` where there is no value."""
    if columns is None or name not in columns:
        return [missing] * count
    return [missing if value != value else value for value in columns[name]]  # NaN is not itself


def _confidence(
    result: Result | None, label: str, shape: Box | BaseGeometry, region: bool
) -> float | None:
    """Of the detection that a shape was drawn from; None once the user has moved it."""
    if result is None or not isinstance(shape, Box):
        return None
    if region:
        return confidence_of(result)
    for found in result.detections:
        if found.label == label and np.allclose(found.box.corners, shape.corners, atol=0.01):
            return confidence_of(found)
    return None


def _layer_mpp(attributes: Mapping[str, Any]) -> tuple[float, float] | None:
    """Micrometres per data pixel (x, y) from scale and units; None in other units."""
    from pint import get_application_registry

    units, scale = attributes.get("units"), attributes.get("scale")
    if units is None or scale is None:
        return None
    registry = get_application_registry()
    sizes = []
    for step, unit in zip(tuple(scale)[-2:], tuple(units)[-2:], strict=True):
        quantity = abs(float(step)) * registry.Unit(str(unit))
        if not quantity.is_compatible_with("micrometer"):
            return None
        sizes.append(float(quantity.to("micrometer").magnitude))
    return sizes[1], sizes[0]
