"""Boxes as COCO's JSON: pictures, annotations and categories in one file, or one for each split.

Layout::

    images/*.png, annotations/instances_{train,val}.json
    {train,valid,test}/*.png, {train,valid,test}/_annotations.coco.json      as Roboflow exports it
    annotations.json beside the pictures, or the JSON itself

A picture lies where ``file_name`` says, seen from the JSON or from the folder, else where its path
ends alike. Boxes are ``[x, y, width, height]`` in pixels, or the bounds of ``segmentation`` where
an annotation has polygons alone; ``iscrowd`` marks a group and is left out and counted. The split
is that of the JSON's name, else that of its folder. A picture without annotations has no object.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError
from napari_pathreason.files import plain_text
from napari_pathreason.training.samples import Area, Split

from ._labels import refuse_alike
from ._layout import Kind, LabelledEntry, LeftOut, Options, PictureSet
from ._objects import AskObjects
from ._pictures import DOUBTFUL, PicturesByName, subfolders
from ._splits import split_in, split_of, splits_in

CROWDS = "annotations are of crowds (iscrowd) and were left out"
NO_BOX = "annotations have no box of a known class and were left out"
NO_PICTURE = "annotations belong to no picture and were left out"
PARTS = ("images", "annotations", "categories")


def _files(source: Path) -> list[Path]:
    """Files of COCO in a folder, in ``annotations``, in folders of splits; or the file itself."""
    if source.is_file():
        return [source] if _is_coco(source) else []
    if not source.is_dir():
        return []
    below = [p for p in subfolders(source) if split_of(p.name) or p.name.lower() == "annotations"]
    return [
        path
        for folder in (source, *below)
        for path in sorted(folder.glob("[!.]*.json"))
        if _is_coco(path)
    ]


def _is_coco(path: Path) -> bool:
    """Whether a JSON file begins as COCO's do, and has all its parts."""
    if path.suffix != ".json":
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(4000)
    if not head.lstrip("\ufeff \n").startswith("{") or '"messages"' in head:
        return False
    if not any(f'"{part}"' in head for part in (*PARTS, "info", "licenses")):
        return False
    content = _content(path)
    return isinstance(content, dict) and all(isinstance(content.get(p), list) for p in PARTS)


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except ValueError:
        return None


def _matches(source: Path) -> bool:
    return bool(_files(source))


def _split_of_file(path: Path, source: Path) -> Split | None:
    if splits_in(path.stem):
        return split_in(path.stem)
    inside = source.is_dir() and path.parent != source
    return split_of(path.parent.name) if inside else None


def _read(source: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If a file cannot be read as COCO's, or two classes are alike.
    """
    left, files = LeftOut(), _files(source)
    if not files:
        raise QueryError(f"{source.name} holds no JSON with {', '.join(PARTS)}; export it again")
    contents = {path: _content(path) for path in files}
    spelled = [
        (_name(category), path.name)
        for path, content in contents.items()
        for category in content["categories"]
        if isinstance(category, dict)
    ]
    refuse_alike(source.name, "categories", spelled)
    used: set[str] = set()
    found: list[tuple[Path, str, list[Area], Split | None]] = []
    root = options.images or (source if source.is_dir() else source.parent)
    for path, content in contents.items():
        split, pictures = _split_of_file(path, source), PicturesByName(root)
        boxes = _boxes(content, path.name, left)
        used |= {area.label for areas in boxes.values() for area in areas}
        for image in content["images"]:
            name = str(image.get("file_name", "")) if isinstance(image, dict) else ""
            if not name:
                left.add("pictures have no file_name and were left out", path.name)
                continue
            beside = path.parent / name
            file = beside if beside.is_file() and options.images is None else pictures.find(name)
            found.append((file, name, boxes.pop(_id(image.get("id")), []), split))
        left.add(NO_PICTURE, path.name, sum(map(len, boxes.values())))
        for name in sorted(pictures.doubtful):
            left.add(DOUBTFUL, Path(name).name)
    if not used:
        why = f" ({'; '.join(left.notes())})" if left.notes() else ""
        raise QueryError(
            f"{source.name} holds no box{why}: nothing to ask about; export it with bbox, or with "
            "polygons as segmentation"
        )
    names = tuple(sorted(used))
    notes = []
    empty = sorted({name.replace("_", " ") for name, _ in spelled} - used - {""})
    if empty:
        notes.append(f"categories without a box are not asked about: {', '.join(empty)}")
    entries = [
        LabelledEntry(
            f"{split or 'all'}/{name}",
            str(file),
            AskObjects(file, names, partial(list, areas), source.stem, left),
            split,
            file,
        )
        for file, name, areas, split in found
    ]
    return PictureSet(entries, "picture", tuple(notes), left, frozenset(files))


def _boxes(content: dict[str, Any], file: str, left: LeftOut) -> dict[Any, list[Area]]:
    """Boxes by the id of their picture."""
    names = {
        _id(category.get("id")): _name(category).replace("_", " ")
        for category in content["categories"]
        if isinstance(category, dict)
    }
    boxes: dict[Any, list[Area]] = defaultdict(list)
    for item in content["annotations"]:
        if isinstance(item, dict) and item.get("iscrowd"):
            left.add(CROWDS, file)
            continue
        area = _area(item, names)
        if area is None:
            left.add(NO_BOX, file)
        else:
            boxes[_id(item.get("image_id"))].append(area)
    return boxes


def _area(item: Any, names: dict[Any, str]) -> Area | None:
    if not isinstance(item, dict) or not (label := names.get(_id(item.get("category_id")))):
        return None
    sides, outlines = item.get("bbox"), item.get("segmentation")
    try:
        if isinstance(sides, Sequence) and len(sides) == 4:
            x, y, width, height = map(float, sides)
            corners = x, y, x + width, y + height
        elif isinstance(outlines, Sequence) and outlines:  # polygons; masks are a mapping
            xs = [float(x) for outline in outlines for x in outline[::2]]
            ys = [float(y) for outline in outlines for y in outline[1::2]]
            corners = min(xs), min(ys), max(xs), max(ys)
        else:
            return None
    except (TypeError, ValueError, OverflowError):
        return None
    return Area(label=label, corners=corners)


def _name(category: dict[str, Any]) -> str:
    return plain_text(str(category.get("name", "")).strip())


def _id(value: Any) -> Any:
    """An id, of which numbers and words are some; None for anything else."""
    return value if isinstance(value, int | float | str) else None


KIND: Kind = Kind("coco", "a JSON of images, annotations and categories, pictures", _matches, _read)
