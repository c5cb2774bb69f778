"""One labelled question about one region, and its JSONL form."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_pathreason.errors import OWN_WORDS, QueryError
from napari_pathreason.files import atomic_text, plain_text
from napari_pathreason.tasks import abstains
from napari_pathreason.types import Query, TaskName

_Number = Annotated[float, Field(strict=True)]
Corners = tuple[_Number, _Number, _Number, _Number]
_Start = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
_Side = Annotated[int, Field(strict=True, gt=0, lt=2**31)]
Place = tuple[_Start, _Start, _Side, _Side]
"""(x, y, w, h) in level-0 pixels."""
Phrasing = Literal["trained", "held_out"]
Files = str | tuple[tuple[str, ...], ...]
"""A file, or a grid of files: rows of equal tiles, composed when they are read.

A tile may be a crop, ``file#xywh=x,y,w,h`` (W3C media fragment, pixels of the file).
"""
CROP = "#xywh="
"""What stands between the file and the place of a crop."""
_CROP = re.compile(r"\d{1,9},\d{1,9},[1-9]\d{0,8},[1-9]\d{0,8}")


class Area(BaseModel):
    """A labelled box of a picture: (x1, y1, x2, y2) in level-0 pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    corners: Corners

    @property
    def has_place(self) -> bool:
        """Whether its corners are numbers, in their order."""
        x1, y1, x2, y2 = self.corners
        return math.isfinite(x1 + y1 + x2 + y2) and x1 < x2 and y1 < y2


class Facts(BaseModel):
    """What the labels state of a picture, beyond the answer to one question.

    ``known`` names the classes that were annotated (a class that is known and has no area is
    absent); ``boxes`` are the bounding boxes of lesions that ``areas`` cover piece by piece;
    ``nuclei`` is the mask, one file or composed as the picture is, whose non-zero pixels are
    nuclei, ``centres`` their centres (x, y) in level-0 pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    known: tuple[str, ...] = ()
    areas: tuple[Area, ...] = ()
    boxes: tuple[Area, ...] = ()
    nuclei: Files | None = None
    centres: tuple[tuple[int, int], ...] = ()


class SampleView(BaseModel):
    """One of several pictures that a question is about: a part of the image and its caption.

    ``region`` is (x, y, w, h) in level-0 pixels, which may also stand alone; ``caption`` stands
    before the picture in the prompt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: Place
    caption: str = ""

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        return {"region": value} if isinstance(value, list | tuple) else value


class Sample(BaseModel):
    """A labelled question.

    ``image`` is a file or a grid of them; ``region`` is (x, y, w, h) in level-0 pixels, None for
    the whole picture. Files are relative to the folder of the JSONL. ``phrasing`` says whether the
    wording of the question was kept out of training. ``views`` are shown in one prompt, in their
    order, where they are given, and the region is what they are of; else it is the one picture.
    Samples of one image, region and views are questions about the same pictures; training reads
    them once for several of them. ``group`` names what must not be divided among splits and what
    intervals are over, such as a patient or a slide; empty where nothing is known. ``mpp`` is um
    per level-0 pixel where a table states it; else the file may.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Files
    task: TaskName
    question: str
    choices: tuple[str, ...] = ()
    answer: str = ""
    boxes: tuple[Area, ...] = ()
    region: Place | None = None
    facts: Facts = Facts()
    source: str = "user"
    topic: str = ""
    phrasing: Phrasing = "trained"
    views: tuple[SampleView, ...] = ()
    group: str = ""
    mpp: Annotated[float, Field(strict=True, gt=0, lt=1000)] | None = None

    @model_validator(mode="after")
    def _has_a_frame(self) -> Sample:
        if self.views and self.task == "detection":
            raise ValueError("boxes need one picture; leave out views where the task is detection")
        return self

    @model_validator(mode="after")
    def _names_pictures(self) -> Sample:
        rows = self.image if isinstance(self.image, tuple) else ((self.image,),)
        if not rows or not rows[0] or len({len(row) for row in rows}) > 1:
            raise ValueError("image must be a file, or rows of as many files each")
        for name in (name for row in rows for name in row):
            file, mark, crop = name.partition(CROP)
            if not file or "\0" in file or (mark and not _CROP.fullmatch(crop)):
                raise ValueError(f"image must be files, or crops of one as in a.png{CROP}0,0,64,64")
        return self

    @property
    def captions(self) -> tuple[str, ...]:
        """Of the views, as `tasks` puts them into a prompt; none for one picture."""
        return tuple(view.caption for view in self.views)

    @property
    def kind(self) -> str:
        """Kind of question that scores are grouped by: the topic, or else the source."""
        return self.topic or self.source

    @property
    def query(self) -> Query:
        """The question as the engine takes it."""
        return Query(self.task, self.question, self.choices)


def name_crop(file: str, x: int, y: int, width: int, height: int) -> str:
    """A tile that is a crop of a file; see `Files`."""
    return f"{file}{CROP}{x},{y},{width},{height}"


def write_samples(path: Path, samples: Iterable[Sample]) -> int:
    """Write JSONL atomically; returns the number of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with atomic_text(path) as file:
        for sample in samples:
            file.write(sample.model_dump_json(exclude_defaults=True) + "\n")
            count += 1
    return count


