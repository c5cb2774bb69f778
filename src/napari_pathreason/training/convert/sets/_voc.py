"""Boxes as Pascal VOC: an XML file for each picture, as LabelImg and others write it.

Layout, of any classes::

    JPEGImages/a.jpg, Annotations/a.xml, ImageSets/Main/{train,val,test}.txt
    images/a.png, annotations/a.xml              or train/images/, train/annotations/
    a.png, a.xml                                 or train/a.png, train/a.xml

Pixels are counted from 1, and the last row and column of a box lie inside it (VOC's development
kit). Lists under ``ImageSets/Main`` are published splits; what none of them names is dealt.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Area, Split

from ._beside import NO_LABEL, by_split, paired, paired_together, twins_in
from ._labels import refuse_alike
from ._layout import Kind, LabelledEntry, LeftOut, Options, PictureSet
from ._objects import AskObjects
from ._pictures import pictures_in, shown
from ._splits import published

EDGES = ("xmin", "ymin", "xmax", "ymax")
LISTS = "ImageSets/Main"
BROKEN_XML = "files of boxes cannot be read, and their pictures were left out"


def _is_voc(path: Path) -> bool:
    if path.suffix.lower() != ".xml" or path.name.startswith("."):
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return "<annotation" in file.read(2000)


def _xml_in(folder: Path) -> bool:
    return any(_is_voc(path) for path in folder.iterdir())


def _published_layout(folder: Path) -> bool:
    known = folder / "Annotations"
    return (folder / "JPEGImages").is_dir() and known.is_dir() and _xml_in(known)


def _together(folder: Path) -> list[tuple[Path, Split | None]]:
    """Folders that hold pictures and their XML files, with the split that their name means."""
    return [
        (path, split) for path, split in by_split(folder) if pictures_in(path) and _xml_in(path)
    ]


def _matches(folder: Path) -> bool:
    return folder.is_dir() and (
        _published_layout(folder)
        or any(_xml_in(twins.labels) for twins in twins_in(folder))
        or bool(_together(folder))
    )


def _pairs(folder: Path, left: LeftOut) -> Iterator[tuple[Path, Path, Split | None]]:
    """Pictures, their files of boxes and their splits."""
    if _published_layout(folder):
        splits: dict[str, Split] = {}
        lists = {path.stem: path for path in folder.glob(f"{LISTS}/[!.]*.txt")}
        lists.pop("trainval", None)
        for stem, named in published(lists, LISTS):
            splits |= dict.fromkeys(lists[stem].read_text("utf-8").split(), named)
        known = {path.stem: path for path in (folder / "Annotations").iterdir() if _is_voc(path)}
        for picture in pictures_in(folder / "JPEGImages"):
            if picture.stem in known:
                yield picture, known[picture.stem], splits.get(picture.stem)
            else:
                left.add(NO_LABEL, shown(picture, folder))
        return
    for twins in twins_in(folder):
        if _xml_in(twins.labels):
            for picture, label in paired(twins, folder, _is_voc, left):
                yield picture, label, twins.split
    yield from paired_together(_together(folder), ".xml", folder, left)


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If no file of boxes can be read, or two classes are alike.
    """
    left, found = LeftOut(), []
    beside = {folder / "ImageSets"}
    for picture, label, split in _pairs(folder, left):
        beside.add(label)
        try:
            found.append((picture, label, split, _classes(label)))
        except ElementTree.ParseError:
            left.add(BROKEN_XML, shown(label, folder))
            beside.add(picture)
    spelled = [(name, label.name) for _, label, _, classes in found for name in classes]
    refuse_alike(folder.name, "classes", spelled)
    names = tuple(sorted({name.replace("_", " ") for name, _ in spelled}))
    left.refuse_damaged(BROKEN_XML, len(found) + left.count(BROKEN_XML), "export them again")
    if not names:
        raise QueryError(f"{folder.name} holds no box: nothing to ask about")
    entries = [
        LabelledEntry(
            key := picture.relative_to(folder).as_posix(),
            key,
            AskObjects(picture, names, partial(_objects, label), folder.name, left),
            split,
            picture,
        )
        for picture, label, split, _ in found
    ]
    return PictureSet(entries, left=left, beside=frozenset(beside))


def _classes(label: Path) -> set[str]:
    root = ElementTree.parse(label).getroot()
    return {(item.findtext("name") or "").strip() for item in root.iter("object")} - {""}


def _objects(label: Path) -> list[Area]:
    found = []
    for item in ElementTree.parse(label).getroot().iter("object"):
        x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{edge}") or 0) for edge in EDGES)
        name = (item.findtext("name") or "").strip().replace("_", " ")
        corners = (max(x1 - 1, 0.0), max(y1 - 1, 0.0), x2, y2)
        found.append(Area(label=name, corners=corners))
    return found


KIND: Kind = Kind("voc", "JPEGImages/, Annotations/*.xml; or pictures and *.xml", _matches, _read)
