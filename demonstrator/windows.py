"""Windows of composed large regions -> samples to train on, beside others.

``python -m demonstrator.windows data/large/as_is/train.jsonl data/large/blended/train.jsonl
--beside data/mini/train.jsonl -o data/windows/train.jsonl``

A large region is read window by window, and a window differs from the pictures that a model learns
from otherwise: it cuts tiles, cells and lesions where it likes, most of them show nothing of what
is asked about, and of carcinoma it may show a corner. Windows are drawn about what a region holds
and anywhere else; each is asked what regions are asked, and its answers follow from what of the
region's labels it shows. One that shows too little of a thing to say is left out.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from random import Random

from demonstrator.large_regions import read_about
from demonstrator.sets.tiles import NOWHERE, TUMOUR_WHERE
from napari_pathreason.errors import PathreasonError, QueryError
from napari_pathreason.files import atomic_text
from napari_pathreason.slides import open_slide
from napari_pathreason.tasks import PLACES
from napari_pathreason.training import convert
from napari_pathreason.training.samples import (
    SPLITS,
    Area,
    Facts,
    Files,
    Sample,
    Split,
    place_of,
    read_samples,
)

SIDES = (448, 576)
"""Least and most level-0 pixels of a side."""
NUMBER = 24
"""Windows of a region."""
ABOUT = 0.6
"""Share of the windows of a region that are drawn about something that it holds."""
UNSURE = (0.1, 0.6)
"""Shares of a tile or a cell: a window does not show it up to the first, and does from the second
on; between the two nobody can say."""
LEAST_PATCH = 0.08
"""Share of a window that carcinoma covers at the least."""

Place = tuple[int, int, int, int]
"""(x, y, width, height) in level-0 pixels."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What is known of a region: its picture, its size, the set it is of, and all its facts."""

    image: str
    dataset: str
    size: tuple[int, int]
    facts: Facts
    kind: str


def window_samples(
    region: Labelled, split: Split, rng: Random, number: int = NUMBER
) -> Iterator[Sample]:
    """Questions about windows of a region.

    Parameters
    ----------
    region : Labelled
    split : {"train", "val", "test"}
        Of its pieces.
    rng : random.Random
        Draws windows and phrasings.
    number : int
        Of windows; those of which nothing can be said are among them.
    """
    for _ in range(number):
        place = draw_window(region, rng)
        # tiles of lymph node are labelled at their centres, cells are things; all of lung is tissue
        unsure = (0.0, 0.0) if region.dataset == "lung" else UNSURE
        facts = facts_of(region.facts, place, unsure)
        if facts is None:
            continue
        source = f"window_{region.dataset}"
        about = convert.Questions(rng, split, region.image, source, facts, place)
        yield from ASKS[region.dataset](about, region, place)


def draw_window(region: Labelled, rng: Random) -> Place:
    """A window about one of the things of a region, wholly or in part, or anywhere in it."""
    width, height = (min(rng.randint(*SIDES), most) for most in region.size)
    room = region.size[0] - width, region.size[1] - height
    areas = region.facts.areas
    if areas and rng.random() < ABOUT:
        x1, y1, x2, y2 = rng.choice(areas).corners
        x, y = (
            rng.uniform(x1, x2) - rng.random() * width,
            rng.uniform(y1, y2) - rng.random() * height,
        )
    else:
        x, y = rng.uniform(0, room[0]), rng.uniform(0, room[1])
    left, top = (round(min(max(v, 0), most)) for v, most in zip((x, y), room, strict=True))
    return left, top, width, height


