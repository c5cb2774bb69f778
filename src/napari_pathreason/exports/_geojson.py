"""Objects on a slide as GeoJSON, in the words of QuPath: written, and read back.

Files may be longer than memory: objects are written and read one after the other. Polygons are
always valid. The decoder is the standard library's: unlike the streaming parsers built on yajl it
takes the bare NaN that QuPath writes for a measurement it could not make.
"""

from __future__ import annotations

import codecs
import gzip
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from napari_pathreason.errors import ExportError, reading
from napari_pathreason.files import atomic_text
from napari_pathreason.geometry import Box, count_points

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

ObjectType = Literal["annotation", "detection", "cell", "tile", "tmaCore"]
Shape: TypeAlias = "Box | BaseGeometry"
Colour = tuple[int, int, int]

GRID = 1e-3
"""Coordinates are written to a thousandth of a level-0 pixel."""
DECIMALS = 3
CHUNK = 1 << 20
"""Characters that are read at a time."""
ONE_VALUE = 1 << 26
"""Characters of one object: a polygon of a million points takes 30 million."""
UNPACKED, RATIO = 1 << 26, 200
"""Characters of a packed file: so many anyway, or so many for each packed byte. GeoJSON packs to a
tenth; a bomb to a thousandth."""
MOST_DIGITS = 400
"""Of a whole number: those that are longer are more than a double holds."""
CROSSINGS = 200_000
"""Of the sides of one polygon: taking it apart takes a second, and grows with their square."""
FEW, SAMPLED = 1000, 200
"""Points of a polygon below which its crossings are not counted, and sides they are counted of."""

_TYPES: dict[str, ObjectType] = {name: name for name in get_args(ObjectType)}
_TYPES |= {
    "PathAnnotationObject": "annotation",  # QuPath 0.2 wrote them as ids
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
    "PathTileObject": "tile",
    "TMACoreObject": "tmaCore",
    "tma_core": "tmaCore",
}
_POLYGONS = ("Polygon", "MultiPolygon")
_BROKEN = "a geometry of the GeoJSON has broken coordinates; export the file again"
_HALF = re.compile("[\ud800-\udfff]")
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Feature:
    """An object on a slide.

    Parameters
    ----------
    shape : Box or shapely geometry
        Level-0 pixels, (x, y).
    object_type : str
        What QuPath makes of it: annotations can be edited, detections are many and fixed.
    classes : tuple of str
        Class from the general to the particular: ``("Tumor", "Positive")``; empty for none.
    colour : (int, int, int), optional
        Of the class, 0 to 255.
    name : str
    measurements : mapping of str to float
    metadata : mapping of str to str
    id : str
        A UUID; empty lets the reader of the file choose one.
    locked : bool
        QuPath lets a locked annotation neither move nor change.
    """

    shape: Shape
    object_type: ObjectType = "annotation"
    classes: tuple[str, ...] = ()
    colour: Colour | None = None
    name: str = ""
    measurements: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    locked: bool = False

    @property
    def label(self) -> str:
        """The class as one text: ``"Tumor: Positive"``."""
        return ": ".join(self.classes)

    @property
    def box(self) -> Box:
        """Bounds in level-0 pixels."""
        return self.shape if isinstance(self.shape, Box) else Box.from_corners(*self.shape.bounds)


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
            file.write(_encode(_to_dict(feature)))
            count += 1
        file.write("\n]}\n")
    return count


