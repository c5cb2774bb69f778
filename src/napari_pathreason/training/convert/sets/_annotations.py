"""Objects of one slide, sorted by what they say, and tiles inside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from napari_pathreason.exports import Feature
from napari_pathreason.geometry import Box
from napari_pathreason.training.samples import Corners

from ._layout import LeftOut, Place

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

FIELD, IGNORED = "Region*", "Ignore*"
LEAST = 32
"""Side in level-0 pixels below which a tile is left out: less than one visual token."""

NO_AREA = "objects without area (points, lines) were left out"
OTHER_TYPE = "objects that are neither annotation, detection nor cell were left out"
STARRED = "objects of classes with a star say nothing and were left out"
NO_CLASS = "detections without a class were left out"
NO_FIELD = "annotations without a class hold no classified object and were left out"
UNSEARCHED = "detections lie in no searched field (Region*) and were left out"
AMBIGUOUS = "tiles hold too much of another class and were left out"
TOUCHED = "tiles touch an Ignore* annotation and were left out"
TILELESS = "annotations are too small or too narrow for a tile and were left out"
BETWEEN = "objects of searched fields lie in no tile, or half in none, and were left out"


class Annotations:
    """What the objects of a slide say; shapes and boxes in level-0 pixels.

    Parameters
    ----------
    features : iterable of Feature
        As QuPath exports them.
    width, height : int
        Of the slide.
    left : LeftOut
        Counts the objects, and the tiles, that give no question.
    name : str
        Of the slide, for those counts.
    """

    def __init__(
        self, features: Iterable[Feature], width: int, height: int, left: LeftOut, name: str
    ) -> None:
        self._width, self._height = width, height
        self._left, self._name = left, name
        self._tissue: dict[str, list[BaseGeometry]] = {}
        self._fields: list[BaseGeometry] = []
        self._ignored: list[BaseGeometry] = []
        objects: list[tuple[str, BaseGeometry]] = []
        tissue: set[int] = set()
        unclassified = []
        for feature in features:
            shape, label = _shape(feature), feature.label
            if shape.area <= 0:
                left.add(NO_AREA, name)
            elif feature.object_type not in ("annotation", "detection", "cell"):
                left.add(OTHER_TYPE, name)
            elif label == FIELD:
                self._fields.append(shape)
            elif label == IGNORED:
                self._ignored.append(shape)
            elif label.endswith("*"):  # QuPath's mark of classes that are no class
                left.add(STARRED, name)
            elif not label and feature.object_type == "annotation":
                unclassified.append(shape)
            elif label:
                if feature.object_type == "annotation":
                    self._tissue.setdefault(label, []).append(shape)
                    tissue.add(len(objects))
                objects.append((label, shape))
            else:
                left.add(NO_CLASS, name)
        self._objects = _Boxes(objects)
        fields = [shape for shape in unclassified if self._objects.any_inside(shape)]
        left.add(NO_FIELD, name, len(unclassified) - len(fields))
        self._fields += fields
        inside = {index for field in self._fields for index in self._objects.indices_inside(field)}
        left.add(UNSEARCHED, name, len(objects) - len(inside | tissue))

    @property
    def classes(self) -> set[str]:
        """Classes of tissue."""
        return set(self._tissue)

    @property
    def fields(self) -> int:
        """How many fields were searched."""
        return len(self._fields)

    @property
    def sought(self) -> set[str]:
        """Classes of objects that lie in searched fields."""
        return {label for field in self._fields for label in self._objects.labels_inside(field)}

    def class_tiles(
        self, side: tuple[int, int], covered: float, other: float
    ) -> Iterator[tuple[Place, str]]:
        """Tiles of tissue with their class, none of them ambiguous.

        Parameters
        ----------
        side : tuple of int
            (width, height) of a tile, level-0 pixels.
        covered : float
            Share of a tile that its annotation must cover.
        other : float
            Share that another class may not reach.
        """
        for label, shapes in self._tissue.items():
            others = [s for name, more in self._tissue.items() if name != label for s in more]
            for shape in shapes:
                for region in self._tiles(shape, side, covered):
                    tile = _box(region)
                    if all(_share(rival, tile) < other for rival in others):
                        yield region, label
                    else:
                        self._left.add(AMBIGUOUS, self._name)

    def field_tiles(
        self, side: tuple[int, int], covered: float, inside: float
    ) -> Iterator[tuple[Place, list[tuple[str, Corners]]]]:
        """Tiles of searched fields with the objects in them, cut at the tile's edge.

        Parameters
        ----------
        side, covered
            As of `class_tiles`.
        inside : float
            Share of an object that must lie in the tile.
        """
        boxed: set[int] = set()
        searched: set[int] = set()
        for shape in self._fields:
            searched.update(self._objects.indices_inside(shape))
            for region in self._tiles(shape, side, covered):
                boxes = self._objects.inside(region, inside)
                boxed.update(boxes)
                yield region, [boxes[index] for index in boxes]
        self._left.add(BETWEEN, self._name, len(searched - boxed))

    def _tiles(self, shape: BaseGeometry, side: tuple[int, int], covered: float) -> Iterator[Place]:
        """Tiles side by side over the bounds of a shape, those that it covers well enough."""
        left, top, right, bottom = shape.bounds
        left, right = max(left, 0.0), min(right, self._width)
        top, bottom = max(top, 0.0), min(bottom, self._height)
        if min(right - left, bottom - top) < LEAST:
            self._left.add(TILELESS, self._name)
            return
        filled = 0
        for y, height in _line(top, bottom, side[1]):
            for x, width in _line(left, right, side[0]):
                region = (x, y, width, height)
                tile = _box(region)
                if _share(shape, tile) < covered:
                    continue
                filled += 1
                if any(ignored.intersects(tile) for ignored in self._ignored):
                    self._left.add(TOUCHED, self._name)
                else:
                    yield region
        if not filled:
            self._left.add(TILELESS, self._name)


class _Boxes:
    """Labelled boxes of one slide, found by where they lie."""

    def __init__(self, objects: list[tuple[str, BaseGeometry]]) -> None:
        from shapely import STRtree

        self._labels = [label for label, _ in objects]
        self._corners: list[Corners] = [shape.bounds for _, shape in objects]
        self._tree = STRtree([shape.centroid for _, shape in objects])
        self._extents = STRtree([_from_corners(corners) for corners in self._corners])

    def any_inside(self, shape: BaseGeometry) -> bool:
        return bool(self._tree.query(shape, predicate="contains").size)

    def indices_inside(self, shape: BaseGeometry) -> list[int]:
        return [int(index) for index in self._tree.query(shape, predicate="contains")]

    def labels_inside(self, shape: BaseGeometry) -> set[str]:
        return {self._labels[i] for i in self.indices_inside(shape)}

    def inside(self, region: Place, share: float) -> dict[int, tuple[str, Corners]]:
        """Objects of a tile in reading order, cut at its edge; a wider object is the ground."""
        x, y, w, h = region
        objects: dict[int, tuple[str, Corners]] = {}
        for index in self._extents.query(_box(region)):
            x1, y1, x2, y2 = self._corners[index]
            left, top, right, bottom = max(x1, x), max(y1, y), min(x2, x + w), min(y2, y + h)
            part = max(right - left, 0.0) * max(bottom - top, 0.0)
            if part > 0 and part >= share * (x2 - x1) * (y2 - y1):
                objects[int(index)] = (self._labels[index], (left, top, right, bottom))
        return dict(sorted(objects.items(), key=lambda item: item[1][1][1::-1]))


def _line(low: float, high: float, side: int) -> list[tuple[int, int]]:
    """(start, length) of whole tiles along one axis, centred; one shorter tile if none fits."""
    length = high - low
    count = int(length // side)
    if count == 0:
        return [(int(low), int(high) - int(low))]
    start = low + (length - count * side) / 2
    return [(round(start) + index * side, side) for index in range(count)]


def _shape(feature: Feature) -> Any:
    if isinstance(feature.shape, Box):
        return _from_corners(feature.shape.corners)
    return feature.shape


def _from_corners(corners: Corners) -> Any:
    import shapely

    return shapely.box(*corners)


def _box(region: Place) -> Any:
    x, y, w, h = region
    return _from_corners((x, y, x + w, y + h))


def _share(shape: BaseGeometry, tile: BaseGeometry) -> float:
    """Share of a tile that a shape covers."""
    return float(shape.intersection(tile).area / tile.area)
