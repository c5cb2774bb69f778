"""GeoJSON objects as a Shapes layer, and a Shapes layer as GeoJSON objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.exports import Feature, features_of_marks
from napari_pathreason.geometry import Box

from ._frame import box_to_data, slide_to_data
from ._marks import column_of, marks_of_shapes
from ._overlay import REGION_COLOR, USERS_OWN

if TYPE_CHECKING:
    from shapely import Polygon
    from shapely.geometry.base import BaseGeometry

OBJECTS_KEY = "pathreason_objects"
"""Metadata key of a layer's objects by number: what a shape cannot hold is saved from there."""
DEFAULT_COLOUR = (26, 92, 255)
OWN_COLUMNS = {*USERS_OWN, "name", "object"}


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
    known: dict[int, Feature] = {}
    measured: list[Mapping[str, float]] = []
    for number, feature in enumerate(features, 1):
        known[number] = feature
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
        "metadata": {OBJECTS_KEY: known},
    }
    return vertices, attributes, "shapes"


def features_of_shapes(
    data: Sequence[NDArray[np.float64]], attributes: Mapping[str, Any], run: str
) -> Iterator[Feature]:
    """Objects of a Shapes layer, as napari hands it to a writer; see `marks_of_shapes`.

    Shapes that came from one object of a file go back into one, with what the file said of it.
    Columns of the user's own become measurements where they hold numbers, metadata where text.
    """
    known: Mapping[int, Feature] = attributes.get("metadata", {}).get(OBJECTS_KEY, {})
    table = attributes.get("features")
    owners = column_of(table, "object", 0, len(data))
    names = column_of(table, "name", "", len(data))
    own = {
        str(title): column_of(table, title, None, len(data))
        for title in (() if table is None else table)
        if title not in OWN_COLUMNS
    }
    members: dict[int, list[int]] = {}
    for index, owner in enumerate(owners):
        if owner in known:
            members.setdefault(int(owner), []).append(index)
    features = list(features_of_marks(marks_of_shapes(data, attributes, run)))
    for index, feature in enumerate(features):
        told = {title: values[index] for title, values in own.items()}
        numbers = {t: float(v) for t, v in told.items() if _is_number(v)}
        texts = {t: v for t, v in told.items() if isinstance(v, str) and v}
        drawn = replace(
            feature,
            name=feature.name or str(names[index]),
            measurements={**feature.measurements, **numbers},
            metadata={**feature.metadata, **texts},
        )
        before = known.get(owners[index])
        if before is None:
            yield drawn
            continue
        group = members[int(owners[index])]
        shape = _whole(before, group, data, features)
        if shape is not None and index != group[0]:
            continue  # went out with the first of its object
        unchanged = before.colour is None and drawn.colour == DEFAULT_COLOUR
        yield replace(
            drawn,
            shape=drawn.shape if shape is None else shape,
            object_type=before.object_type,
            colour=None if unchanged else drawn.colour,
            measurements=numbers,
            metadata={**before.metadata, **texts},
            id=before.id if index == group[0] and before.id else drawn.id,
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


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)
