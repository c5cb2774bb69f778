"""ESCA: tiles of oesophageal carcinoma in eleven tissue classes from four centres.

Layout as published (Tolkach et al., Zenodo 7548828), all centres or some::

    VALSET1_UKK/TUMOR/tumor.0.jpg
    VALSET2_WNS/..., VALSET3_TCGA/..., VALSET4_CHA_FULL/...

Files do not name their slides, so only whole centres keep slides apart: Charité (the largest)
trains, Cologne is ``val``, Wiener Neustadt and TCGA are ``test``. Tested on a miniature of the
published layout.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from napari_pathreason.training.samples import Split

from ._layout import Kind, LabelledEntry, Options, PictureSet
from ._pictures import pictures_in
from ._questions import ask_label

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
TOPIC = "tissue of the oesophagus"


def _matches(folder: Path) -> bool:
    return any((folder / centre).is_dir() for centre in CENTRES)


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module."""
    question = options.question or "Which tissue of the oesophagus does this picture show?"
    entries, labels = [], tuple(CLASSES.values())
    for centre, split in CENTRES.items():
        for name, label in CLASSES.items():
            for file in pictures_in(folder / centre / name):
                key = f"{centre}/{name}/{file.name}"
                ask = partial(ask_label, file, question, labels, label, "esca", TOPIC)
                entries.append(LabelledEntry(key, centre, ask, split, file, label=label))
    here = {entry.split for entry in entries}
    lacking = [f"{c} ({s})" for c, s in CENTRES.items() if s not in here]
    notes = (f"not there: {', '.join(lacking)}",) if lacking else ()
    return PictureSet(entries, "centre", notes)


KIND: Kind = Kind(
    "esca", "VALSET1_UKK/, VALSET2_WNS/, VALSET3_TCGA/, VALSET4_CHA_FULL/", _matches, _read
)
