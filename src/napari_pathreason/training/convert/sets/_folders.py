"""A folder for each class, with a folder for each split above or below the classes, or none.

::

    CLASS/*.png
    {train,val,test}/CLASS/*.png     or other names of splits, see `_splits`
    CLASS/{train,val,test}/*.png

What is like it and no such thing is refused by name: pictures beside their masks, folders of
splits beside folders of another name, pictures that lie deeper. Nothing of it is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Split

from ._beside import names_labels, names_pictures, stem_of
from ._labels import refuse_alike
from ._layout import Kind, LabelledEntry, Options, PictureSet
from ._pictures import pictures_in, subfolders
from ._questions import ask_label
from ._splits import NAMED_SO, SPELLINGS, split_of, split_of_source

MOST_NAMED = 3
"""Folders that a message names."""
INSTEAD = (
    "name the pictures in a labels.csv (columns image and label, or image and boxes), or export "
    "annotations as GeoJSON beside the slides"
)


@dataclass(frozen=True, slots=True)
class _Class:
    """A folder of pictures of one class."""

    folder: Path
    name: str
    split: Split | None

    @property
    def label(self) -> str:
        return self.name.strip().replace("_", " ")


def _matches(folder: Path) -> bool:
    """Whether pictures lie one to three folders deep; what of it is no such layout is refused."""
    return folder.is_dir() and any(_holds(path, 3) for path in subfolders(folder))


def _holds(folder: Path, depth: int) -> bool:
    """Whether pictures lie in a folder, or below it down to ``depth`` folders in all."""
    return bool(pictures_in(folder)) or (
        depth > 1 and any(_holds(path, depth - 1) for path in subfolders(folder))
    )


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If the folders are no classes, or two classes are one after case and blanks; names them.
    """
    classes = _classes(folder)
    refuse_alike(
        folder.name,
        "class folders",
        ((one.name, one.folder.relative_to(folder).as_posix()) for one in classes),
    )
    labels = tuple(sorted({one.label for one in classes}))
    if len(labels) < 2:
        raise QueryError(
            f"{folder.name} has {'the one class ' + labels[0] if labels else 'no class folder'}, "
            f"and a question needs two or more; {INSTEAD}"
        )
    own = None if any(one.split for one in classes) else split_of_source(folder.name)
    notes = (f"{folder.name} {NAMED_SO} {own}",) if own else ()
    question = options.question or "Which label fits best?"
    entries = []
    for one in classes:
        for file in pictures_in(one.folder):
            key = file.relative_to(folder).as_posix()
            ask = partial(ask_label, file, question, labels, one.label, folder.name, folder.name)
            entries.append(LabelledEntry(key, key, ask, one.split or own, file, label=one.label))
    return PictureSet(entries, notes=notes)


def _classes(folder: Path) -> list[_Class]:
    """Class folders with pictures, below splits or above them or alone."""
    tops = [path for path in subfolders(folder) if _holds(path, 3)]
    _refuse_labels(folder, subfolders(folder))
    splits = {path: split for path in tops if (split := split_of(path.name)) is not None}
    others = [path for path in tops if path not in splits]
    if splits and others:
        raise QueryError(
            f"{_names(others)} in {folder.name} lies beside {_names(splits)} and is no name of a "
            f"split that is known: {SPELLINGS}; rename it, or move it elsewhere"
        )
    if splits:
        return [one for path, split in splits.items() for one in _below(folder, path, split)]
    if any(pictures_in(path) for path in tops):
        return [_flat(folder, _Class(path, path.name, None)) for path in tops]
    below = [(top, path) for top in tops for path in subfolders(top) if _holds(path, 2)]
    splits_below = [path for _, path in below if split_of(path.name)]
    if len(tops) == 1 and not any(pictures_in(path) for path in splits_below):
        raise QueryError(f"{folder.name} holds only {tops[0].name}; convert that folder itself")
    if splits_below and len(splits_below) == len(below):
        return [_flat(folder, _Class(path, top.name, split_of(path.name))) for top, path in below]
    if not splits_below:
        raise QueryError(
            f"{folder.name} holds pictures two folders deep ({_names(tops)}, then "
            f"{_names(path for _, path in below)}), and which of both are classes, patients or "
            "parts of a cross-validation is not known; name the pictures in a labels.csv (columns "
            "image, label, patient, split), or call folders of splits train, val and test"
        )
    unnamed = [path for _, path in below if path not in splits_below]
    raise QueryError(
        f"{_names(unnamed)} in {folder.name} {'is' if len(unnamed) == 1 else 'are'} no names of "
        f"splits that are known: {SPELLINGS}; rename, or name pictures in a labels.csv (columns "
        "image, label, patient)"
    )


def _below(folder: Path, split_folder: Path, split: Split) -> list[_Class]:
    """Class folders of one split."""
    inside = subfolders(split_folder)
    _refuse_labels(folder, inside)
    classes = [path for path in inside if _holds(path, 2)]
    if not classes:
        raise QueryError(
            f"{split_folder.name} in {folder.name} has the name of a split and holds pictures "
            f"without folders of classes; make a folder for each class, or {INSTEAD}"
        )
    return [_flat(folder, _Class(path, path.name, split)) for path in classes]


def _flat(folder: Path, one: _Class) -> _Class:
    """The class, if all its pictures lie in its folder itself."""
    deeper = [path for path in subfolders(one.folder) if _holds(path, 3)]
    if deeper or not pictures_in(one.folder):
        place = (deeper or [one.folder])[0].relative_to(folder).as_posix()
        raise QueryError(
            f"{folder.name} holds pictures deeper than its classes, in {place}; move them up, or "
            "name pictures in a labels.csv (columns image, label, patient)"
        )
    return one


def _refuse_labels(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse pictures beside what is known of them: they are no two classes."""
    labels = [path for path in paths if names_labels(path)]
    pictures = [p for p in paths if p not in labels and names_pictures(p)]
    twins = [
        (path, other)
        for path in labels
        for other in paths
        if other not in labels and (other in pictures or _of_one_name(path, other))
    ]
    if twins:
        masks, images = twins[0]
        raise QueryError(
            f"{images.name} and {masks.name} in {folder.name} look like pictures and what is known "
            f"of them, not like two classes; {INSTEAD}, or see `pathreason data list` for sets "
            "with masks"
        )


def _of_one_name(labels: Path, pictures: Path) -> bool:
    """Whether files of two folders go by the same names, for the most part."""
    names = {path.stem for path in pictures_in(pictures)}
    twins = [p for p in labels.iterdir() if p.is_file() and stem_of(p) in names]
    return len(names) > 0 and len(twins) > len(names) / 2


def _names(paths: Iterable[Path]) -> str:
    names = sorted({path.name for path in paths})
    return " and ".join([*names[:MOST_NAMED], *["..."] * (len(names) > MOST_NAMED)])


KIND: Kind = Kind(
    "folders",
    "CLASS/*.png, or {train,val,test}/CLASS/*.png, or CLASS/{train,val,test}/*.png",
    _matches,
    _read,
)
