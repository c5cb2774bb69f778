"""Boxes as YOLO's trainers read them (Darknet, Ultralytics): a text file for each picture.

Layout (`_beside`)::

    images/train/a.png, labels/train/a.txt      or train/images/, train/labels/
    data.yaml (names) or classes.txt            names of the classes, the first is class 0

A line holds the number of a class and a box in shares of the picture: ``0 cx cy width height``, or
a polygon ``0 x1 y1 x2 y2 ...``, whose bounds are taken. A picture whose text file is empty has no
object; one without a text file is left out and counted.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import yaml
from PIL import Image

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Area

from ._beside import Twins, paired, twins_in
from ._labels import refuse_alike
from ._layout import Kind, LabelledEntry, LeftOut, Options, PictureSet
from ._objects import AskObjects

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
LISTED = {"classes.txt", "obj.names"}
UNREADABLE_LINE = "lines of labels are no box and were left out"


def _is_label(path: Path) -> bool:
    return path.suffix == ".txt" and path.name not in LISTED and not path.name.startswith(".")


def _labels_in(folder: Path) -> list[Twins]:
    return [t for t in twins_in(folder) if any(_is_label(path) for path in t.labels.iterdir())]


def _matches(folder: Path) -> bool:
    return folder.is_dir() and bool(_labels_in(folder))


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If names of classes are missing, damaged or alike.
    """
    left, (names, files) = LeftOut(), _names_of(folder)
    refuse_alike(folder.name, "classes", ((name, "") for name in names))
    entries, beside = [], set(files)
    for twins in _labels_in(folder):
        beside.add(twins.labels)
        for picture, label in paired(twins, folder, _is_label, left):
            key = picture.relative_to(folder).as_posix()
            read = partial(_objects, picture, label, names, left)
            ask = AskObjects(picture, names, read, folder.name, left)
            entries.append(LabelledEntry(key, key, ask, twins.split, picture))
    return PictureSet(entries, left=left, beside=frozenset(beside))


def _names_of(folder: Path) -> tuple[tuple[str, ...], list[Path]]:
    """Names of the classes in their order, and the files that name them."""
    places = [folder, *(t.labels for t in _labels_in(folder)), folder / "labels"]
    files = [place / name for place in places for name in NAMES if (place / name).is_file()]
    if not files:
        raise QueryError(
            f"{folder.name} names no classes; put a data.yaml (names: [...]) or a classes.txt "
            "(a name a line) into it"
        )
    text = files[0].read_text("utf-8-sig")
    names = text.split("\n") if files[0].name in LISTED else _listed(text, files[0].name)
    plain = tuple(str(name).strip().replace("_", " ") for name in names if str(name).strip())
    if not plain:
        raise QueryError(f"{files[0].name} names no class; give each one a name")
    return plain, files


def _listed(text: str, file: str) -> list[object]:
    try:
        names = (yaml.safe_load(text) or {}).get("names")
    except (yaml.YAMLError, AttributeError):
        names = None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        return [names[number] for number in range(len(names))]
    if not isinstance(names, list):
        raise QueryError(f"{file} has no list `names` of all classes from 0 up; add it")
    return names


def _objects(picture: Path, label: Path, names: tuple[str, ...], left: LeftOut) -> list[Area]:
    """Boxes of one file, level-0 pixels; lines that are none are counted."""
    with Image.open(picture) as file:
        width, height = file.size
    found = []
    for number, line in enumerate(label.read_text("utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        box = _box(line.split(), names, width, height)
        if box is None:
            left.add(UNREADABLE_LINE, f"{label.name}, line {number}")
        else:
            found.append(box)
    return found


def _box(words: list[str], names: tuple[str, ...], width: int, height: int) -> Area | None:
    try:
        kind, *shares = int(words[0]), *map(float, words[1:])
    except ValueError:
        return None
    if not 0 <= kind < len(names) or not all(-1e-6 <= share <= 1 + 1e-6 for share in shares):
        return None
    if len(shares) == 4:
        x, y, w, h = shares
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    elif len(shares) >= 6 and len(shares) % 2 == 0:
        left, right = min(shares[::2]), max(shares[::2])
        top, bottom = min(shares[1::2]), max(shares[1::2])
    else:
        return None
    edges = (max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0))
    corners = tuple(
        round(edge * side, 3) for edge, side in zip(edges, (width, height) * 2, strict=True)
    )
    return Area.model_validate({"label": names[kind], "corners": corners})


KIND: Kind = Kind("yolo", "images/*.png, labels/*.txt, data.yaml or classes.txt", _matches, _read)
