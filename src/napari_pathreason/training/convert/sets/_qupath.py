"""QuPath's annotations over slides, exported as GeoJSON.

Layout, a slide and beside it what QuPath's File > Export objects as GeoJSON wrote::

    slide.svs, slide.geojson (or slide.svs.geojson, packed as .geojson.gz)

What objects mean, after QuPath's own classes:

- an annotation of a class (``Tumor``) is tissue of that class: tiles inside it ask for the class;
- an annotation ``Region*``, or without a class and with classified objects inside, is a field that
  was searched: tiles inside it ask for boxes of every classified object, none included;
- tiles that touch an ``Ignore*`` annotation are left out; other classes with ``*`` say nothing.

Tiles have one size in um (``tile`` px at ``mpp``); an annotation below it is a tile as it is.
Slides are dealt whole; ``groups`` puts those of a patient together. Pixels stay in the slides and
are read at the budget's size, from the level that has it. Tested on miniatures written by this
project's own GeoJSON writer and by hand in QuPath's words.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from napari_pathreason._errors import QueryError
from napari_pathreason._types import SlideInfo
from napari_pathreason.exports import read_geojson
from napari_pathreason.slides import open_slide
from napari_pathreason.training.samples._sample import Area, Corners, Sample, Split

from ._annotations import Annotations
from ._entry import Entry, Found, Kind, Options
from ._store import Store

ENDINGS = (".geojson", ".geojson.gz")
SLIDES = {".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".zarr", ".png", ".jpg", ".jpeg"}
COVERED = 0.75
"""Share of a tile that must lie in its annotation."""
OTHER = 0.25
"""Share of a tile from which another class makes it ambiguous."""
SEEN = 0.5
"""Share of an object that must lie in a tile to be looked for there."""


def _exports(folder: Path) -> list[Path]:
    return sorted(path for end in ENDINGS for path in folder.glob(f"*{end}"))


def _looks(folder: Path) -> bool:
    return folder.is_dir() and bool(_exports(folder))


def _read(folder: Path, options: Options) -> Found:
    """See the module.

    Raises
    ------
    QueryError
        If an export has no slide beside it, or a slide does not state its resolution.
    """
    slides = []
    for export in _exports(folder):
        path = _slide_of(export, options.images or folder)
        with open_slide(path, options.slide_mpp) as slide:
            side = _side(slide.info, options)
            told = Annotations(read_geojson(export), slide.width, slide.height)
        slides.append((path, side, told))
    classes = tuple(sorted({name for *_, told in slides for name in told.classes}))
    sought = tuple(sorted({name for *_, told in slides for name in told.sought}))
    entries = []
    for path, side, told in slides:
        for region, label in told.class_tiles(side, COVERED, OTHER) if len(classes) > 1 else ():
            ask = partial(_which, path, region, classes, label, options.question)
            entries.append(Entry(_key(path, region, "class"), path.name, ask, file=path))
        for region, boxes in told.field_tiles(side, COVERED, SEEN) if sought else ():
            asking = partial(_find, path, region, sought, boxes)
            entries.append(Entry(_key(path, region, "boxes"), path.name, asking, file=path))
    notes = []
    if len(classes) == 1:
        notes.append(f"{classes[0]} is the only class of the annotations: nothing to choose from")
    if sum(told.flat for *_, told in slides):
        notes.append("objects without area (points, lines) were left out")
    return Found(entries, "slide", tuple(notes))


def _key(path: Path, region: tuple[int, int, int, int], what: str) -> str:
    return f"{path.name}/{what}/{','.join(map(str, region))}"


def _slide_of(export: Path, folder: Path) -> Path:
    name = export.name.removesuffix(".gz").removesuffix(".geojson")
    slides = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SLIDES]
    fits = [path for path in slides if name == path.name]
    fits = fits or [path for path in slides if name == path.stem]
    fits = fits or [path for path in slides if name == path.name.partition(".")[0]]  # .ome.tif
    if len(fits) != 1:
        raise QueryError(
            f"{export.name} needs one slide of its name beside it, such as {name}.svs; "
            "name the slides' folder with --images"
        )
    return fits[0]


def _side(slide: SlideInfo, options: Options) -> tuple[int, int]:
    """(width, height) of a tile in level-0 pixels."""
    mpp = slide.mpp
    if mpp is None:
        raise QueryError(
            f"{slide.name} does not state its resolution; give its um per pixel with --slide-mpp"
        )
    side = options.tile * options.mpp
    return max(1, round(side / mpp[0])), max(1, round(side / mpp[1]))


def _which(
    slide: Path,
    region: tuple[int, int, int, int],
    classes: tuple[str, ...],
    label: str,
    question: str,
    split: Split,
    rng: Random,
    store: Store,
) -> Iterator[Sample]:
    yield Sample(
        image=str(slide),
        region=region,
        task="subtyping",
        question=question or "Which label fits this region?",
        choices=classes,
        answer=label,
        source="qupath",
        topic="class of a region",
    )


def _find(
    slide: Path,
    region: tuple[int, int, int, int],
    sought: tuple[str, ...],
    boxes: list[tuple[str, Corners]],
    split: Split,
    rng: Random,
    store: Store,
) -> Iterator[Sample]:
    yield Sample(
        image=str(slide),
        region=region,
        task="detection",
        question="",
        choices=sought,
        boxes=tuple(Area(label=label, corners=corners) for label, corners in boxes),
        source="qupath",
        topic="boxes of objects",
    )


KIND = Kind("qupath", "slide.svs, slide.geojson (QuPath: export objects)", _looks, _read)
