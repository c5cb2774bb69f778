"""LC25000: 768 px tiles of lung and colon in five classes.

Layout as published (lung_colon_image_set, arXiv:1912.12142), all of it or one organ::

    lung_image_sets/{lung_aca,lung_n,lung_scc}/*.jpeg
    colon_image_sets/{colon_aca,colon_n}/*.jpeg

There is no split, and each of about 1,250 source tiles comes some twenty times, turned, mirrored
and cropped anew, under names that do not tell. Dealing pictures at random puts copies of one tile
on both sides. Statistics of colour do not find them again: tried on tiles of known source, whatever
threshold kept copies together ran unlike tiles together too. So nothing is guessed here: give
``groups``, or read scores as what they are. Tested on a miniature of the published layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from napari_pathreason.training.samples import Area, Facts, Sample, Split

from ._layout import Ask, Draw, Kind, LabelledEntry, Options, PictureSet
from ._pictures import pictures_in
from ._questions import LUNG_KIND, LUNG_KINDS, LUNG_NORMAL, Questions, ask_label

LUNG = {
    "lung_aca": "adenocarcinoma",
    "lung_scc": "squamous cell carcinoma",
    "lung_n": "normal",
}
COLON = {"colon_aca": "adenocarcinoma", "colon_n": "benign"}
COLON_TOPIC = "colon subtype"
LUNG_AREAS = ("adenocarcinoma", "squamous cell carcinoma", "normal lung")
"""What a whole tile is of, in the order of `LUNG_KINDS`."""
SIDE = 768
LEAK = (
    "LC25000 holds some twenty altered copies of each source tile and does not say which: this "
    "split LEAKS, and scores on it mean little; give --groups CSV (image, group) to keep copies "
    "together"
)


def _organs(folder: Path) -> list[Path]:
    inside = [folder, folder / "lung_colon_image_set"]
    names = ("lung_image_sets", "colon_image_sets")
    return [root / name for root in inside for name in names if (root / name).is_dir()]


def _matches(folder: Path) -> bool:
    return folder.is_dir() and bool(_organs(folder))


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module."""
    question = options.question or "What does this colon tissue show?"
    entries, colon = [], tuple(COLON.values())
    for organ in _organs(folder):
        for name, label in (LUNG | COLON).items():
            for file in pictures_in(organ / name):
                key = f"{organ.name}/{name}/{file.name}"
                ask: Ask = partial(_lung, file, label)
                if name in COLON:
                    ask = partial(ask_label, file, question, colon, label, "lc25000", COLON_TOPIC)
                entries.append(LabelledEntry(key, key, ask, file=file, label=name))
    return PictureSet(entries, "source tile", () if options.groups else (LEAK,))


def _lung(file: Path, label: str, draw: Draw) -> Iterator[Sample]:
    return lung_questions(draw.rng, draw.split, str(file), label, SIDE)


def lung_questions(
    rng: Random, split: Split, file: str, kind: str, side: int, source: str = "lc25000"
) -> Iterator[Sample]:
    """Of one tile of lung its subtype, and whether it is normal.

    Parameters
    ----------
    rng : random.Random
    split : {"train", "val", "test"}
    file : str
    kind : str
        One of `LUNG_KINDS`.
    side : int
        Of the tile, level-0 pixels.
    source : str
        Name of the set.
    """
    fact = Area(label=LUNG_AREAS[LUNG_KINDS.index(kind)], corners=(0, 0, side, side))
    about = Questions(rng, split, file, source, Facts(known=LUNG_AREAS, areas=(fact,)))
    yield about.ask(
        LUNG_KIND,
        topic="lung subtype",
        task="subtyping",
        choices=LUNG_KINDS,
        answer=kind,
        shuffled=True,
        abstaining=True,
    )
    normal = kind == "normal"
    yield about.presence("", normal, topic="lung normal or not", phrasings=LUNG_NORMAL)
    yield from about.cannot_tell("lung")


KIND: Kind = Kind("lc25000", "lung_image_sets/, colon_image_sets/", _matches, _read)