def facts_of(facts: Facts, place: Place, unsure: tuple[float, float] = UNSURE) -> Facts | None:
    """What of a region's labels a window shows, level-0 pixels of the region.

    None where it shows a part of a thing that is too small to say, and too large to pass over.
    """
    x, y, width, height = place
    areas = []
    for area in facts.areas:
        share = _share(area, place)
        if unsure[0] < share < unsure[1]:
            return None
        if share > unsure[0]:
            areas.append(_cut(area, place))
    boxes = tuple(sorted(_joined(areas), key=_order)) if facts.boxes else ()
    centres = tuple(
        (cx, cy) for cx, cy in facts.centres if x <= cx < x + width and y <= cy < y + height
    )
    return Facts(
        known=facts.known,
        areas=tuple(sorted(areas, key=_order)),
        boxes=boxes,
        nuclei=facts.nuclei,
        centres=centres,
    )


def _share(area: Area, place: Place) -> float:
    x1, y1, x2, y2 = area.corners
    cut = _cut(area, place).corners
    shown = max(cut[2] - cut[0], 0) * max(cut[3] - cut[1], 0)
    return shown / ((x2 - x1) * (y2 - y1))


def _cut(area: Area, place: Place) -> Area:
    x, y, width, height = place
    x1, y1, x2, y2 = area.corners
    corners = (max(x1, x), max(y1, y), min(x2, x + width), min(y2, y + height))
    return Area(label=area.label, corners=corners)


def _order(area: Area) -> tuple[float, float]:
    return area.corners[1], area.corners[0]


def _joined(areas: Sequence[Area]) -> Iterator[Area]:
    """Boxes around tiles that touch by an edge: a window may cut one lesion into two."""
    left = list(areas)
    while left:
        together, edge = [left[0]], [left.pop(0)]
        while edge:
            one = edge.pop()
            near = [other for other in left if _touch(one, other)]
            left = [other for other in left if other not in near]
            together += near
            edge += near
        x1, y1, x2, y2 = zip(*(area.corners for area in together), strict=True)
        yield Area(label=together[0].label, corners=(min(x1), min(y1), max(x2), max(y2)))


def _touch(one: Area, other: Area) -> bool:
    a, b = one.corners, other.corners
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return min(across, down) >= 0 and max(across, down) > 0


def _lymph_node(about: convert.Questions, region: Labelled, place: Place) -> Iterator[Sample]:
    boxes = about.facts.boxes
    yield about.boxes(("tumour",), boxes)
    yield about.presence("", bool(boxes), "tumour in a field", convert.TUMOUR_PRESENT)
    yield from _where(about, place)
    yield from about.cannot_tell("lymph")


