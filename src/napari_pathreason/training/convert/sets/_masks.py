"""Pictures beside their masks: objects of one class or of several, outlined in any of three ways.

Layout (`_beside`), a mask bearing its picture's name, ``_mask`` behind it or not::

    images/a.png, masks/a.png
    {train,val,test}/images/a.png, {train,val,test}/masks/a_mask.png
    classes.txt                       a line each: ``1 gland``, of masks of classes

- **binary**: 0 and one other value; objects are connected parts, so that touching ones are one;
- **instance**: a number for each object;
- **class**: a number for each class, which ``classes.txt`` names; objects are connected parts.

What the masks are is seen where they hold one value beside 0, or where there is a ``classes.txt``;
else it must be said, for a number may mean either. A mask that is not what the others are is left
out and counted. Values below 0 are taken for 0, as what belongs to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import FLAT, Area

from ._beside import Twins, paired, twins_in
from ._labels import refuse_alike
from ._layout import Kind, LabelledEntry, LeftOut, MaskKind, Options, PictureSet
from ._objects import AskObjects
from ._pictures import is_picture

CLASSES = "classes.txt"
OBJECT = "object"
"""What objects of masks without names are called."""
SMALLEST = 20
"""Pixels of an object, at the least: smaller parts are noise of the mask."""
LOOKED_AT = 24
"""Masks that are opened to see what they are."""
SMALL = f"parts of masks below {SMALLEST} pixels were left out"
_LINE = re.compile(r"(\d+)\s*[:=,;\t ]\s*(.+)")


@dataclass(frozen=True, slots=True)
class _Pair:
    picture: Path
    mask: Path
    twins: Twins


def _masks_in(folder: Path) -> list[Twins]:
    return [
        twins
        for twins in twins_in(folder)
        if any(is_picture(path) for path in twins.labels.iterdir())
    ]


def _matches(folder: Path) -> bool:
    return folder.is_dir() and bool(_masks_in(folder))


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If it is not known what the masks mean, or names of classes are missing or alike.
    """
    left, names = LeftOut(), _names_of(folder)
    pairs = [
        _Pair(picture, mask, twins)
        for twins in _masks_in(folder)
        for picture, mask in paired(twins, folder, is_picture, left)
    ]
    if not pairs:
        raise QueryError(
            f"{folder.name} holds pictures and masks of other names; call each mask as its picture"
        )
    meant = options.masks or ("class" if names else _kind_of(folder, pairs))
    if meant == "class" and not names:
        raise QueryError(
            f"masks of classes need names: put a {CLASSES} into {folder.name}, a line each, such "
            "as `1 gland`"
        )
    if meant != "class":
        names = {1: options.label or OBJECT}
    refuse_alike(folder.name, f"classes of {CLASSES}", ((name, "") for name in names.values()))
    notes = []
    if meant == "binary":
        notes.append("masks are binary: objects that touch are counted and boxed as one")
    if meant != "class" and not options.label:
        notes.append(f"objects of masks are called {OBJECT}; name them with --label")
    entries = [
        LabelledEntry(
            key := pair.picture.relative_to(folder).as_posix(),
            key,
            AskObjects(
                pair.picture,
                tuple(names.values()),
                partial(_objects, pair, meant, options.masks is None, names, left),
                folder.name,
                left,
            ),
            pair.twins.split,
            pair.picture,
        )
        for pair in pairs
    ]
    beside = {pair.twins.labels for pair in pairs} | {folder / CLASSES}
    return PictureSet(entries, notes=tuple(notes), left=left, beside=frozenset(beside))


def _names_of(folder: Path) -> dict[int, str]:
    """Classes by number, out of ``classes.txt``; 0 is what belongs to none."""
    path = folder / CLASSES
    if not path.is_file():
        return {}
    names = {}
    for place, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        number, name = (int(match[1]), match[2]) if match else (place, line)
        if number in names:
            raise QueryError(f"{CLASSES} names the class {number} twice; give each one name")
        names[number] = name.strip().replace("_", " ")
    names.pop(0, None)
    return names


