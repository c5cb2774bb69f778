"""A lab's own pictures and a table: ``labels.csv`` in the folder, or a CSV named itself.

Columns, all but ``image`` as the questions need them, in any letter case:

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
split      train, val, test or another name of them (or set, subset, partition)
group      what belongs together (or patient, slide, source_tile); else each picture alone
mpp        um per level-0 pixel of the picture, where the file does not state it
========== ====================================================================================

Tables of one split each are read together: ``train.csv`` and ``test.csv`` in one folder, or a
``labels.csv`` in each of ``train/`` and ``test/``. A table of another name is taken where a folder
holds one with such columns, and is nothing else. Cells may stand between commas, semicolons or
tabulators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from napari_pathreason.errors import QueryError
from napari_pathreason.tasks import parse_boxes, whole_choice
from napari_pathreason.training.samples import Area, Sample, Split
from napari_pathreason.types import TaskName

from ._labels import names_in, plain, read_rows, refuse_alike, refuse_alike_choices
from ._layout import Kind, LabelledEntry, LeftOut, Options, PictureSet, ask_ready
from ._pictures import DOUBTFUL, PicturesByName, shown, subfolders
from ._splits import COLUMNS, NAMED_SO, SPELLINGS, split_in, split_of, split_of_source, splits_in

NAME = "labels.csv"
ENDINGS = {".csv", ".tsv"}
SPLIT_COLUMNS = ("split", "set", "subset", "partition")
"""The first counts if it is there; the others only if every cell names a split."""
MEANT = {"image", "label", "question", "choices", "answer", "boxes", "region", "task", "mpp"}
TOPICS = {"vqa": ": questions", "detection": ": boxes"}
"""Questions that are worded one by one are scored together."""
LOST = "pictures that rows name are not in the folder and were left out"
FOUND = "pictures lie elsewhere than rows name them, or have an ending that rows leave out"
BLANK = "rows have no label, no answer and no boxes and were left out"
TWICE = "rows say the same of the same picture once more and were left out"


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table.

    Parameters
    ----------
    cells : dict
        By the names of the columns in lower case.
    where : str
        Table and line, for messages.
    key : str
        Names the picture within the set.
    file : Path
    split : {"train", "val", "test"}, optional
    group : str
    """

    cells: dict[str, str]
    where: str
    key: str
    file: Path
    split: Split | None
    group: str

    @property
    def label(self) -> str:
        """As it is spelled; "" where there is none."""
        return self.cells.get("label", "")

    @property
    def task(self) -> str:
        """As it is named, else as it follows from the other cells."""
        boxed = "detection" if self.cells.get("boxes") else "subtyping" if self.label else "vqa"
        return self.cells.get("task", "").strip() or boxed


def _tables(source: Path) -> list[tuple[Path, Split | None]]:
    """Tables of a folder, or the table itself, with the split that its name means."""
    if source.is_file():
        own = source.suffix.lower() in ENDINGS
        return [(source, _split_of_table(source))] if own else []
    if not source.is_dir():
        return []
    if labels := _labels_in(source):
        return [(labels, split_of_source(source.name))]
    tables = [path for path in _csv_in(source) if "image" in names_in(path)]
    named = [(p, _split_of_table(p)) for p in tables if len(splits_in(p.stem)) == 1]
    named = named or [
        (labels, split_of(path.name))
        for path in subfolders(source)
        if split_of(path.name) and (labels := _labels_in(path))
    ]
    return named or _of_another_name(source)


def _of_another_name(source: Path) -> list[tuple[Path, Split | None]]:
    """The one table of a folder that labels pictures; none where there are several."""
    tables = [
        path
        for path in _csv_in(source)
        if "image" in (names := set(names_in(path))) and names & {"label", "answer", "boxes"}
    ]
    return [(tables[0], split_of_source(source.name))] if len(tables) == 1 else []


def _csv_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in ENDINGS and path.is_file() and not path.name.startswith(".")
    )


def _labels_in(folder: Path) -> Path | None:
    stem = NAME.partition(".")[0]
    return next((path for path in _csv_in(folder) if path.stem.lower() == stem), None)


def _split_of_table(path: Path) -> Split | None:
    """Split that the name of a table means, or that of its folder."""
    named = splits_in(path.stem)
    return next(iter(named)) if len(named) == 1 else split_of_source(path.parent.name)


def _matches(source: Path) -> bool:
    tables = _tables(source)
    return bool(tables) and tables != (_of_another_name(source) if source.is_dir() else [])


def _matches_by_columns(source: Path) -> bool:
    return bool(_tables(source))


