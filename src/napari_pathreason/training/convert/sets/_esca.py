"""ESCA: tiles of oesophageal carcinoma in eleven tissue classes from four centres.

Layout as published (Tolkach et al., Zenodo 7548828), all centres or some::

    VALSET1_UKK/TUMOR/tumor.0.jpg
    VALSET2_WNS/..., VALSET3_TCGA/..., VALSET4_CHA_FULL/...

Files do not name their slides, so only whole centres keep slides apart: Charité (the largest)
trains, Cologne is ``val``, Wiener Neustadt and TCGA are ``test``. Tested on a miniature of the
published layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from napari_pathreason.training.samples import Sample, Split

from ._archives import Store
from ._entry import Entry, Found, Kind, Options
from ._pictures import pictures_in

CENTRES: dict[str, Split] = {
    "VALSET4_CHA_FULL": "train",
    "VALSET1_UKK": "val",
    "VALSET2_WNS": "test",
    "VALSET3_TCGA": "test",
}
CLASSES = {
    "ADVENT": "adventitia",
    "LAM_PROP": "lamina propria mucosae",
    "MUSC_MUC": "muscularis mucosae",
    "MUSC_PROP": "muscularis propria",
    "REGR_TU": "regression tissue",
    "SH_MAG": "gastric mucosa",
    "SH_OES": "oesophageal mucosa",
    "SUBMUC": "submucosa",
    "SUB_GL": "submucosal glands",
    "TUMOR": "tumour",
    "ULCUS": "ulceration",
}


def _looks(folder: Path) -> bool:
    return any((folder / centre).is_dir() for centre in CENTRES)


def _read(folder: Path, options: Options) -> Found:
    """See the module."""
    entries = []
    for centre, split in CENTRES.items():
        for name, label in CLASSES.items():
            for file in pictures_in(folder / centre / name):
                key = f"{centre}/{name}/{file.name}"
                ask = partial(_ask, file, label, options.question)
                entries.append(Entry(key, centre, ask, split, file, label=label))
    here = {entry.split for entry in entries}
    lacking = [f"{c} ({s})" for c, s in CENTRES.items() if s not in here]
    notes = (f"not there: {', '.join(lacking)}",) if lacking else ()
    return Found(entries, "centre", notes)


def _ask(
    file: Path, label: str, question: str, split: Split, rng: Random, store: Store
) -> Iterator[Sample]:
    yield Sample(
        image=str(file),
        task="subtyping",
        question=question or "Which tissue of the oesophagus does this picture show?",
        choices=tuple(CLASSES.values()),
        answer=label,
        source="esca",
        topic="tissue of the oesophagus",
    )


KIND: Kind = Kind(
    "esca", "VALSET1_UKK/, VALSET2_WNS/, VALSET3_TCGA/, VALSET4_CHA_FULL/", _looks, _read
)
