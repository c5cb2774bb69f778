"""NuInsSeg: 512 px pictures of 31 human and mouse organs with nuclei outlined one by one.

Layout as published (Mahbod et al., Sci Data 11:295, 2024; Kaggle ipateam/nuinsseg)::

    human bladder/tissue images/human_bladder_01.png
    human bladder/label masks modify/human_bladder_01.tif   a number for each nucleus
    human bladder/mask binary/human_bladder_01.png          used where the former is missing

Counts are of connected components. In the binary masks touching nuclei are merged, so those counts
are low where nuclei are crowded; instance maps count every nucleus.

There is no split. All pictures of an organ come from one slide, so whole organs are dealt, and the
organ itself is not asked for: it would be a question about the stain. Tested on a miniature of the
published layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.training.samples import QUADRANTS, Facts, Sample, Split

from ._layout import Draw, Kind, LabelledEntry, LeftOut, Options, PictureSet, Place
from ._pictures import pictures_in, subfolders
from ._questions import NUCLEI_DENSE, NUCLEI_WHERE, Questions

Point = tuple[int, int]
"""(x, y) in level-0 pixels."""

IMAGES, INSTANCES, BINARY = "tissue images", "label masks modify", "mask binary"
VIEWS: dict[Split, int] = {"train": 6, "val": 2, "test": 2}
"""The whole picture, and crops of it."""
SMALLEST_NUCLEUS = 20
"""Pixels of a nucleus, at the least; smaller components are noise of the mask."""
DENSE, SPARSE = 0.22, 0.12
"""Share of the area that nuclei cover; between the two it is not asked whether they are dense."""
OF_PRESENCE = 0.15
"""Share of the pictures with nuclei that are asked whether there are any."""


def _matches(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob(f"*/{IMAGES}"))


def _read(folder: Path, options: Options) -> PictureSet:
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
            entries.append(LabelledEntry(key, organ.name, ask, file=file))
    return PictureSet(entries, "organ", (), left, frozenset(beside))


def _ask(file: Path, mask: Path, instances: bool, draw: Draw) -> Iterator[Sample]:
    views = VIEWS[draw.split]
    return nuclei_views(draw.rng, draw.split, str(file), str(mask), views, instances)


def nuclei_views(
    rng: Random,
    split: Split,
    image: str,
    mask: str,
    views: int,
    instances: bool = False,
    smallest: int = SMALLEST_NUCLEUS,
    source: str = "nuinsseg",
) -> Iterator[Sample]:
    """Questions on one picture, and on ``views - 1`` crops of it.

    Parameters
    ----------
    rng : random.Random
    split : {"train", "val", "test"}
    image, mask : str
        Files.
    views : int
    instances : bool
        Whether the mask gives each nucleus a number.
    smallest : int
        Pixels of a nucleus, at the least.
    source : str
        Name of the set.
    """
    covered, centres = read_nuclei(Path(mask), instances, smallest)
    for view in range(views):
        region = _crop(rng, covered.shape, whole=view == 0)
        x, y, w, h = region
        inside = centres_inside(centres, region)
        facts = Facts(known=("nucleus",), nuclei=mask, centres=tuple(inside))
        about = Questions(rng, split, image, source, facts, region)
        yield from nuclei_questions(about, covered[y : y + h, x : x + w], len(inside))


def nuclei_questions(about: Questions, part: NDArray[np.bool_], number: int) -> Iterator[Sample]:
    """How many nuclei, dense or sparse, where crowded, present or not.

    Parameters
    ----------
    about : Questions
    part : bool array (height, width)
        What the nuclei of the picture cover.
    number : int
        Of nuclei.
    """
    yield about.number("nuclei", number)
    covered = float(part.mean())
    if covered >= DENSE or 0 < covered <= SPARSE:
        yield about.ask(
            NUCLEI_DENSE,
            topic="dense or sparse nuclei",
            choices=("dense", "sparse"),
            answer="dense" if covered >= DENSE else "sparse",
            shuffled=True,
        )
    if (place := crowded_quadrant(part)) is not None:
        topic = "where nuclei are crowded"
        yield about.ask(NUCLEI_WHERE, topic=topic, choices=QUADRANTS, answer=place)
    if number == 0 or about.rng.random() < OF_PRESENCE:
        yield about.presence("nuclei", number > 0)
    yield from about.cannot_tell("nuclei")


def read_nuclei(
    mask: Path, instances: bool, smallest: int
) -> tuple[NDArray[np.bool_], list[Point]]:
    """What nuclei of a mask or an instance map cover, bool (height, width), and their centres."""
    with Image.open(mask) as file:
        labels = np.asarray(file)
    if labels.dtype.kind == "f":  # some programs write numbers of nuclei as floats
        labels = labels.astype(np.int32)
    return labels > 0, _centres(labels, instances, smallest)


def centres_inside(centres: Iterable[Point], region: Place) -> list[Point]:
    """Those that lie in a region (x, y, width, height)."""
    x, y, width, height = region
    return [c for c in centres if x <= c[0] < x + width and y <= c[1] < y + height]


def crowded_quadrant(mask: NDArray[np.bool_]) -> str | None:
    """Quadrant that holds the most nuclear area; None unless it leads by a quarter."""
    cy, cx = mask.shape[0] // 2, mask.shape[1] // 2
    parts = [mask[:cy, :cx], mask[:cy, cx:], mask[cy:, :cx], mask[cy:, cx:]]
    shares = np.array([part.mean() for part in parts])
    first, second = np.sort(shares)[::-1][:2]
    return QUADRANTS[int(shares.argmax())] if first > 1.25 * second and first > 0.03 else None


def _centres(labels: NDArray[np.integer[Any]], instances: bool, smallest: int) -> list[Point]:
    """Centres (x, y) of nuclei of at least ``smallest`` pixels."""
    from scipy import ndimage

    parts = np.asarray(labels if instances else ndimage.label(labels > 0)[0])
    sizes = np.bincount(parts.ravel())
    nuclei = [index for index in np.flatnonzero(sizes) if index > 0 and sizes[index] >= smallest]
    middles = ndimage.center_of_mass(parts > 0, parts, nuclei)
    return [(round(x), round(y)) for y, x in middles]


def _crop(rng: Random, shape: tuple[int, ...], whole: bool) -> Place:
    height, width = shape[:2]
    if whole:
        return 0, 0, width, height
    side = min(rng.choice((64, 96, 128, 192, 256, 384)), width, height)
    return rng.randint(0, width - side), rng.randint(0, height - side), side, side


KIND: Kind = Kind("nuinsseg", "ORGAN/tissue images/, ORGAN/label masks modify/", _matches, _read)
