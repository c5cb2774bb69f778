"""Shapes layers and files: shapes as marks on a slide, GeoJSON objects as shapes and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.exports import (
    LEVEL_KEY,
    REASONS_KEY,
    Feature,
    Mark,
    confidence_of,
    features_of_marks,
    to_reliability,
)
from napari_pathreason.geometry import Box
from napari_pathreason.types import Result

from ._frame import box_to_data, data_to_slide, slide_to_data
from ._overlay import REGION_COLOR, REGION_LABEL, RESULTS_KEY, USERS_OWN

if TYPE_CHECKING:
    from shapely import Polygon
    from shapely.geometry.base import BaseGeometry

OBJECTS_KEY = "pathreason_objects"
"""Metadata key of a layer's objects by number: what a shape cannot hold is saved from there."""
DEFAULT_COLOUR = (26, 92, 255)
OWN_COLUMNS = {*USERS_OWN, "name", "object"}
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
    labels = _column(columns, "label", "", count)
    owners = _column(columns, "result", 0, count)
    levels = _column(columns, LEVEL_KEY, "", count)
    reasons = _column(columns, REASONS_KEY, "", count)
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


def outline_of_shape(points: NDArray[np.float64], kind: str) -> tuple[tuple[float, float], ...]:
    """Corners (x, y) of a drawn shape, level-0 pixels; none of an upright rectangle or a line.

    Parameters
    ----------
    points : float64 array (n, 2)
        Its vertices, level-0 pixels (x, y).
    kind : str
        napari's name of it.
    """
    import shapely

    shape = _shape(points, kind)
    if isinstance(shape, Box) or shape.geom_type != "Polygon":
        return ()
    return tuple((float(x), float(y)) for x, y in shapely.get_coordinates(shape)[:-1])


def _upright(points: NDArray[np.float64]) -> bool:
    """Whether every side of a rectangle lies along an axis."""
    sides = np.abs(np.diff(points, axis=0, append=points[:1]))
    return bool((sides.min(axis=1) <= 1e-6 * max(1.0, float(sides.max()))).all())


def _confidence(
    result: Result | None, label: str, shape: Box | BaseGeometry, region: bool
) -> float | None:
    """Of the detection that a shape was drawn from; None once the user has moved it."""
    if result is not None and region:
        return confidence_of(result)
    if result is None or not isinstance(shape, Box):
        return None
    for one in result.detections:
        if one.label == label and np.allclose(one.box.corners, shape.corners, atol=0.01):
            return confidence_of(one)
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


def objects_layer_data(
    features: Iterable[Feature], name: str
) -> tuple[list[NDArray[np.float64]], dict[str, Any], str]:
    """Shapes layer of the objects of a file.

    A polygon with holes becomes one outline that walks into each hole and back. A multi-polygon
    gives several shapes of the same ``object``; a point becomes a square of 1 px.

    Parameters
    ----------
    features : iterable of Feature
    name : str
        Of the layer.

    Returns
    -------
    tuple
        napari layer data in level-0 pixels; features ``label``, ``name``, ``object`` (counted from
        1), ``color`` and a column for each measurement.
    """
    vertices: list[NDArray[np.float64]] = []
    kinds: list[str] = []
    columns: dict[str, list[Any]] = {"label": [], "name": [], "object": [], "color": []}
    objects: dict[int, Feature] = {}
    measured: list[Mapping[str, float]] = []
    for number, feature in enumerate(features, 1):
        objects[number] = feature
        for points, kind in _parts(feature.shape):
            vertices.append(points)
            kinds.append(kind)
            columns["label"].append(feature.label)
            columns["name"].append(feature.name)
            columns["object"].append(number)
            columns["color"].append("#%02x%02x%02x" % (feature.colour or DEFAULT_COLOUR))
            measured.append(feature.measurements)
    for title in dict.fromkeys(title for one in measured for title in one):
        columns.setdefault(title, [one.get(title, np.nan) for one in measured])
    attributes: dict[str, Any] = {
        "name": name,
        "shape_type": kinds or "rectangle",
        "opacity": 1.0,
        "edge_color": columns["color"] or REGION_COLOR,
        "face_color": "transparent",
        "edge_width": _line_width(vertices),
        "features": columns,
        "metadata": {OBJECTS_KEY: objects},
    }
    return vertices, attributes, "shapes"