def _lung(about: convert.Questions, region: Labelled, place: Place) -> Iterator[Sample]:
    covered = sum(
        (x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (area.corners for area in about.facts.areas)
    )
    share = covered / (place[2] * place[3])
    if 0 < share < LEAST_PATCH:
        return
    kind, facts = region.kind, about.facts
    if (
        not share
    ):  # all of the window is normal, which a patch of carcinoma does not say of the rest
        kind, x2, y2 = "normal", place[0] + place[2], place[1] + place[3]
        whole = Area(label="normal lung", corners=(*place[:2], x2, y2))
        facts = Facts(known=(*facts.known, whole.label), areas=(whole,))
    questions = convert.lung_questions(
        about.rng, about.split, region.image, kind, place[2], about.source
    )
    for sample in (*questions, *_where(about, place)):
        yield sample.model_copy(update={"facts": facts, "region": place})


def _where(about: convert.Questions, place: Place) -> Iterator[Sample]:
    boxes = about.facts.boxes
    if len(boxes) > 1:
        return
    answer = NOWHERE
    if boxes:
        x1, y1, x2, y2 = boxes[0].corners
        across = ((x1 + x2) / 2 - place[0]) / place[2]
        answer = place_of(across, ((y1 + y2) / 2 - place[1]) / place[3])
    topic, choices = "where the tumour is", (*PLACES, NOWHERE)
    yield about.ask(TUMOUR_WHERE, topic=topic, choices=choices, answer=answer)


def _blood(about: convert.Questions, region: Labelled, place: Place) -> Iterator[Sample]:
    for name in about.facts.known:
        cells = [area for area in about.facts.areas if area.label == name]
        yield about.boxes((name,), cells)
        yield about.number(f"{name}s", len(cells))
        yield about.presence(f"{name}s", bool(cells))
    yield from about.cannot_tell("blood")


def _nuclei(about: convert.Questions, region: Labelled, place: Place) -> Iterator[Sample]:
    yield about.number("nuclei", len(about.facts.centres))


ASKS = {"lymph_node": _lymph_node, "lung": _lung, "blood": _blood, "nuclei": _nuclei}


def read_regions(data: Path) -> list[Labelled]:
    """Regions that `demonstrator.large_regions` wrote, with what is known of them.

    Raises
    ------
    QueryError
        If the file, or what lies beside it, is missing or is none.
    """
    named = read_about(data)
    regions = []
    for image, group in groupby(read_samples(data), key=lambda sample: sample.image):
        if not isinstance(image, str) or image not in named:
            raise QueryError(f"{data.name} asks about {image}, which nothing names; compose anew")
        samples = list(group)
        with open_slide(data.parent / image) as slide:
            size = slide.width, slide.height
        kinds = [sample.answer for sample in samples if sample.topic == "lung subtype"]
        kind = kinds[0] if kinds else ""
        regions.append(Labelled(image, named[image]["set"], size, samples[0].facts, kind))
    return regions


def write_windows(
    regions: Sequence[Path], beside: Sequence[Path], out: Path, split: Split, seed: int = 0
) -> Counter[str]:
    """Write windows of regions, and the samples of other files, as one file.

    Parameters
    ----------
    regions : sequence of Path
        As `read_regions` reads them. The same windows are drawn of two forms of a region.
    beside : sequence of Path
    out : Path
        Files that samples name are given relative to it.
    split : {"train", "val", "test"}
    seed : int

    Returns
    -------
    Counter of str
        Samples by source.

    Raises
    ------
    QueryError, SlideError
        If a file cannot be read.
    """
    counts: Counter[str] = Counter()
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_text(out) as file:
        for sample in _all(regions, beside, out.parent, split, seed):
            counts[sample.source] += 1
            file.write(sample.model_dump_json(exclude_defaults=True) + "\n")
    return counts


def _all(
    regions: Sequence[Path], beside: Sequence[Path], folder: Path, split: Split, seed: int
) -> Iterator[Sample]:
    for data in regions:
        for region in read_regions(data):
            rng = Random(f"{seed}-{split}-windows {region.image}")
            for sample in window_samples(region, split, rng):
                yield moved(sample, data.parent, folder)
    for data in beside:
        for sample in read_samples(data):
            yield moved(sample, data.parent, folder)


def moved(sample: Sample, before: Path, after: Path) -> Sample:
    """A sample whose files are relative to another folder."""

    def move(files: Files) -> Files:
        if isinstance(files, str):
            return os.path.relpath(before / files, after)
        return tuple(tuple(os.path.relpath(before / file, after) for file in row) for row in files)

    facts = sample.facts
    if facts.nuclei is not None:
        facts = facts.model_copy(update={"nuclei": move(facts.nuclei)})
    return sample.model_copy(update={"image": move(sample.image), "facts": facts})


def main(words: Sequence[str] | None = None) -> int:
    """Draw windows, and say what came of it; 2 where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m demonstrator.windows")
    parser.add_argument("regions", type=Path, nargs="*", metavar="JSONL")
    parser.add_argument("--beside", type=Path, nargs="*", default=(), metavar="JSONL")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="JSONL")
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--seed", type=int, default=0, help="of windows and wordings")
    args = parser.parse_args(words)
    try:
        counts = write_windows(args.regions, args.beside, args.out, args.split, args.seed)
    except PathreasonError as error:
        print(f"pathreason: {error}", file=sys.stderr)  # noqa: T201
        return 2
    for source, count in counts.most_common():
        print(f"{source}: {count:,}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
