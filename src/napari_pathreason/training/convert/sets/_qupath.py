"""QuPath's annotations over slides, exported as GeoJSON.

Layout, a slide and beside it what QuPath's File > Export objects as GeoJSON wrote::

    slide.svs, slide.geojson (or slide.svs.geojson, packed as .geojson.gz)
    {train,val,test}/slide.svs, {train,val,test}/slide.geojson, where a split is published

What objects mean, after QuPath's own classes:

- an annotation of a class (``Tumor``) is tissue of that class: tiles inside it ask for the class;
- an annotation ``Region*``, or without a class and with classified objects inside, is a field that
  was searched: tiles inside it ask for boxes of every classified object, none included;
- tiles that touch an ``Ignore*`` annotation are left out; other classes with ``*`` say nothing.

Tiles have one size in um (``tile`` px at ``mpp``); an annotation below it is a tile as it is.
Slides are dealt whole; ``groups`` puts those of a patient together. Where there is one slide to
train on, strips of it are held out, and a note says so. Pixels stay in the slides and
are read at the budget's size, from the level that has it. Tested on miniatures written by this
project's own GeoJSON writer and by hand in QuPath's words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from napari_pathreason.errors import QueryError, SlideError
from napari_pathreason.exports import read_geojson
from napari_pathreason.slides import open_slide
from napari_pathreason.training.samples import Area, Corners, Sample, Split
from napari_pathreason.types import SlideInfo

from ._annotations import Annotations
from ._labels import refuse_alike
from ._layout import Draw, Kind, LabelledEntry, LeftOut, Options, PictureSet, Place
from ._pictures import BROKEN, pictures_in, shown, subfolders
from ._questions import ask_label
from ._splits import SPELLINGS, split_of

TOPIC = "class of a region"
ENDINGS = (".geojson", ".geojson.gz")
COVERED = 0.75
"""Share of a tile that must lie in its annotation."""
OTHER = 0.25
"""Share of a tile from which another class makes it ambiguous."""
INSIDE = 0.5
"""Share of an object that must lie in a tile to be asked for there."""


@dataclass(frozen=True, slots=True)
class _AnnotatedSlide:
    """A slide, its annotations, and the split of the folder that they lie in."""

    path: Path
    name: str
    export: str
    side: tuple[int, int]
    split: Split | None
    annotations: Annotations


def _in(folder: Path) -> list[Path]:
    return sorted(path for end in ENDINGS for path in folder.glob(f"[!.]*{end}"))


def _exports(folder: Path) -> list[tuple[Path, Split | None]]:
    """Exports of a folder and of its folders of splits, with the split.

    Raises
    ------
    QueryError
        If exports lie in a folder that is no split.
    """
    exports_of: list[tuple[Path, Split | None]] = [(path, None) for path in _in(folder)]
    for below in subfolders(folder):
        exports, split = _in(below), split_of(below.name)
        if exports and split is None:
            raise QueryError(
                f"{below.name} in {folder.name} holds exports of QuPath and is no name of a split "
                f"that is known: {SPELLINGS}; rename it, or convert that folder itself, "
                "with --images where its slides lie"
            )
        exports_of += [(path, split) for path in exports]
    return exports_of


def _matches(folder: Path) -> bool:
    return folder.is_dir() and any(_in(path) for path in (folder, *subfolders(folder)))


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If an export has no slide beside it, a slide does not state its resolution, or two classes
        are one after case and blanks.
    """
    exports, left = _exports(folder), LeftOut()
    beside = {path for path, _ in exports}
    slides = []
    for export, split in exports:
        path = _slide_of(export, folder, options.images)
        try:
            with open_slide(path, options.slide_mpp) as slide:
                side, size = _side(slide.info, options), (slide.width, slide.height)
        except SlideError:
            left.add(BROKEN, shown(path, folder))
            beside.add(path)
            continue
        placeless: list[str] = []
        annotations = Annotations(read_geojson(export, placeless), *size, left, path.name)
        left.add("objects without a place were left out", path.name, len(placeless))
        names = shown(path, folder), shown(export, folder)
        slides.append(_AnnotatedSlide(path, *names, side, split, annotations))
    left.refuse_damaged(BROKEN, len(exports), "copy the slides again, or take them out")
    spelled = [(one, name) for one in slides for name in sorted(one.annotations.classes)]
    refuse_alike(folder.name, "classes", ((name, one.export) for one, name in spelled))
    spelled = [(one, name) for one in slides for name in sorted(one.annotations.sought)]
    refuse_alike(folder.name, "classes of objects", ((name, one.export) for one, name in spelled))
    classes = tuple(sorted({name for one in slides for name in one.annotations.classes}))
    sought = tuple(sorted({name for one in slides for name in one.annotations.sought}))
    question = options.question or "Which label fits this region?"
    entries = []
    for one in slides:
        path, split = one.path, one.split
        tiles = one.annotations.class_tiles(one.side, COVERED, OTHER) if len(classes) > 1 else ()
        for region, label in tiles:
            ask = partial(ask_label, path, question, classes, label, "qupath", TOPIC, region=region)
            key = _key(one.name, region, "class")
            entries.append(LabelledEntry(key, path.name, ask, split, path, region, label))
        if not sought:
            left.add(
                "searched fields hold no classified object and were left out",
                path.name,
                one.annotations.fields,
            )
            continue
        for region, boxes in one.annotations.field_tiles(one.side, COVERED, INSIDE):
            asking = partial(_find, path, region, sought, boxes)
            key = _key(one.name, region, "boxes")
            entries.append(LabelledEntry(key, path.name, asking, split, path, region))
    notes = []
    if len(classes) == 1:
        notes.append(f"{classes[0]} is the only class of the annotations: nothing to choose from")
    return PictureSet(entries, "slide", tuple(notes), left, frozenset(beside))


def _key(name: str, region: Place, what: str) -> str:
    return f"{name}/{what}/{','.join(map(str, region))}"


def _slide_of(export: Path, folder: Path, images: Path | None) -> Path:
    """The slide of an export: beside it, or in the folder of slides, there too by split."""
    name = export.name.removesuffix(".gz").removesuffix(".geojson")
    inside = export.parent if images is None else images / export.parent.relative_to(folder)
    slides = pictures_in(inside) or pictures_in(images or inside)
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
            f"{slide.name} does not state its resolution; give its µm per pixel with --slide-mpp"
        )
    side = options.tile * options.mpp
    return max(1, round(side / mpp[0])), max(1, round(side / mpp[1]))


def _find(
    slide: Path,
    region: Place,
    sought: tuple[str, ...],
    boxes: list[tuple[str, Corners]],
    draw: Draw,
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


KIND: Kind = Kind("qupath", "slide.svs, slide.geojson (QuPath: export objects)", _matches, _read)