def _read(source: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If a column is missing, a row cannot be read, a split is unknown, or two labels are one
        after case and blanks; names the row.
    """
    tables = _tables(source)
    if not tables:
        raise QueryError(f"{source.name} holds no {NAME}; make one (columns image and label)")
    left, notes = LeftOut(), []
    rows: list[_Row] = []
    group_is = "picture"
    for table, split in tables:
        part, group_is, notes_of = _rows(table, split, options, left, source, len(tables) > 1)
        rows += part
        notes += notes_of
    chosen = [row for row in rows if row.task == "subtyping" and not row.cells.get("choices")]
    refuse_alike(source.name, "labels", ((row.label, row.where) for row in chosen))
    labels = tuple(sorted({plain(row.label) for row in chosen if row.label}))
    if len(labels) == 1:
        notes.append(f"{labels[0]} is the only label: there is nothing to choose from")
    topic = (tables[0][0].parent if len(tables) == 1 else source).name
    questions: dict[tuple[Path, str], list[tuple[_Row, Sample]]] = {}
    placed: dict[Path, tuple[Split | None, str]] = {}
    for row in rows:
        if placed.setdefault(row.file, (row.split, row.group)) != (row.split, row.group):
            raise QueryError(
                f"{row.where}: each picture has one split and group, and "
                f"{Path(row.cells['image']).name} has two; give all its rows the same"
            )
        region = row.cells.get("region", "").strip()
        sample = _sample_of(row, labels, topic, options)
        before = questions.setdefault((row.file, region), [])
        if any(other == sample for _, other in before):
            left.add(TWICE, row.where)
            continue
        _refuse_two_labels(row, sample, before)
        before.append((row, sample))
    refuse_alike(
        source.name,
        "labels of boxes",
        (
            (choice, row.where)
            for pairs in questions.values()
            for row, sample in pairs
            if sample.task == "detection"
            for choice in sample.choices
        ),
    )
    entries = []
    for (file, region), pairs in questions.items():
        row, first = pairs[0]
        samples = [sample for _, sample in pairs]
        entries.append(
            LabelledEntry(
                f"{row.key} {region}" if region else row.key,
                row.group,
                partial(ask_ready, samples),
                row.split,
                file,
                first.region,
                plain(row.label) if first.task == "subtyping" else "",
            )
        )
    beside = frozenset(table for table, _ in tables)
    return PictureSet(entries, group_is, tuple(notes), left, beside)


def _refuse_two_labels(row: _Row, sample: Sample, earlier: Sequence[tuple[_Row, Sample]]) -> None:
    """Refuse another answer to what was asked about the same picture before.

    Raises
    ------
    QueryError
        Names both rows.
    """
    for before, other in earlier:
        same = (other.task, other.question, other.choices) == (
            sample.task,
            sample.question,
            sample.choices,
        )
        if same and sample.choices and sample.task != "detection":
            raise QueryError(
                f"{row.where}: {Path(row.cells['image']).name} is {sample.answer!r} here and "
                f"{other.answer!r} in {before.where}; keep one row, or ask about each by a column "
                "question"
            )


def _rows(
    table: Path,
    split: Split | None,
    options: Options,
    left: LeftOut,
    source: Path,
    several: bool,
) -> tuple[list[_Row], str, list[str]]:
    """Rows whose pictures are there, what a group is, and notes on the table."""
    lines = read_rows(table)
    named = set(lines[0][1]) if lines else set()
    if "image" not in named or not named & {"label", "answer", "boxes"}:
        raise QueryError(
            f"{table.name} needs the columns image and label, or image, question and answer, or "
            "image and boxes (and may have split and group)"
            + (f"; it has {', '.join(sorted(named - {''}))}: rename them" if named else "")
        )
    title = shown(table, source) if source.is_dir() else table.name
    column = _split_column([row for _, row in lines], named)
    group_is = next((name for name in COLUMNS if name in named), "picture")
    rest = sorted(named - MEANT - {column, group_is, ""})
    notes = [f"columns of {title} that were not used: {', '.join(rest)}"] if rest else []
    if column is None:
        split_in(table.stem)  # refuses a name of several splits
    if column is None and split is not None and not several:
        notes.append(f"{title} {NAMED_SO} {split}")
    pictures = PicturesByName(options.images or table.parent)
    rows, lost = [], []
    for number, row in lines:
        where = f"{title}, line {number}"
        name = row["image"].strip()
        if not name:
            raise QueryError(f"{where}: a picture is not in the folder; fill the column image")
        labelled = any(row.get(word, "").strip() for word in ("label", "answer", "boxes"))
        if not labelled and row.get("task") != "detection":
            left.add(BLANK, where)
            continue
        file = pictures.find(name)
        if options.images is None and file != table.parent / name:
            left.add(FOUND, name)
        if not file.exists():
            left.add(LOST, name if not Path(name).is_absolute() else file.name)
            lost.append(f"{where}: {Path(name).name} is not in the folder")
            continue
        own = _split(row[column], where) if column else split
        key = f"{title}/{name}" if several else name
        group = row.get(group_is, "") or name
        rows.append(_Row({**row, "image": name}, where, key, file, own, group))
    for name in sorted(pictures.doubtful):
        left.add(DOUBTFUL, Path(name).name)
    if lost:
        left.refuse_damaged(LOST, len(lines), f"{lost[0]}; copy them there, or remove the rows")
    return rows, group_is, notes


def _split_column(rows: Sequence[dict[str, str]], named: set[str]) -> str | None:
    if SPLIT_COLUMNS[0] in named:
        return SPLIT_COLUMNS[0]
    for column in SPLIT_COLUMNS[1:]:
        if column in named and all(split_of(row[column]) for row in rows):
            return column
    return None


def _split(cell: str, where: str) -> Split | None:
    if not cell.strip():
        return None
    split = split_of(cell)
    if split is None:
        raise QueryError(
            f"{where}: split is train, val or test, and {cell!r} is no name of them that is known "
            f"({SPELLINGS}); write one of them"
        )
    return split


def _sample_of(row: _Row, labels: tuple[str, ...], topic: str, options: Options) -> Sample:
    """The question that a row asks.

    Parameters
    ----------
    row : _Row
    labels : tuple of str
        Choices where the row names none.
    topic : str
        Name of the set.
    options : Options

    Raises
    ------
    QueryError
        If the row is no question, or two of its choices are one after case and blanks; names it.
    """
    label, task, where = plain(row.label), row.task, row.where
    choices = tuple(c.strip() for c in row.cells.get("choices", "").split("|") if c.strip())
    refuse_alike_choices(where, choices)
    boxes: tuple[Area, ...] = ()
    answer = row.cells.get("answer", "") or label
    question = row.cells.get("question", "") or options.question
    if task == "detection":
        only = label or (choices[0] if len(choices) == 1 else "lesion")
        boxes = _boxes(row.cells.get("boxes") or "[]", only, where)
        choices, answer = choices or tuple(sorted({box.label for box in boxes} | {only})), ""
        refuse_alike_choices(where, choices)
        _refuse_other_boxes(where, boxes, choices)
    elif task == "subtyping":
        choices, question = choices or labels, question or "Which label fits best?"
    if task not in get_args(TaskName) or (task == "vqa" and not (question and answer)):
        raise QueryError(
            f"{where}: give a task of {', '.join(get_args(TaskName))}; vqa needs a "
            "question and an answer"
        )
    if choices and task != "detection":
        right = whole_choice(answer, choices)
        if right is None:
            raise QueryError(f"{where}: the answer {answer!r} is none of {', '.join(choices)}")
        answer = right
    try:
        return Sample.model_validate(
            {
                "image": str(row.file),
                "task": task,
                "question": question,
                "choices": choices,
                "answer": answer,
                "boxes": boxes,
                "region": _region(row.cells.get("region", ""), where),
                "mpp": _mpp(row.cells.get("mpp", ""), where),
                "source": topic,
                "topic": topic + TOPICS.get(task, ""),
            }
        )
    except ValidationError as error:
        reason = str(error).splitlines()[2].strip()
        raise QueryError(f"{where}: not a question ({reason})") from None


def _refuse_other_boxes(where: str, boxes: Sequence[Area], choices: tuple[str, ...]) -> None:
    """Boxes of labels that are not asked for would count as missed."""
    other = next((box.label for box in boxes if box.label not in choices), None)
    if other is not None:
        raise QueryError(f"{where}: a box of {other!r}, which is none of {', '.join(choices)}")


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


def _mpp(text: str, where: str) -> float | None:
    if not text.strip():
        return None
    try:
        mpp = float(text)
    except ValueError:
        mpp = 0.0
    if not 0 < mpp < 1000:
        raise QueryError(f"{where}: mpp is µm per pixel, a number above 0; correct {text!r}")
    return mpp


LAYOUT = "labels.csv (or a CSV itself) and the pictures that it names"
KIND: Kind = Kind("table", LAYOUT, _matches, _read)
BY_COLUMNS: Kind = Kind("table", LAYOUT, _matches_by_columns, _read)
"""A table of any name: what a folder is taken for that is nothing else but folders of classes."""
