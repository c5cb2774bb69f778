"""A row of a lab's own table as a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from napari_pathreason.errors import QueryError
from napari_pathreason.tasks import parse_boxes, whole_choice
from napari_pathreason.training.samples import Area, Sample, Split
from napari_pathreason.types import TaskName

from ._choices import refuse_alike_choices
from ._entry import Options

TOPICS = {"vqa": ": questions", "detection": ": boxes"}
"""Questions that are worded one by one are scored together."""


@dataclass(frozen=True, slots=True)
class Row:
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
        """As told, else as it follows from the other cells."""
        boxed = "detection" if self.cells.get("boxes") else "subtyping" if self.label else "vqa"
        return self.cells.get("task", "").strip() or boxed


def sample_of(row: Row, labels: tuple[str, ...], topic: str, options: Options) -> Sample:
    """The question that a row asks.

    Parameters
    ----------
    row : Row
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
                "source": topic,
                "topic": topic + TOPICS.get(task, ""),
            }
        )
    except ValidationError as error:
        reason = str(error).splitlines()[2].strip()
        raise QueryError(f"{where}: not a question ({reason})") from None


def _refuse_other_boxes(where: str, boxes: Sequence[Area], choices: tuple[str, ...]) -> None:
    """Boxes of labels that are not asked for would count against whoever finds them not."""
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


def plain(label: str) -> str:
    """A label as it is asked for: without blanks around it, underscores as blanks."""
    return label.strip().replace("_", " ")
