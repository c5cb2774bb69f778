"""Objects out of GeoJSON: what QuPath writes, and what `write_geojson` does."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, get_args

from napari_pathreason.errors import ExportError

from ._feature import Colour, Feature, ObjectType
from ._shapes import shape_of
from ._stream import stream_json

_TYPES: dict[str, ObjectType] = {name: name for name in get_args(ObjectType)}
_TYPES |= {
    "PathAnnotationObject": "annotation",  # QuPath 0.2 wrote them as ids
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
    "PathTileObject": "tile",
    "TMACoreObject": "tmaCore",
    "tma_core": "tmaCore",
}


def read_geojson(path: str | Path, placeless: list[str] | None = None) -> Iterator[Feature]:
    """Read the objects of a file one after the other.

    Takes a FeatureCollection, an array of Features, one Feature or a bare geometry; packed or not,
    whatever the name says. Objects that hold others (``childObjects``) come before them; objects
    without a place are left out.

    Parameters
    ----------
    path : str or Path
    placeless : list of str, optional
        Gets the id of each object that is left out, "" where it has none.

    Yields
    ------
    Feature
        In the order of the file; invalid polygons are mended.

    Raises
    ------
    ExportError
        If the file cannot be read, is not GeoJSON or is cut off.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            for value in stream_json(file, "features"):
                yield from features_of(value, placeless)
    except ExportError as error:
        raise ExportError(f"{path.name}: {error}") from error
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or "it is damaged"
        raise ExportError(f"{path.name} cannot be read ({why}); check its name") from error
    except (ValueError, RecursionError) as error:
        raise ExportError(
            f"{path.name} is not GeoJSON or is cut off; export the file again as GeoJSON"
        ) from error


def features_of(value: Any, placeless: list[str] | None = None) -> Iterator[Feature]:
    """Objects of one Feature, geometry or collection, its children after it.

    Ids of objects without a place are added to ``placeless``.
    """
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "FeatureCollection":
        for item in value.get("features") or ():
            yield from features_of(item, placeless)
        return
    if kind != "Feature":
        shape = shape_of(value)
        if shape is None:
            raise ExportError("something in it is no object; export the file again as GeoJSON")
        yield Feature(shape)
        return
    properties = value.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    shape = shape_of(value.get("geometry"))
    if shape is not None:
        yield _feature(shape, _text(value.get("id")), properties)
    elif placeless is not None:
        placeless.append(_text(value.get("id")))
    for child in properties.get("childObjects") or properties.get("children") or ():
        yield from features_of(child, placeless)


def _opened(path: Path) -> IO[str]:
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    return (
        gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig")
    )


def _feature(shape: Any, id_: str, properties: dict[str, Any]) -> Feature:
    told = properties.get("objectType") or properties.get("object_type") or id_
    class_ = properties.get("classification")
    class_ = class_ if isinstance(class_, dict) else {"name": class_}
    return Feature(
        shape=shape,
        object_type=_TYPES.get(told, "annotation") if isinstance(told, str) else "annotation",
        classes=_classes(class_),
        colour=_colour(class_.get("color", class_.get("colorRGB")))
        or _colour(properties.get("color")),
        name=_text(properties.get("name")),
        measurements=_measurements(properties.get("measurements")),
        metadata=_metadata(properties.get("metadata")),
        id="" if id_ in _TYPES else id_,
        locked=properties.get("isLocked") is True,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _classes(value: dict[str, Any]) -> tuple[str, ...]:
    names = value.get("names")
    if isinstance(names, list):
        return tuple(name for name in names if isinstance(name, str) and name)
    name = _text(value.get("name"))
    return tuple(name.split(": ")) if name else ()


def _colour(value: Any) -> Colour | None:
    """Of [r, g, b], or of the packed number that QuPath wrote before 0.4."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return (value >> 16) & 255, (value >> 8) & 255, value & 255
    try:
        red, green, blue = (min(255, max(0, int(part))) for part in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return red, green, blue


def _measurements(value: Any) -> dict[str, float]:
    """Of a mapping, or of the list of names and values that QuPath wrote before 0.4."""
    if isinstance(value, list):
        value = {
            item["name"]: item.get("value")
            for item in value
            if isinstance(item, dict) and isinstance(item.get("name"), str)
        }
    if not isinstance(value, dict):
        return {}
    return {
        name: float(number)
        for name, number in value.items()
        if isinstance(number, int | float) and not isinstance(number, bool)
    }


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {
        name: text if isinstance(text, str) else str(text)
        for name, text in value.items()
        if isinstance(text, str | int | float)
    }