def _to_dict(feature: Feature) -> dict[str, Any]:
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
    measurements = {name: v for name, v in feature.measurements.items() if math.isfinite(v)}
    if measurements:
        properties["measurements"] = measurements
    if feature.metadata:
        properties["metadata"] = dict(feature.metadata)
    named = {"id": feature.id} if feature.id else {}
    geometry = _geometry_of(feature.shape)
    return {"type": "Feature", **named, "geometry": geometry, "properties": properties}


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
        In the order of the file; invalid polygons are made valid.

    Raises
    ------
    ExportError
        If the file cannot be read, is not GeoJSON or is cut off.
    """
    path = Path(path)
    with reading(path.name, ExportError, "export the file again as GeoJSON"):
        try:
            with path.open("rb") as raw:
                packed = raw.read(2) == b"\x1f\x8b"
            most = max(UNPACKED, path.stat().st_size * RATIO) if packed else None
            opener = gzip.open if packed else open
            with opener(path, "rt", encoding="utf-8-sig") as file:
                for value in _elements(file, "features", most):
                    yield from _features_of(value, placeless)
        except ExportError as error:
            raise ExportError(f"{path.name}: {error}") from error
        except (OSError, EOFError) as error:
            why = getattr(error, "strerror", None) or "it is damaged"
            raise ExportError(f"{path.name} cannot be read ({why}); check its name") from error
        except (ValueError, RecursionError) as error:
            raise ExportError(f"{path.name} {_what_else(path)}") from error


def _what_else(path: Path) -> str:
    """What a file is that is no GeoJSON, and what to do about it."""
    with path.open("rb") as raw:
        begin = raw.read(4)
    if begin == b"PK\x03\x04":
        return "is a zip; unpack it and give the GeoJSON in it"
    if begin[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "is not UTF-8; save it in that encoding"
    return "is not GeoJSON or is cut off; export the file again as GeoJSON"


def _features_of(value: Any, placeless: list[str] | None = None) -> Iterator[Feature]:
    """Objects of one Feature, geometry or collection, its children after it.

    Ids of objects without a place are added to ``placeless``.
    """
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "FeatureCollection":
        for item in _list(value.get("features")):
            yield from _features_of(item, placeless)
        return
    if kind != "Feature":
        shape = _shape_of(value)
        if shape is None:
            raise ExportError("something in it is no object; export the file again as GeoJSON")
        yield Feature(shape)
        return
    properties = value.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    shape = _shape_of(value.get("geometry"))
    if shape is not None:
        yield _feature(shape, _text(value.get("id")), properties)
    elif placeless is not None:
        placeless.append(_text(value.get("id")))
    for child in _list(properties.get("childObjects") or properties.get("children")):
        yield from _features_of(child, placeless)


def _list(value: Any) -> list[Any]:
    """Objects of a list, none where there is none.

    Raises
    ------
    ExportError
        If something else stands in its place.
    """
    if not value:
        return []
    if not isinstance(value, list):
        raise ExportError("a list of objects is broken; export the file again as GeoJSON")
    return value


def _feature(shape: Any, id_: str, properties: dict[str, Any]) -> Feature:
    type_ = properties.get("objectType") or properties.get("object_type") or id_
    class_ = properties.get("classification")
    class_ = class_ if isinstance(class_, dict) else {"name": class_}
    return Feature(
        shape=shape,
        object_type=_TYPES.get(type_, "annotation") if isinstance(type_, str) else "annotation",
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
    """A text, of which halves of characters, that no file can hold, are replaced."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else _HALF.sub("\N{REPLACEMENT CHARACTER}", value)


def _classes(value: dict[str, Any]) -> tuple[str, ...]:
    names = value.get("names")
    if isinstance(names, list):
        return tuple(filter(None, map(_text, names)))
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
        _text(name): _float(number)
        for name, number in value.items()
        if isinstance(number, int | float) and not isinstance(number, bool)
    }


