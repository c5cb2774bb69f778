"""One object of a GeoJSON file, in the words of QuPath."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from napari_pathreason.geometry import Box

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

ObjectType = Literal["annotation", "detection", "cell", "tile", "tmaCore"]
Shape: TypeAlias = "Box | BaseGeometry"
Colour = tuple[int, int, int]


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
