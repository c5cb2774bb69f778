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

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Sample

from ._archives import PackedPicture, Shards
from ._layout import Draw, Kind, LabelledEntry, LeftOut, Options, PictureSet
from ._questions import open_question
from ._splits import published, split_of


def _shards(folder: Path) -> dict[str, list[Path]]:
    """Files of each split, under its name as they spell it."""
    shards: dict[str, list[Path]] = {}
    for path in sorted([*folder.glob("[!.]*.parquet"), *folder.glob("data/[!.]*.parquet")]):
        shards.setdefault(path.stem.partition("-")[0], []).append(path)
    return shards


def _pickles(folder: Path) -> list[Path]:
    places = ("*_qa.pkl", "qas/*/*_qa.pkl", "pvqa/qas/*/*_qa.pkl")
    return [path for place in places for path in folder.glob(place)]


def _matches(folder: Path) -> bool:
    validated = any(split_of(name) == "val" for name in _shards(folder))
    return folder.is_dir() and (validated or bool(_pickles(folder)))


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If the questions are pickles.
    """
    entries, left = [], LeftOut()
    files = _shards(folder)
    for name, split in published(files, "parquet files of PathVQA"):
        shards = Shards(files[name], ("question", "answer"))
        for picture in shards.pictures(left):
            ask = partial(_ask, shards, picture)
            key = f"{name}/{picture.digest}"
            entries.append(LabelledEntry(key, picture.digest, ask, split, named=picture.named))
    if not entries and _pickles(folder):
        raise QueryError(
            "PathVQA as pickles is refused, for unpickling runs code that the file brings; take "
            "the parquet files of flaviagiammarino/path-vqa from the hub"
        )
    beside = frozenset(path for paths in files.values() for path in paths)
    return PictureSet(entries, "picture", (), left, beside)


def _ask(shards: Shards, picture: PackedPicture, draw: Draw) -> Iterator[Sample]:
    file = draw.store.encoded(f"{draw.split}/pathvqa", shards.image(picture.place))
    for row in picture.rows:
        yield open_question(file, row["question"], row["answer"], "pathvqa")


KIND: Kind = Kind("pathvqa", "data/{train,validation,test}-*.parquet", _matches, _read)
