"""What results say, shape by shape; GeoJSON and tables are both made of these."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_pathreason.geometry import Box, Outline, Region
from napari_pathreason.types import Detection, Reliability, Result

from ._geojson import Colour, Feature, ObjectType, Shape
from ._reliability import (
    LEVEL_KEY,
    MEASUREMENT,
    RANK,
    UNRELIABLE_CLASS,
    answer_line,
    metadata_of,
)
from ._views import ViewRow, has_windows, policy_of, view_rows, windows_read

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

REGION_COLOUR: Colour = (26, 92, 255)
PALETTE: tuple[Colour, ...] = (
    (0, 200, 83),
    (255, 214, 0),
    (0, 229, 255),
    (255, 109, 0),
    (213, 0, 249),
)
"""The colours of the overlay in napari."""
KIND_KEY = "pathreason"
"""Metadata key that says what an object of ours is."""

Kind = Literal["region", "finding", "window", "tile", "drawing"]
_OBJECTS: dict[Kind, ObjectType] = {"finding": "detection", "tile": "tile"}
MOST_LETTERS = 60
"""Of an answer that is a class."""
WINDOW_CLASS = "Window"
"""Class of the windows that were read, where a file is to hold them."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A shape on a slide and what is known of it.

    Parameters
    ----------
    shape : Box or shapely geometry
        Level-0 pixels, (x, y).
    kind : {"region", "finding", "window", "tile", "drawing"}
        What was asked of, what was found there, what was read of it, a tile of a slide that was
        asked by itself, or what a user drew.
    label : str
    colour : (int, int, int), optional
    number : int
        Of the result, counted from 1; 0 for a drawing; of a tile its own.
    result : Result, optional
    run : str
        UUID of the run.
    confidence : float, optional
        0 to 1.
    mpp : (float, float), optional
        Micrometres per level-0 pixel (x, y).
    own : Reliability, optional
        Of this shape, where it is not that of the whole result.
    read : ViewRow, optional
        Of a window.
    name : str
        Of the annotation that was asked about; empty where it has none.
    """

    shape: Shape
    kind: Kind
    label: str = ""
    colour: Colour | None = None
    number: int = 0
    result: Result | None = None
    run: str = ""
    confidence: float | None = None
    mpp: tuple[float, float] | None = None
    own: Reliability | None = None
    read: ViewRow | None = None
    name: str = ""

    @property
    def reliability(self) -> Reliability | None:
        """Whether it may be relied on; None for what a user drew."""
        return self.own if self.own is not None or self.result is None else self.result.reliability

    @property
    def answer(self) -> str:
        """The answer that it belongs to, or that there is none, in words; empty for a drawing."""
        if self.read is not None:
            return self.read.answer
        if self.result is None:
            return ""
        assessed = self.reliability or self.result.reliability
        return answer_line(self.result.answer.text, assessed)

    @property
    def area_um2(self) -> float | None:
        """Area in square micrometres; None where the pixel size is not known."""
        return None if self.mpp is None else float(self.shape.area) * self.mpp[0] * self.mpp[1]


def new_run() -> str:
    """Fresh id of a run, a UUID."""
    return str(uuid.uuid4())


def marks_of(
    results: Iterable[Result],
    run: str,
    windows: bool = False,
    answer_class: bool = False,
    names: Sequence[str] = (),
) -> Iterator[Mark]:
    """The region and the findings of each result, in order; results are counted from 1.

    A region is its outline, where it has one. With ``windows`` what was read of a region comes
    behind its findings. With ``answer_class`` a region is labelled with its answer, unless boxes
    were asked for or there is no reliable one: then `features_of_marks` says so where it is wanted.
    ``names`` are those of the annotations that were asked about, one for each result, a mere number
    where one had none: a region keeps its name.
    """
    colours: dict[str, Colour] = {}
    for number, result in enumerate(results, 1):
        label = _class_of(result) if answer_class else ""
        if label:
            colours.setdefault(label, PALETTE[len(colours) % len(PALETTE)])
        yield Mark(
            shape=_shape_of(result),
            kind="region",
            label=label,
            colour=colours[label] if label else REGION_COLOUR,
            number=number,
            result=result,
            run=run,
            confidence=confidence_of(result),
            mpp=result.slide.mpp,
            name=_own_name(names[number - 1]) if names else "",
        )
        for name in (*result.query.options, *(detection.label for detection in result.detections)):
            colours.setdefault(name, PALETTE[len(colours) % len(PALETTE)])
        for detection in result.detections:
            yield Mark(
                shape=detection.box,
                kind="finding",
                label=detection.label,
                colour=colours[detection.label],
                number=number,
                result=result,
                run=run,
                confidence=confidence_of(detection),
                mpp=result.slide.mpp,
            )
        if windows and has_windows(result):
            yield from _windows_of(result, number, run)


def asked_shape(result: Result) -> BaseGeometry:
    """What was asked about, within outlines, in level-0 pixels."""
    import shapely

    request, region = result.request, result.region
    parts: list[tuple[Region, Outline]] = [(region, () if request is None else request.outline)]
    if request is not None and request.policy == "together":
        parts = [(one.region, one.outline) for one in request.windows]
    shapes = []
    for at, outline in parts:
        bounds = shapely.box(*at.box.corners)  # of the part that lies on the slide
        polygon = shapely.make_valid(shapely.Polygon(outline)) if outline else bounds
        shapes.append(shapely.intersection(polygon, bounds) if outline else bounds)
    return shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)


def _own_name(name: str) -> str:
    """The name of an annotation; a number only says which one it was."""
    return "" if name.isdecimal() else name


def _shape_of(result: Result) -> Shape:
    """What was asked about: its outline, else its rectangle."""
    outline = () if result.request is None else result.request.outline
    return asked_shape(result) if outline else result.region.box


def _class_of(result: Result) -> str:
    """The answer as a class; a guess is none, and boxes have classes of their own."""
    if result.query.task == "detection" or result.reliability.level == "none":
        return ""
    words = " ".join(result.answer.text.split()).replace(": ", " ")  # that parts classes
    return (
        words
        if len(words) <= MOST_LETTERS
        else f"{words[: MOST_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def _windows_of(result: Result, number: int, run: str) -> Iterator[Mark]:
    for row in view_rows(result):
        if row.view.number and not row.view.slide:
            yield Mark(
                shape=row.view.region.box,
                kind="window",
                label=WINDOW_CLASS,
                colour=_rgb(row.colour),
                number=number,
                result=result,
                run=run,
                confidence=row.confidence,
                mpp=result.slide.mpp,
                own=row.reliability,
                read=row,
            )


def _rgb(colour: str) -> Colour:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def features_of_marks(marks: Iterable[Mark], unreliable_class: bool = False) -> Iterator[Feature]:
    """Marks as QuPath objects: findings are detections, tiles tiles, all others annotations.

    Ids follow from the run and the order, so that the same run gives the same file; windows do not
    change those of the others.

    Parameters
    ----------
    marks : iterable of Mark
    unreliable_class : bool
        Whether what has no reliable answer gets the class ``Unreliable`` above its own, as in
        ``Unreliable: tumour``, so that QuPath can hide it or leave it out of a count.
    """
    index = -1
    for mark in marks:
        index += mark.read is None
        place = str(index) if mark.read is None else f"{mark.number} {mark.read.view.name}"
        space = uuid.UUID(mark.run) if mark.run else None
        label = " ".join(mark.label.split())  # QuPath takes no line break in a class
        classes = tuple(label.split(": ")) if label else ()
        assessed = mark.reliability
        if unreliable_class and assessed is not None and assessed.level == "none":
            classes = (UNRELIABLE_CLASS, *classes)
        yield Feature(
            shape=mark.shape,
            object_type=_OBJECTS.get(mark.kind, "annotation"),
            classes=classes,
            colour=mark.colour,
            name=_name(mark),
            measurements=_measurements(mark),
            metadata=_metadata(mark),
            id=str(uuid.uuid5(space, place) if space else uuid.uuid4()),
            locked=mark.kind in ("region", "window"),
        )


def _name(mark: Mark) -> str:
    if mark.read is not None:
        return mark.read.view.name
    if mark.name:
        return mark.name
    return f"{mark.kind} {mark.number}" if mark.kind in ("region", "tile") else ""


def detections_in(features: Iterable[Feature]) -> Iterator[Detection]:
    """Findings of a file as labelled boxes; of a file of another program, all its objects."""
    for feature in features:
        if feature.metadata.get(KIND_KEY) in (None, "finding"):
            marked = feature.metadata.get(LEVEL_KEY) == "none"
            marked &= feature.classes[:1] == (UNRELIABLE_CLASS,)
            label = ": ".join(feature.classes[1:]) if marked else feature.label
            yield Detection(label, feature.box)


def confidence_of(value: Result | Detection) -> float | None:
    """The model's confidence, 0 to 1; None where it does not say."""
    number = getattr(value, "confidence", None)
    finite = isinstance(number, int | float) and math.isfinite(number)
    return float(number) if number is not None and finite else None