def _kind_of(folder: Path, pairs: list[_Pair]) -> MaskKind:
    """Binary, if the first masks all hold one same value beside 0."""
    step = max(1, len(pairs) // LOOKED_AT)
    values: set[int] = set()
    broken = ""
    looked_at = pairs[::step][:LOOKED_AT]
    for pair in looked_at:
        try:
            values |= set(np.unique(_values(pair.mask)).tolist())
        except (OSError, SyntaxError, ValueError) as error:  # counted where it is asked about
            broken = f"{pair.mask.name}: {' '.join(str(error).split())}"
    if not values:
        twins = pairs[0].twins
        raise QueryError(
            f"{twins.pictures.name} and {twins.labels.name} in {folder.name} look like pictures "
            f"and their masks, of which none can be read ({broken}); masks are of one channel, a "
            "number for what each pixel shows. Else name the pictures in a labels.csv, or export "
            "annotations as GeoJSON beside the slides"
        )
    if len(values - {0}) > 1:
        shown = ", ".join(map(str, sorted(values)[:6])) + ", ..." * (len(values) > 6)
        raise QueryError(
            f"masks of {folder.name} hold several values ({shown}), which may be objects or "
            f"classes; say --masks instance, or binary, or put a {CLASSES} into {folder.name}"
        )
    return "binary"


def _values(mask: Path) -> NDArray[np.int64]:
    """Values of a mask, (height, width).

    Raises
    ------
    ValueError
        If it is in colour: what a colour means is not known.
    """
    if mask.suffix.lower() in FLAT:
        with Image.open(mask) as file:
            values = np.asarray(file)
    else:
        import tifffile

        values = np.asarray(tifffile.imread(mask))
    if values.ndim == 3:
        values = values[..., :3] if values.shape[-1] in (3, 4) else values
        if (values != values[..., :1]).any():
            raise ValueError("a mask in colour")
        values = values[..., 0]
    if values.ndim != 2:
        raise ValueError("no mask")
    return np.maximum(values.astype(np.int64), 0)


def _objects(
    pair: _Pair, meant: MaskKind, strict: bool, names: Mapping[int, str], left: LeftOut
) -> list[Area]:
    """Boxes of the objects of a mask, in pixels of its picture.

    ``strict`` refuses a binary mask of several values, as where nobody said that it is one.
    """
    from scipy import ndimage

    values = _values(pair.mask)
    with Image.open(pair.picture) as file:
        if file.size != values.shape[::-1]:
            raise ValueError("a mask of another size than its picture")
    found = []
    if meant == "instance":
        label = next(iter(names.values()))
        present, numbers = np.unique(values, return_inverse=True)
        numbers = numbers.reshape(values.shape) + (0 if present[0] == 0 else 1)
        found = _boxes(numbers, label, left, pair.mask.name)
    elif meant == "binary":
        others = np.unique(values[values > 0])
        if others.size > 1 and strict:
            raise ValueError("no binary mask")
        inside = values > (others.max() / 2 if others.size else 0)
        found = _boxes(ndimage.label(inside)[0], next(iter(names.values())), left, pair.mask.name)
    else:
        if unknown := set(np.unique(values).tolist()) - {0, *names}:
            left.add(
                f"masks hold values that {CLASSES} does not name, which were left out",
                f"{pair.mask.name}: {min(unknown)}",
            )
        for number, name in names.items():
            parts = ndimage.label(values == number)[0]
            found += _boxes(parts, name, left, pair.mask.name)
    return found


def _boxes(numbers: NDArray[np.int64], label: str, left: LeftOut, mask: str) -> list[Area]:
    """Bounds of each number above 0."""
    from scipy import ndimage

    sizes = np.bincount(numbers.ravel())
    boxes = []
    for number, where in enumerate(ndimage.find_objects(numbers), 1):
        if where is None:
            continue
        if sizes[number] < SMALLEST:
            left.add(SMALL, mask)
            continue
        y, x = where
        corners = (float(x.start), float(y.start), float(x.stop), float(y.stop))
        boxes.append(Area(label=label, corners=corners))
    return boxes


KIND: Kind = Kind(
    "masks",
    "images/*.png, masks/*.png (binary, instance or, with classes.txt, class masks)",
    _matches,
    _read,
)