def _float(number: float) -> float:
    """A number of JSON as a double has it, in which what is too large is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number > 0 or -1)


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {
        _text(name): _text(text if isinstance(text, str) else _short(text))
        for name, text in value.items()
        if isinstance(text, str | int | float)
    }


def _short(number: float) -> str:
    """A number as a text; Python writes none of thousands of digits."""
    try:
        return str(number)
    except ValueError:
        return str(_float(number))


# Shapes and geometries


def _geometry_of(shape: Shape) -> dict[str, Any]:
    """GeoJSON geometry of a shape.

    A polygon that crosses itself is taken apart into valid ones. A box side that vanishes becomes
    1 px, as a polygon without area is not valid.

    Raises
    ------
    ExportError
        If the shape is empty or its coordinates are not finite.
    """
    if isinstance(shape, Box):
        return {"type": "Polygon", "coordinates": [_box_ring(shape)]}
    if shape.is_empty or not all(map(math.isfinite, shape.bounds)):
        raise ExportError("a shape has no place on the slide; delete it and save again")
    from shapely import get_parts

    if shape.geom_type == "GeometryCollection":
        return {
            "type": "GeometryCollection",
            "geometries": [_geometry_of(part) for part in get_parts(shape) if not part.is_empty],
        }
    from shapely.geometry import mapping

    geometry: dict[str, Any] = mapping(_valid(shape))
    return {"type": geometry["type"], "coordinates": _rounded(geometry["coordinates"])}


def _box_ring(box: Box) -> list[list[float]]:
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


def _valid(shape: BaseGeometry) -> BaseGeometry:
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


def _shape_of(geometry: Any) -> Shape | None:
    """Shape of a GeoJSON geometry, made valid if it is not; None where there is none.

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
    import numpy as np
    import shapely
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    try:
        for part in _parts(geometry):
            count_points(part["coordinates"])
        read = shape(geometry)
        if read.is_empty:
            return None
        if not np.isfinite(shapely.get_coordinates(read)).all():  # GEOS takes some for points
            raise ValueError(geometry["type"])
        return _made_valid(read)
    except (ShapelyError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ExportError(_BROKEN) from error


def _made_valid(read: BaseGeometry) -> BaseGeometry:
    """A shape whose polygons are valid, also those in collections.

    Raises
    ------
    ExportError
        If one crosses itself so often that this would take long.
    """
    import shapely

    if read.geom_type == "GeometryCollection":
        if read.is_valid:
            return read
        return shapely.GeometryCollection([_made_valid(one) for one in shapely.get_parts(read)])
    if read.geom_type not in _POLYGONS or read.is_valid:
        return read
    if _crossings(read) > CROSSINGS:
        raise ExportError(
            "a polygon crosses itself too often to be taken apart; draw it again, or export it "
            "simplified"
        )
    return _valid(read)


def _parts(geometry: Any) -> Iterator[Any]:
    """Geometries that have coordinates, of one or of a collection of them."""
    left = [geometry]
    while left:
        one = left.pop()
        if one["type"] == "GeometryCollection":
            left.extend(one["geometries"])
        else:
            yield one


def _crossings(polygons: BaseGeometry) -> float:
    """About how often the sides of polygons meet, from the bounds of some of them."""
    import numpy as np
    import shapely

    count = 0.0
    for polygon in shapely.get_parts(polygons):
        points = shapely.get_coordinates(polygon)
        if len(points) < FEW:
            continue
        sides: Any = shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1))
        some = sides[:: max(1, len(sides) // SAMPLED)]
        met = shapely.STRtree(sides).query(some)
        count += met.shape[1] * len(sides) / len(some)
    return count


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


# A long array of JSON, one element at a time


def _elements(file: IO[str], key: str, most: int | None = None) -> Iterator[Any]:
    """Elements of a top-level array, or of the array under ``key`` of a top-level object.

    An object without that array is given as a whole, as the only element. ``most`` characters are
    read.

    Raises
    ------
    ExportError
        If there are more.
    ValueError
        If the text is not JSON or is cut off.
    """
    text = _JsonText(file, most)
    if text.peek() == "[":
        yield from text.array()
    elif text.peek() == "{":
        yield from _members(text, key)
    else:
        yield text.value()
    if text.peek():
        raise ValueError("text after the end")


def _members(text: _JsonText, key: str) -> Iterator[Any]:
    rest: dict[str, Any] = {}
    is_there = False
    text.take("{")
    while text.peek() != "}":
        if rest or is_there:
            text.take(",")
        name = text.value()
        text.take(":")
        if name == key and text.peek() == "[":
            is_there = True
            yield from text.array()
        else:
            rest[name] = text.value()
    text.take("}")
    if not is_there:
        yield rest


def _integer(digits: str) -> float:
    """A whole number; infinite where it is longer than any that Python reads."""
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)


class _JsonText:
    """A window on the file that moves forward."""

    def __init__(self, file: IO[str], most: int | None = None) -> None:
        self.file, self.window, self.at = file, "", 0
        self.most, self.read = most, 0
        self.decode = json.JSONDecoder().raw_decode
        self.decode_long = json.JSONDecoder(parse_int=_integer).raw_decode

    def more(self) -> bool:
        """Widen the window, at least to twice what is still in it; False at the end."""
        ahead = self.window[self.at :]
        if len(ahead) > ONE_VALUE:
            raise ExportError("one object of it is larger than any shape; export the file again")
        more = self.file.read(max(CHUNK, len(ahead)))
        self.read += len(more)
        if self.most is not None and self.read > self.most:
            raise ExportError(
                "it unpacks to far more than GeoJSON does; unpack it and look at what it holds"
            )
        self.window, self.at = ahead + more, 0
        return bool(more)

    def peek(self) -> str:
        """Next character that is not space; empty at the end."""
        while True:
            space = _SPACE.match(self.window, self.at)
            self.at = space.end() if space else self.at
            if self.at < len(self.window) or not self.more():
                return self.window[self.at : self.at + 1]

    def take(self, mark: str) -> None:
        """Step over a mark that must come now."""
        if self.peek() != mark:
            raise ValueError(f"{mark} is missing")
        self.at += 1

    def value(self) -> Any:
        """Any value, whole."""
        self.peek()
        while True:
            try:
                value, end = self.decode(self.window, self.at)
            except json.JSONDecodeError:
                if not self.more():
                    raise
                continue
            except ValueError:  # Python reads no number of thousands of digits
                value, end = self.decode_long(self.window, self.at)
            # a number at the edge of the window may go on
            if end < len(self.window) or not self.more():
                self.at = end
                return value

    def array(self) -> Iterator[Any]:
        """Elements of the array that starts here."""
        self.take("[")
        first = True
        while self.peek() != "]":
            if not first:
                self.take(",")
            first = False
            yield self.value()
        self.take("]")