def read_samples(path: Path) -> list[Sample]:
    """Read JSONL.

    Raises
    ------
    QueryError
        If the file is missing, empty, or a line is not a sample; names the line.
    """
    if not path.is_file():
        raise QueryError(f"{path.name} is not there; make it with `pathreason data convert`")
    samples = list(_parse(path))
    if not samples:
        raise QueryError(
            f"{path.name} holds no samples; `pathreason data convert` fills it from a folder that "
            "has pictures for this split, unless --splits leaves it out"
        )
    return samples


def _parse(path: Path) -> Iterator[Sample]:
    with path.open("rb") as file:  # of bytes, so that a line in another encoding is named
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                values = json.loads(text, object_pairs_hook=_once)
                if "\\u" in text:  # halves of a character, which no tokenizer takes
                    json.dumps(values, ensure_ascii=False).encode("utf-8")
                sample = Sample.model_validate(values)
                _refuse_contradictions(sample)
                yield sample
            except (ValidationError, ValueError, RecursionError) as error:
                reason = _reason(error)
                raise QueryError(f"{path.name}, line {number}: not a sample ({reason})") from None


def _refuse_contradictions(sample: Sample) -> None:
    """Refuse boxes without a place, and a question whose answer is none, or none of its choices.

    What makes samples leaves such out and counts it; in a file it is a slip.

    Raises
    ------
    ValueError
    """
    for area in (*sample.boxes, *sample.facts.areas, *sample.facts.boxes):
        if not area.label.strip():
            raise ValueError("a box without a label")
        if not area.has_place:
            raise ValueError("corners must be x1, y1, x2, y2 with x1 below x2 and y1 below y2")
    choices = sample.choices
    if len({*choices}) < len(choices) or not all(choice.strip() for choice in choices):
        raise ValueError("choices must be different words")
    if sample.task == "detection":
        other = next((box.label for box in sample.boxes if box.label not in choices), None)
        if choices and other is not None:
            raise ValueError(f"a box of {other!r}, which is none of {', '.join(choices)}")
        return
    if not sample.question.strip():
        raise ValueError("give a question")
    if not sample.answer.strip():
        raise ValueError("give the question's answer")
    if choices and sample.answer not in choices and not abstains(sample.answer):
        raise ValueError(f"the answer {sample.answer!r} is none of {', '.join(choices)}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; a key that stands twice means nobody knows what."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(k for k in keys if keys.count(k) > 1)!r} stands twice")
    return values


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return plain_text(" ".join(str(error).split()))[:OWN_WORDS]
    first = error.errors()[0]
    where = plain_text(".".join(map(str, first["loc"])))
    return ": ".join(filter(None, [where, first["msg"].removeprefix("Value error, ")]))


Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
