"""UniToPatho: patches of colorectal polyps in six classes, 800 or 7000 um wide.

Layout as published (IEEE DataPort 9fsv-tm25; EIDOSLAB/UNITOPATHO)::

    800/train.csv, 800/test.csv      image_id, top_label, top_label_name, ...
    800/TA.LG/149-B2-TALG.ndpi_ROI__mpp0.44_reg000_crop_sk00003_(12824,33871,1812,1812).png
    7000/...

The published split is kept and ``val`` taken from train by slide; each slide is of another
patient. Tested on a miniature of the published layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Sample, Split

from ._archives import Store
from ._entry import Entry, Found, Kind, Options
from ._labels import read_table
from ._split_names import published, split_of

CLASSES = {
    "NORM": "normal tissue",
    "HP": "hyperplastic polyp",
    "TA.LG": "tubular adenoma, low-grade dysplasia",
    "TA.HG": "tubular adenoma, high-grade dysplasia",
    "TVA.LG": "tubulo-villous adenoma, low-grade dysplasia",
    "TVA.HG": "tubulo-villous adenoma, high-grade dysplasia",
}
WIDTHS = ("800", "7000")


def _looks(folder: Path) -> bool:
    tables = [path for width in WIDTHS for path in (folder / width).glob("[!.]*.csv")]
    return any(split_of(path.stem) for path in tables)


def _read(folder: Path, options: Options) -> Found:
    """See the module.

    Raises
    ------
    QueryError
        If a table lacks a column or names an unknown class.
    """
    entries = []
    beside = set()
    for width in WIDTHS:
        tables = {path.stem: path for path in (folder / width).glob("[!.]*.csv")}
        for stem, split in published(tables, f"tables in {width}"):
            beside.add(tables[stem])
            for row in read_table(tables[stem]):
                name, label = row.get("image_id"), row.get("top_label_name")
                if not name or label not in CLASSES:
                    raise QueryError(
                        f"{width}/{stem}.csv needs image_id and top_label_name, one of "
                        f"{', '.join(CLASSES)}, in every row"
                    )
                key = f"{width}/{label}/{name}"
                slide = name.partition(".ndpi")[0]
                ask = partial(_ask, folder / key, CLASSES[label], width, options.question)
                file = folder / key
                entries.append(Entry(key, slide, ask, split, file, label=CLASSES[label]))
    return Found(entries, "slide", beside=frozenset(beside))


def _ask(
    file: Path, label: str, width: str, question: str, split: Split, rng: Random, store: Store
) -> Iterator[Sample]:
    yield Sample(
        image=str(file),
        task="subtyping",
        question=question or "Which kind of colorectal polyp does this tissue show?",
        choices=tuple(CLASSES.values()),
        answer=label,
        source="unitopatho",
        topic=f"colorectal polyp at {width} um",
    )


KIND: Kind = Kind(
    "unitopatho", "800/train.csv, 800/test.csv, 800/CLASS/*.png, 7000/...", _looks, _read
)