def features_of_shapes(
    data: Sequence[NDArray[np.float64]], attributes: Mapping[str, Any], run: str
) -> Iterator[Feature]:
    """Objects of a Shapes layer, as napari hands it to a writer; see `marks_of_shapes`.

    Shapes that came from one object of a file go back into one, with what the file said of it.
    Columns of the user's own become measurements where they hold numbers, metadata where text.
    """
    objects: Mapping[int, Feature] = attributes.get("metadata", {}).get(OBJECTS_KEY, {})
    table = attributes.get("features")
    owners = _column(table, "object", 0, len(data))
    names = _column(table, "name", "", len(data))
    own = {
        str(title): _column(table, title, None, len(data))
        for title in (() if table is None else table)
        if title not in OWN_COLUMNS
    }
    members: dict[int, list[int]] = {}
    for index, owner in enumerate(owners):
        if owner in objects:
            members.setdefault(int(owner), []).append(index)
    features = list(features_of_marks(marks_of_shapes(data, attributes, run)))
    for index, feature in enumerate(features):
        cells = {title: values[index] for title, values in own.items()}
        numbers = {
            title: float(value)
            for title, value in cells.items()
            if isinstance(value, Real) and not isinstance(value, bool | np.bool_)
        }
        texts = {title: text for title, text in cells.items() if isinstance(text, str) and text}
        current = replace(
            feature,
            name=feature.name or str(names[index]),
            measurements={**feature.measurements, **numbers},
            metadata={**feature.metadata, **texts},
        )
        before = objects.get(owners[index])
        if before is None:
            yield current
            continue
        group = members[int(owners[index])]
        shape = _whole(before, group, data, features)
        if shape is not None and index != group[0]:
            continue  # went out with the first of its object
        unchanged = before.colour is None and current.colour == DEFAULT_COLOUR
        yield replace(
            current,
            shape=current.shape if shape is None else shape,
            object_type=before.object_type,
            colour=None if unchanged else current.colour,
            measurements=numbers,
            metadata={**before.metadata, **texts},
            id=before.id if index == group[0] and before.id else current.id,
            locked=before.locked,
        )


def _whole(
    before: Feature,
    group: list[int],
    data: Sequence[NDArray[np.float64]],
    features: Sequence[Feature],
) -> Box | BaseGeometry | None:
    """Shape of an object from its parts; None where they do not go into one."""
    parts = [points for points, _ in _parts(before.shape)]
    if len(parts) == len(group) and all(
        part.shape == (*np.shape(data[i])[:1], 2) and np.allclose(part, data[i][:, -2:], atol=1e-3)
        for part, i in zip(parts, group, strict=True)
    ):
        return before.shape  # as it was read: holes and points are not made anew
    shapes = [features[i].shape for i in group]
    if len(shapes) == 1:
        return shapes[0]
    import shapely

    whole = [shapely.box(*s.corners) if isinstance(s, Box) else s for s in shapes]
    if any(part.geom_type not in ("Polygon", "MultiPolygon") for part in whole):
        return None
    union: BaseGeometry = shapely.union_all([shapely.make_valid(part) for part in whole])
    return union


def _parts(shape: Box | BaseGeometry) -> Iterator[tuple[NDArray[np.float64], str]]:
    if isinstance(shape, Box):
        yield box_to_data(shape), "rectangle"
        return
    for part in getattr(shape, "geoms", [shape]):
        if hasattr(part, "geoms"):
            yield from _parts(part)
        elif part.geom_type == "Polygon":
            yield slide_to_data(_outline(part)), "polygon"
        elif part.geom_type == "Point":
            yield box_to_data(Box(part.x - 0.5, part.y - 0.5, 1, 1)), "rectangle"
        elif not part.is_empty:
            kind = "line" if len(part.coords) == 2 else "path"
            yield slide_to_data(np.asarray(part.coords)[:, :2]), kind


def _outline(polygon: Polygon) -> NDArray[np.float64]:
    outer = np.asarray(polygon.exterior.coords)[:, :2]
    if not polygon.interiors:
        return np.asarray(outer[:-1])
    rings = [outer]
    for hole in polygon.interiors:  # each hole is walked around, then back to the start
        rings += [np.asarray(hole.coords)[:, :2], outer[:1]]
    return np.concatenate(rings)


def _line_width(vertices: Sequence[NDArray[np.float64]]) -> float:
    """Level-0 pixels; about two pixels of a screen that shows all of them."""
    if not vertices:
        return 1.0
    spans = np.ptp([p for v in vertices for p in (v.min(axis=0), v.max(axis=0))], axis=0)
    return max(1.0, float(spans.max()) / 500)


def _column(columns: Any, name: str, missing: Any, count: int) -> list[Any]:
    """A column of a feature table as a list; ``missing`` where there is no value."""
    if columns is None or name not in columns:
        return [missing] * count
    return [missing if value != value else value for value in columns[name]]  # NaN is not itself
