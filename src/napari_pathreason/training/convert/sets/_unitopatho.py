"""UniToPatho: patches of colorectal polyps in six classes, 800 or 7000 um wide.

Layout as published (IEEE DataPort 9fsv-tm25; EIDOSLAB/UNITOPATHO)::

    800/train.csv, 800/test.csv      image_id, top_label, top_label_name, ...
    800/TA.LG/149-B2-TALG.ndpi_ROI__mpp0.44_reg000_crop_sk00003_(12824,33871,1812,1812).png
    7000/...

The published split is kept and ``val`` taken from train by slide; each slide is of another
patient. Tested on a miniature of the published layout.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from napari_pathreason.errors import QueryError

from ._labels import read_table
from ._layout import Kind, LabelledEntry, Options, PictureSet
from ._questions import ask_label
from ._splits import published, split_of

CLASSES = {
    "NORM": "normal tissue",
    "HP": "hyperplastic polyp",
    "TA.LG": "tubular adenoma, low-grade dysplasia",
    "TA.HG": "tubular adenoma, high-grade dysplasia",
    "TVA.LG": "tubulo-villous adenoma, low-grade dysplasia",
    "TVA.HG": "tubulo-villous adenoma, high-grade dysplasia",
}
WIDTHS = ("800", "7000")


def _matches(folder: Path) -> bool:
    tables = [path for width in WIDTHS for path in (folder / width).glob("[!.]*.csv")]
    return any(split_of(path.stem) for path in tables)


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If a table lacks a column or names an unknown class.
    """
    question = options.question or "Which kind of colorectal polyp does this tissue show?"
    entries, labels = [], tuple(CLASSES.values())
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
                file, label = folder / key, CLASSES[label]
                topic = f"colorectal polyp at {width} um"
                ask = partial(ask_label, file, question, labels, label, "unitopatho", topic)
                entries.append(LabelledEntry(key, slide, ask, split, file, label=label))
    return PictureSet(entries, "slide", beside=frozenset(beside))


KIND: Kind = Kind(
    "unitopatho", "800/train.csv, 800/test.csv, 800/CLASS/*.png, 7000/...", _matches, _read
)
