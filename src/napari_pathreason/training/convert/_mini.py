"""The embedded model's own sets: several known folders side by side, one split.

Folders of our own making (see the model card for what lies in them), not as published; published
sets have converters in ``sets``. A change of what this gives changes what the embedded model is
trained on, and the fingerprint of its data.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from napari_pathreason.training.samples._sample import Sample, Split

from ._blood import blood, blood_windows
from ._lung import lung
from ._lymph_node import lymph_node
from ._nuclei import SMALLEST_TAUGHT, TAUGHT, nuclei, nuclei_instances, nuclei_taught
from ._nuclei_fields import nuclei_fields
from ._stitched import stitched

FIELDS: dict[Split, int] = {"train": 9000, "val": 300, "test": 300}
STITCHED: dict[Split, int] = {"train": 3000, "val": 150, "test": 150}
VIEWS: dict[Split, int] = {"train": 6, "val": 2, "test": 2}
WINDOWS: dict[Split, int] = {"train": 6, "val": 0, "test": 0}
NUCLEI_FIELDS: dict[Split, int] = {"train": 350, "val": 80, "test": 0}
KNOWN = ("lymph_node", "lung", "blood", "nuclei", "nuclei_instances", TAUGHT)


def looks_mini(folder: Path) -> bool:
    """Whether a folder holds any of the known ones, each with its table."""
    return bool(_here(folder))


def read_mini(folder: Path, split: Split, seed: int, times: int = 1) -> Iterator[Sample]:
    """Samples of one split of all known folders that are there.

    Those to train on are drawn ``times`` over, each time by the next seed: the same pictures in
    other crops, fields and words. Where that is above 1, small windows of smears come besides,
    and wide fields of nuclei, in `val` too: an allocator learns there what a region of a slide
    needs.
    """
    more = times > 1
    return chain.from_iterable(
        _known(name, folder / name, split, each, more)
        for each in range(seed, seed + (times if split == "train" else 1))
        for name in _here(folder)
    )


def _here(folder: Path) -> list[str]:
    tables = ("labels.csv", "index.csv")
    return [name for name in KNOWN if any((folder / name / t).is_file() for t in tables)]


def _known(name: str, folder: Path, split: Split, seed: int, more: bool) -> Iterator[Sample]:
    views = VIEWS[split]
    windows = WINDOWS[split] if more else 0
    fields = NUCLEI_FIELDS[split] if more else 0
    match name:
        case "lymph_node":
            return lymph_node(folder, split, seed, FIELDS[split])
        case "lung":
            return lung(folder, split, seed)
        case "blood":
            return chain(
                blood(folder, split, seed, views),
                stitched(folder, split, seed, STITCHED[split]),
                blood_windows(folder, split, seed, windows),
            )
        case "nuclei":
            return chain(
                nuclei(folder, split, seed, views), nuclei_fields(folder, split, seed, fields)
            )
        case "nuclei_instances":
            return chain(
                nuclei_instances(folder, split, seed, views),
                nuclei_fields(folder, split, seed, fields, "instances"),
            )
        case _:
            return chain(
                nuclei_taught(folder, split, seed, views),
                nuclei_fields(folder, split, seed, fields, "instances", SMALLEST_TAUGHT),
            )