def _measurements(mark: Mark) -> dict[str, float]:
    measurements: dict[str, float] = {}
    if (assessed := mark.reliability) is not None:
        measurements[MEASUREMENT] = RANK[assessed.level]
    if mark.confidence is not None:
        measurements["Confidence"] = round(mark.confidence, 6)
    if mark.read is not None:
        measurements["Visual tokens"] = mark.read.view.tokens
    elif mark.result is not None:
        tokens = mark.result.tokens
        measurements["Visual tokens"] = tokens.spent
        if mark.kind == "region":
            measurements["Visual tokens, native picture"] = tokens.native_picture
            measurements["Visual tokens, native windows"] = tokens.native_windows
            if count := windows_read(mark.result):
                measurements["Windows"] = count
                measurements["Windows, unread"] = len(mark.result.unread)
    if mark.area_um2 is not None:
        measurements["Area µm^2"] = round(mark.area_um2, 3)
    return measurements


def _metadata(mark: Mark) -> dict[str, str]:
    metadata: dict[str, str] = {KIND_KEY: mark.kind}
    if mark.run:
        metadata["run"] = mark.run
    result = mark.result
    if mark.reliability is not None:
        metadata |= metadata_of(mark.reliability)
    if result is None:
        return metadata
    metadata |= {
        "tile" if mark.kind == "tile" else "result": str(mark.number),
        "slide": result.slide.name,
        "task": result.query.task,
        "question": result.query.question,
        "answer": mark.answer,
        "rationale": result.answer.rationale,
        "model": result.model.name,
    }
    if mark.read is not None:
        metadata["why"] = mark.read.view.why
        metadata["rationale"] = "" if mark.read.joint else mark.read.reading.answer.rationale
    if mark.kind == "region":
        metadata["policy"] = policy_of(result)
        metadata["options"] = ", ".join(result.query.options)
        if mark.mpp is not None:
            metadata["um per pixel"] = " ".join(f"{value:.9g}" for value in mark.mpp)
    return {name: text for name, text in metadata.items() if text}


def box_um(box: Box, mpp: tuple[float, float]) -> Box:
    """A level-0 box in micrometres from the slide's upper left corner."""
    return Box(box.x * mpp[0], box.y * mpp[1], box.w * mpp[0], box.h * mpp[1])
