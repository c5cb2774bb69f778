"""A folder for each class, maybe below a folder for each split.

::

    CLASS/*.png
    {train,val,test}/CLASS/*.png
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from napari_pathreason.training.samples._sample import Sample, Split

from ._entry import Entry, Found, Kind, Options
from ._pictures_by_name import SUFFIXES
from ._store import Store

SPLITS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "test": "test"}


def _classes(folder: Path) -> list[Path]:
    return [path for path in _subfolders(folder) if any(_pictures(path))]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _pictures(folder: Path) -> Iterator[Path]:
    return (
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _looks(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    if any(path.name in SPLITS for path in _subfolders(folder)):
        return any(_classes(path) for path in _subfolders(folder) if path.name in SPLITS)
    return len(_classes(folder)) > 1


def _read(folder: Path, options: Options) -> Found:
    """See the module."""
    tops = [path for path in _subfolders(folder) if path.name in SPLITS]
    roots: list[tuple[Path, Split | None]] = [(path, SPLITS[path.name]) for path in tops]
    roots = roots or [(folder, None)]
    labels = sorted({_label(path) for root, _ in roots for path in _classes(root)})
    entries = []
    for root, split in roots:
        for path in _classes(root):
            ask = partial(_ask, _label(path), tuple(labels), folder.name, options.question)
            for file in _pictures(path):
                key = file.relative_to(folder).as_posix()
                entries.append(Entry(key, key, partial(ask, file), split, file))
    return Found(entries)


def _label(path: Path) -> str:
    return path.name.replace("_", " ")


def _ask(
    label: str,
    labels: tuple[str, ...],
    source: str,
    question: str,
    file: Path,
    split: Split,
    rng: Random,
    store: Store,
) -> Iterator[Sample]:
    yield Sample(
        image=str(file),
        task="subtyping",
        question=question or "Which label fits best?",
        choices=labels,
        answer=label,
        source=source,
        topic=source,
    )


KIND = Kind("folders", "CLASS/*.png, or {train,val,test}/CLASS/*.png", _looks, _read)
