"""Boxes as YOLO's trainers read them (Darknet, Ultralytics): a text file for each picture.

Layout (`_beside`)::

    images/train/a.png, labels/train/a.txt      or train/images/, train/labels/
    a.png, a.txt                                or train/a.png, train/a.txt
    data.yaml (names) or classes.txt            names of the classes, the first is class 0

A line holds the number of a class and a box in shares of the picture: ``0 cx cy width height``, or
a polygon ``0 x1 y1 x2 y2 ...``, whose bounds are taken. A picture whose text file is empty has no
object; one without a text file is left out and counted. Where most lines are neither, as of what a
detector found, with a confidence behind each box, the folder is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import yaml
from PIL import Image

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Area, Split

from ._beside import Twins, by_split, paired, paired_together, twins_in
from ._labels import refuse_alike
from ._layout import Kind, LabelledEntry, LeftOut, Options, PictureSet
from ._objects import AskObjects
from ._pictures import pictures_in

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
LISTED = {"classes.txt", "obj.names"}
UNREADABLE_LINE = "lines of labels are no box and were left out"


def _is_label(path: Path) -> bool:
    return path.suffix == ".txt" and path.name not in LISTED and not path.name.startswith(".")


def _labels_in(folder: Path) -> list[Twins]:
    return [t for t in twins_in(folder) if any(_is_label(path) for path in t.labels.iterdir())]


def _together(folder: Path) -> list[tuple[Path, Split | None]]:
    """Folders that hold pictures and their text files, with the split that their name means."""
    return [
        (path, split)
        for path, split in by_split(folder)
        if any(_begins_so(picture.with_suffix(".txt")) for picture in pictures_in(path))
    ]


def _begins_so(label: Path) -> bool:
    """Whether a text file begins with a class by number and a box or a polygon."""
    if not _is_label(label) or not label.is_file():
        return False
    with label.open(encoding="utf-8-sig", errors="replace") as file:
        words = file.readline(10_000).split()
    return len(words) >= 5 and words[0].isdecimal() and _shares(words) is not None


def _matches(folder: Path) -> bool:
    return folder.is_dir() and bool(_labels_in(folder) or _together(folder))


def _pairs(folder: Path, left: LeftOut) -> Iterator[tuple[Path, Path, Split | None]]:
    """Pictures, their text files and their splits."""
    for twins in _labels_in(folder):
        for picture, label in paired(twins, folder, _is_label, left):
            yield picture, label, twins.split
    yield from paired_together(_together(folder), ".txt", folder, left)


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If names of classes are missing, damaged or alike, or most lines are no boxes.
    """
    left, (names, files) = LeftOut(), _names_of(folder)
    refuse_alike(folder.name, "classes", ((name, "") for name in names))
    entries, beside = [], {*files, *(twins.labels for twins in _labels_in(folder))}
    for picture, label, split in _pairs(folder, left):
        beside.add(label)
        key = picture.relative_to(folder).as_posix()
        read = partial(_objects, picture, label, names, left)
        ask = AskObjects(picture, names, read, folder.name, left)
        entries.append(LabelledEntry(key, key, ask, split, picture))
    _refuse_other_lines(beside, names)
    return PictureSet(entries, left=left, beside=frozenset(beside))


def _refuse_other_lines(files: set[Path], names: tuple[str, ...]) -> None:
    """Refuse labels of which more than half of the lines are no box of a known class.

    Raises
    ------
    QueryError
        Names the first of them.
    """
    number, first, other = 0, "", 0
    for label in sorted(path for path in files if _is_label(path) and path.is_file()):
        for at, line in enumerate(label.read_text("utf-8-sig", "replace").splitlines(), 1):
            number += bool(line.strip())
            if line.strip() and _box(line.split(), names, 1, 1) is None:
                first, other = first or f"{label.name}, line {at}", other + 1
    if other > number / 2:
        raise QueryError(
            f"{other:,} of {number:,} lines of labels are no box of one of the {len(names)} "
            f"classes ({first}); a line is `class cx cy width height` or a polygon, in shares of "
            "the picture, and what a detector found, with a confidence at its end, is no label"
        )


def _names_of(folder: Path) -> tuple[tuple[str, ...], list[Path]]:
    """Names of the classes in their order, and the files that name them."""
    places = [folder, *(t.labels for t in _labels_in(folder)), folder / "labels"]
    places += [path for path, _ in _together(folder)]
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


def _shares(words: list[str]) -> list[float] | None:
    """Numbers behind the class, all of 0 to 1; None where one is none."""
    try:
        shares = [float(word) for word in words[1:]]
    except ValueError:
        return None
    return shares if all(-1e-6 <= share <= 1 + 1e-6 for share in shares) else None


def _box(words: list[str], names: tuple[str, ...], width: int, height: int) -> Area | None:
    shares = _shares(words)
    if shares is None or not words[0].isdecimal() or int(words[0]) >= len(names):
        return None
    kind = int(words[0])
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
