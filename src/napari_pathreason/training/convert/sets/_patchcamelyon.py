"""PatchCamelyon: 96 px tiles of lymph node, with metastasis or without, in HDF5.

Layout as published (basveeling/pcam, Zenodo 2546921), unpacked::

    camelyonpatch_level_2_split_{train,valid,test}_x.h5     x: uint8 (n, 96, 96, 3)
    camelyonpatch_level_2_split_{train,valid,test}_y.h5     y: uint8 (n, 1, 1, 1)
    camelyonpatch_level_2_split_{train,valid,test}_meta.csv coord_y ... wsi (may be missing)

The published splits are kept; a group is a slide. A label speaks of the central 32 px. Tested on a
miniature of the published layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from random import Random
from typing import Any

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Area, Facts, Sample, Split

from ._archives import optional
from ._labels import read_table
from ._layout import Draw, Kind, LabelledEntry, Options, PictureSet
from ._questions import TUMOUR_KIND, TUMOUR_PRESENT, Questions
from ._splits import published

TILE_SIDE = 96
"""Side in pixels."""
TUMOUR_LABELS = ("tumour", "no tumour")
STEM = "camelyonpatch_level_2_split_"


def _matches(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob(f"{STEM}*_x.h5*"))


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If a file is still packed, or labels do not belong to their tiles.
    """
    entries: list[LabelledEntry] = []
    notes = []
    beside: set[Path] = set()
    stems = (path.name.removeprefix(STEM) for path in folder.glob(f"{STEM}*_x.h5*"))
    names = {stem.partition("_x.h5")[0] for stem in stems}
    for name, split in published(names, "files of PatchCamelyon"):
        beside |= set(folder.glob(f"{STEM}{name}_*"))
        tiles, labels = (_Array(folder, f"{STEM}{name}_{axis}.h5", axis) for axis in "xy")
        if not tiles.there():
            continue
        marks = labels.rows[:].reshape(-1)
        table = folder / f"{STEM}{name}_meta.csv"
        slides = [row["wsi"] for row in read_table(table)] if table.is_file() else []
        if len(marks) != len(tiles.rows) or (slides and len(slides) != len(marks)):
            raise QueryError(
                f"the {name} files of PatchCamelyon differ in length; download them again"
            )
        if not slides:
            notes.append(f"{table.name} is not there, so slides of {name} are unknown")
        entries += [
            LabelledEntry(
                key=f"{name}/{index:06d}",
                group=slides[index] if slides else f"{name}-{index}",
                ask=partial(_ask, tiles, index, bool(mark)),
                split=split,
                named=f"tile {index} of {name}",
            )
            for index, mark in enumerate(marks)
        ]
    group_is = "slide" if not notes else "tile"
    return PictureSet(entries, group_is, tuple(notes), beside=frozenset(beside))


def _ask(tiles: _Array, index: int, tumour: bool, draw: Draw) -> Iterator[Sample]:
    file = draw.store.pixels(f"{draw.split}/{index:06d}", tiles.rows[index])
    return lymph_node_questions(draw.rng, draw.split, file, tumour)


def lymph_node_questions(
    rng: Random, split: Split, file: str, tumour: bool, source: str = "patchcamelyon"
) -> Iterator[Sample]:
    """Of one tile whether it holds tumour, and what it is.

    Parameters
    ----------
    rng : random.Random
    split : {"train", "val", "test"}
    file : str
    tumour : bool
    source : str
        Name of the set.
    """
    topic = "tumour in a tile"
    areas = (Area(label="tumour", corners=(0, 0, TILE_SIDE, TILE_SIDE)),) if tumour else ()
    about = Questions(rng, split, file, source, Facts(known=("tumour",), areas=areas))
    yield about.presence("", tumour, topic=topic, phrasings=TUMOUR_PRESENT)
    yield about.ask(
        TUMOUR_KIND,
        topic=topic,
        task="subtyping",
        choices=TUMOUR_LABELS,
        answer=TUMOUR_LABELS[0] if tumour else TUMOUR_LABELS[1],
        shuffled=True,
        abstaining=True,
    )
    yield from about.cannot_tell("lymph")


class _Array:
    """One array of one file, opened when it is first needed."""

    def __init__(self, folder: Path, name: str, axis: str) -> None:
        self._path = folder / name
        self._axis = axis

    def there(self) -> bool:
        if not self._path.is_file() and self._path.with_suffix(".h5.gz").is_file():
            raise QueryError(f"{self._path.name} is still packed; run gunzip on it")
        return self._path.is_file()

    @cached_property
    def rows(self) -> Any:
        h5py = optional("h5py", "the HDF5 files of PatchCamelyon")
        try:
            return h5py.File(self._path, "r")[self._axis]
        except (OSError, KeyError):
            raise QueryError(f"{self._path.name} cannot be read; download it again") from None


KIND: Kind = Kind(
    "patchcamelyon", "camelyonpatch_level_2_split_*_{x,y}.h5, *_meta.csv", _matches, _read
)
