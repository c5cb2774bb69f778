"""A lab's own pictures and a table: ``labels.csv`` in the folder, or a CSV named itself.

Columns, all but ``image`` as the questions need them:

========== ====================================================================================
image      file, relative to the table
label      class; the labels of the whole table are the choices
question   what is asked; else the question of the command line
choices    what may be answered, with | between
answer     right answer; else the label
boxes      JSON in level-0 pixels: ``[[x1, y1, x2, y2], ...]``, or
           ``[{"bbox_2d": [x1, y1, x2, y2], "label": "gland"}]``; ``[]`` where there is none
region     ``x y w h`` in level-0 pixels; else the whole picture
task       vqa, subtyping or detection; else detection with boxes, subtyping with a label
split      train, val or test
group      what belongs together (or patient, slide, source_tile); else each picture alone
========== ====================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import get_args

from pydantic import ValidationError

from napari_pathreason._errors import QueryError
from napari_pathreason._types import TaskName
from napari_pathreason.tasks import parse_boxes
from napari_pathreason.training.convert._tables import read_table
from napari_pathreason.training.samples._sample import SPLITS, Area, Sample, Split

from ._entry import Entry, Found, Kind, Options
from ._splits import COLUMNS
from ._store import Store

Row = dict[str, str]
TOPICS = {"vqa": ": questions", "detection": ": boxes"}
"""Questions that are worded one by one are scored together."""


def _path(source: Path) -> Path:
    return source / "labels.csv" if source.is_dir() else source


def _looks(source: Path) -> bool:
    return _path(source).suffix == ".csv" and _path(source).is_file()


def _read(source: Path, options: Options) -> Found:
    """See the module.

    Raises
    ------
    QueryError
        If a column or a picture is missing, or a row cannot be read; names the row.
    """
    table = _path(source)
    rows = read_table(table)
    named = set(rows[0]) if rows else set()
    if "image" not in named or not named & {"label", "answer", "boxes"}:
        raise QueryError(
            f"{table.name} needs the columns image and label, or image, question and answer, or "
            "image and boxes (and may have split and group)"
        )
    group_is = next((name for name in COLUMNS if name in rows[0]), "picture")
    labels = tuple(sorted({_plain(row["label"]) for row in rows if row.get("label")}))
    asked: dict[str, list[Sample]] = {}
    placed: dict[str, tuple[str, str]] = {}
    for number, row in enumerate(rows, 2):
        where = f"{table.name}, line {number}"
        name = row["image"] or ""
        if not name or not (table.parent / name).exists():
            raise QueryError(f"{where}: {name or 'a picture'} is not in the folder")
        place = (row.get("split") or "", row.get(group_is) or name)
        if place[0] not in ("", *SPLITS) or placed.setdefault(name, place) != place:
            raise QueryError(
                f"{where}: split is train, val or test, and each picture has one split and group"
            )
        asked.setdefault(name, []).append(_sample(row, table.parent, labels, options, where))
    entries = []
    for name, samples in asked.items():
        told, group = placed[name]
        split = next((split for split in SPLITS if split == told), None)
        file = table.parent / name
        entries.append(Entry(name, group, partial(_ask, samples), split, file))
    return Found(entries, group_is)


def _sample(
    row: Row, folder: Path, labels: tuple[str, ...], options: Options, where: str
) -> Sample:
    label = _plain(row.get("label") or "")
    task = row.get("task") or ("detection" if row.get("boxes") else "subtyping" if label else "vqa")
    choices = tuple(c.strip() for c in (row.get("choices") or "").split("|") if c.strip())
    boxes: tuple[Area, ...] = ()
    answer = row.get("answer") or label
    question = row.get("question") or options.question
    if task == "detection":
        only = label or (choices[0] if len(choices) == 1 else "lesion")
        boxes = _boxes(row.get("boxes") or "[]", only, where)
        choices, answer = choices or tuple(sorted({box.label for box in boxes} | {only})), ""
    elif task == "subtyping":
        choices, question = choices or labels, question or "Which label fits best?"
    if task not in get_args(TaskName) or (task == "vqa" and not (question and answer)):
        raise QueryError(
            f"{where}: give a task of {', '.join(get_args(TaskName))}; vqa needs a "
            "question and an answer"
        )
    if choices and task != "detection" and answer not in choices:
        raise QueryError(f"{where}: the answer {answer!r} is none of {', '.join(choices)}")
    try:
        return Sample.model_validate(
            {
                "image": str(folder / row["image"]),
                "task": task,
                "question": question,
                "choices": choices,
                "answer": answer,
                "boxes": boxes,
                "region": _region(row.get("region") or "", where),
                "source": folder.name,
                "topic": folder.name + TOPICS.get(task, ""),
            }
        )
    except ValidationError as error:
        reason = str(error).splitlines()[2].strip()
        raise QueryError(f"{where}: not a question ({reason})") from None


def _boxes(text: str, label: str, where: str) -> tuple[Area, ...]:
    boxes, whole = parse_boxes(text, label)
    if not whole:
        raise QueryError(f"{where}: boxes are JSON, [[x1, y1, x2, y2], ...] in level-0 pixels")
    return tuple(Area(label=b.label, corners=(b.x1, b.y1, b.x2, b.y2)) for b in boxes)


def _region(text: str, where: str) -> tuple[int, int, int, int] | None:
    if not text.strip():
        return None
    try:
        x, y, w, h = (int(word) for word in text.replace(",", " ").split())
    except ValueError:
        w = h = 0
    if w < 1 or h < 1:
        raise QueryError(f"{where}: a region is x y w h, whole level-0 pixels")
    return x, y, w, h


def _plain(label: str) -> str:
    return label.strip().replace("_", " ")


def _ask(samples: list[Sample], split: Split, rng: Random, store: Store) -> Iterator[Sample]:
    yield from samples


KIND = Kind("table", "labels.csv (or a CSV itself) and the pictures that it names", _looks, _read)
