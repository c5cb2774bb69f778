"""PathVQA: 32,000 open and yes/no questions on 5,000 pictures of books and a library.

Layout as published on the hub (flaviagiammarino/path-vqa)::

    data/train-00000-of-00007-*.parquet, data/validation-*.parquet, data/test-*.parquet

with columns image, question, answer. The published splits are kept. The older ``pvqa`` layout
holds its questions as pickles and is refused: unpickling runs whatever code the file brings.
Tested on a miniature of the published layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from napari_pathreason._errors import QueryError
from napari_pathreason.training.samples._sample import Sample, Split

from ._entry import Entry, Found, Kind, Options
from ._open_questions import open_question
from ._parquet import Asked, Shards
from ._store import Store

SPLITS: dict[str, Split] = {"train": "train", "validation": "val", "test": "test"}


def _shards(folder: Path, name: str) -> list[Path]:
    return sorted([*folder.glob(f"{name}-*.parquet"), *folder.glob(f"data/{name}-*.parquet")])


def _pickles(folder: Path) -> list[Path]:
    places = ("*_qa.pkl", "qas/*/*_qa.pkl", "pvqa/qas/*/*_qa.pkl")
    return [path for place in places for path in folder.glob(place)]


def _looks(folder: Path) -> bool:
    return folder.is_dir() and bool(_shards(folder, "validation") or _pickles(folder))


def _read(folder: Path, options: Options) -> Found:
    """See the module.

    Raises
    ------
    QueryError
        If the questions are pickles.
    """
    entries = []
    for name, split in SPLITS.items():
        shards = Shards(_shards(folder, name), ("question", "answer"))
        for asked in shards.asked():
            ask = partial(_ask, shards, asked)
            entries.append(Entry(f"{name}/{asked.digest}", asked.digest, ask, split))
    if not entries and _pickles(folder):
        raise QueryError(
            "PathVQA as pickles is refused, for unpickling runs code that the file brings; take "
            "the parquet files of flaviagiammarino/path-vqa from the hub"
        )
    return Found(entries, "picture")


def _ask(shards: Shards, asked: Asked, split: Split, rng: Random, store: Store) -> Iterator[Sample]:
    file = store.encoded(f"{split}/pathvqa", shards.image(asked.place))
    for row in asked.rows:
        if row["question"] and row["answer"]:
            yield open_question(file, row["question"], row["answer"], "pathvqa")


KIND = Kind("pathvqa", "data/{train,validation,test}-*.parquet", _looks, _read)
