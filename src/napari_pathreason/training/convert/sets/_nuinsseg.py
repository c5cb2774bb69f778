"""NuInsSeg: 512 px pictures of 31 human and mouse organs with nuclei outlined one by one.

Layout as published (Mahbod et al., Sci Data 11:295, 2024; Kaggle ipateam/nuinsseg)::

    human bladder/tissue images/human_bladder_01.png
    human bladder/label masks modify/human_bladder_01.tif   a number for each nucleus
    human bladder/mask binary/human_bladder_01.png          used where the former is missing

There is no split. All pictures of an organ come from one slide, so whole organs are dealt, and the
organ itself is not asked for: it would be a question about the stain. Tested on a miniature of the
published layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from napari_pathreason.training.convert import nuclei_questions_of
from napari_pathreason.training.samples import Sample, Split

from ._entry import Entry, Found, Kind, Options
from ._left_out import LeftOut
from ._pictures_by_name import pictures_in, subfolders
from ._store import Store

IMAGES, INSTANCES, BINARY = "tissue images", "label masks modify", "mask binary"
VIEWS: dict[Split, int] = {"train": 6, "val": 2, "test": 2}
"""The whole picture, and crops of it."""


def _looks(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob(f"*/{IMAGES}"))


def _read(folder: Path, options: Options) -> Found:
    """See the module."""
    entries, left = [], LeftOut()
    beside: set[Path] = set()
    for images in sorted(folder.glob(f"*/{IMAGES}")):
        organ = images.parent
        beside.update(path for path in subfolders(organ) if path != images)  # masks in many forms
        for file in pictures_in(images):
            masks = (organ / INSTANCES / f"{file.stem}.tif", organ / BINARY / f"{file.stem}.png")
            mask = next((path for path in masks if path.is_file()), None)
            if mask is None:
                left.add("pictures have no mask and were left out", file.name)
                beside.add(file)
                continue
            ask = partial(_ask, file, mask, mask.suffix == ".tif")
            key = f"{organ.name}/{IMAGES}/{file.name}"
            entries.append(Entry(key, organ.name, ask, file=file))
    return Found(entries, "organ", (), left, frozenset(beside))


def _ask(
    file: Path, mask: Path, instances: bool, split: Split, rng: Random, store: Store
) -> Iterator[Sample]:
    yield from nuclei_questions_of(
        rng, split, str(file), str(mask), "nuinsseg", VIEWS[split], instances
    )


KIND: Kind = Kind("nuinsseg", "ORGAN/tissue images/, ORGAN/label masks modify/", _looks, _read)
