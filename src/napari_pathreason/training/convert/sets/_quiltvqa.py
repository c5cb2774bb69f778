"""Quilt-VQA: 1,283 questions on 985 frames of teaching videos, made for evaluation.

Layout as published on the hub (wisdomik/Quilt_VQA; QuiltVQA_RED alike)::

    quiltvqa_test_w_ans.json     records of image, question, answer, answer_type (OPEN, CLOSED)
    quilt_vqa/*.jpg              unpacked from quilt_vqa.zip; found by name below the folder

or ``data/train-*.parquet`` with columns image, question, answer, answer_type: called train there,
it is the same evaluation set, so here all of it is ``test``. Tested on a miniature of the
published layout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Sample

from ._archives import BLANK, PackedPicture, Shards
from ._layout import Draw, Kind, LabelledEntry, LeftOut, Options, PictureSet
from ._pictures import DOUBTFUL, PicturesByName
from ._questions import open_question

COLUMNS = ("question", "answer", "answer_type")


def _table(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("quiltvqa*_w_ans.json"))), None)


def _matches(folder: Path) -> bool:
    return folder.is_dir() and _table(folder) is not None


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If records lack a field.
    """
    table, left = _table(folder), LeftOut()
    if table is None:
        files = sorted(folder.glob("**/[!.]*.parquet"))
        shards = Shards(files, COLUMNS)
        archived = [
            LabelledEntry(
                one.digest, one.digest, partial(_archived, shards, one), "test", named=one.named
            )
            for one in shards.pictures(left)
        ]
        return PictureSet(archived, "picture", (), left, frozenset(files))
    rows: dict[str, list[dict[str, Any]]] = {}
    try:
        for number, row in enumerate(json.loads(table.read_text(encoding="utf-8")), 1):
            if row["question"] and row["answer"]:
                rows.setdefault(str(row["image"]), []).append(row)
            else:
                left.add(BLANK, f"record {number}")
    except (ValueError, KeyError, TypeError):
        raise QueryError(
            f"{table.name} needs a list of records with image, question and answer; "
            "download it again"
        ) from None
    pictures = PicturesByName(options.images or folder)
    entries = []
    for name, rows_of_one in rows.items():
        file = pictures.find(name)
        entries.append(LabelledEntry(name, name, partial(_ask, file, rows_of_one), "test", file))
    for name in sorted(pictures.doubtful):
        left.add(DOUBTFUL, Path(name).name)
    return PictureSet(entries, "picture", (), left, frozenset({table}))


def _ask(file: Path, rows: list[dict[str, Any]], draw: Draw) -> Iterator[Sample]:
    for row in rows:
        closed = str(row.get("answer_type", "")).upper() == "CLOSED"
        answer = str(row.get("yes_no_answer") or row["answer"]) if closed else str(row["answer"])
        yield open_question(str(file), str(row["question"]), answer, "quiltvqa", closed)


def _archived(shards: Shards, picture: PackedPicture, draw: Draw) -> Iterator[Sample]:
    file = draw.store.encoded(f"{draw.split}/quiltvqa", shards.image(picture.place))
    return _ask(Path(file), picture.rows, draw)


KIND: Kind = Kind(
    "quiltvqa", "quiltvqa_test_w_ans.json, quilt_vqa/*.jpg", _matches, _read, ("test",)
)
