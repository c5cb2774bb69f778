"""The folder of a project: what is asked, its answers as they come, and tables of them.

``project.json`` says to what the answers belong, ``answers.jsonl`` has a line for each, which says
so too. Both are there from the first answer on; tables and GeoJSON are made of them whenever a run
stops.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_pathreason import exports, slide_run
from napari_pathreason.errors import QueryError
from napari_pathreason.files import Format, Journal, check_sum, with_checksum
from napari_pathreason.types import Request, Result

from ._annotations import Annotation
from ._slides import ProjectSlide

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
FORMAT = Format("project", 2, oldest=2)
"""Lines of version 1, which was not released, did not say to which question they belong, and knew a
slide by its size and time alone."""
HEADER, JOURNAL = "project.json", "answers.jsonl"
TABLE, NUMBERS, AGREEMENT, OBJECTS = "answers.csv", "numbers.csv", "agreement.csv", "geojson"
REVIEWS = "reviews"
"""Folder with a file for each reader, whose name is no part of its own."""


@dataclass(frozen=True, slots=True)
class ProjectQuestion:
    """What is asked of every annotation, and by which model.

    Parameters
    ----------
    request : Request
        Its region and outline mean nothing.
    model : str
        See `slide_run.model_identity`.
    encoder : str
    reading : str
        How slides are read where that is not as their files say: scale, channels, colour profile.
    """

    request: Request
    model: str
    encoder: str = "exact"
    reading: str = ""

    @property
    def identity(self) -> str:
        """SHA-256 over all of it that may change an answer."""
        words = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(words.encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def settings(self) -> dict[str, object]:
        """All that an answer depends on, by name."""
        query, request = self.request.query, self.request
        return {
            "task": query.task,
            "question": query.question,
            "choices": query.options,
            "budget": request.budget,
            "effort": request.effort,
            "policy": request.policy,
            "generation": repr(request.settings),
            "model": self.model,
            "encoder": self.encoder,
            "reading": self.reading,
        }


@dataclass(frozen=True, slots=True)
class ProjectAnswer:
    """One answer of a project.

    Parameters
    ----------
    key : str
        See `key_of`.
    slide, case, name : str
        File of the slide, its case, and the annotation.
    result : Result
    tissue : float or None
        Share (0 to 1) of what was asked about that is tissue; None where it could not be told.
    made : datetime
        UTC.
    """

    key: str
    slide: str
    case: str
    name: str
    result: Result
    tissue: float | None = None
    made: datetime = field(default_factory=lambda: datetime.now(UTC))


def key_of(slide: ProjectSlide, content: str, annotation: Annotation) -> str:
    """What tells an annotation of a project from any other.

    A slide that was written to or replaced since has other ones, and so is asked about again.

    Parameters
    ----------
    slide : ProjectSlide
    content : str
        What tells what the slide holds.
    annotation : Annotation
    """
    region = annotation.region
    value = [
        slide.path.name,
        content,
        [region.x, region.y, region.width, region.height],
        annotation.outline,
        annotation.name,
    ]
    return hashlib.sha256(json.dumps(value).encode("utf-8", "surrogateescape")).hexdigest()


class ProjectFolder:
    """Answers of a project on disk; the folder must be held by `files.locked` to add any.

    Each line of answers and of reviews says to which question it belongs, so that those to another
    one are never taken for this one's, whatever became of ``project.json``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal = Journal(folder / JOURNAL)
        self._of = ""

    @property
    def of(self) -> str:
        """What the question is called in each line; empty where none was begun."""
        if not self._of and (first := self._header()) is not None:
            self._of = first.question.identity
        return self._of

    def _header(self) -> _Header | None:
        return slide_run.read_own(self.folder / HEADER, FORMAT, _headers())

    def check(self, question: ProjectQuestion) -> bool:
        """Whether a project was begun here; False where the folder is nobody's.

        Raises
        ------
        QueryError
            If something else was asked, or the folder holds something else.
        ExportError
            If it is damaged or of another version.
        """
        if slide_run.holds_run(self.folder):
            raise QueryError(
                f"the folder {self.folder.name} holds a slide run; choose another folder"
            )
        first = self._header()
        if first is None:
            return False
        other = slide_run.differences(first.question.settings, question.settings)
        if other:
            raise QueryError(
                f"the folder {self.folder.name} holds answers to another question: "
                f"{'; '.join(other)}; choose another folder, or ask the same"
            )
        return True

    def begin(self, question: ProjectQuestion) -> None:
        """Say to what the answers belong."""
        slide_run.write_own(self.folder / HEADER, _headers(), _Header(str(FORMAT), question))
        self._of = question.identity

    def answers(self) -> dict[str, ProjectAnswer]:
        """All that were kept of this question, by their keys.

        Lines that are not as they were written are asked again.
        """
        return {one.key: one for one in self._lines(self._journal, _answers())}

    def _lines(self, journal: Journal, kind: TypeAdapter[T]) -> Iterator[T]:
        """What the whole lines of this question hold."""
        of = self.of
        for line in journal.lines():
            with suppress(ValueError, TypeError, AttributeError):
                values = json.loads(line)
                if values.pop("of", "") == of != "":
                    yield kind.validate_python(check_sum(values))

    def _line(self, kind: TypeAdapter[T], value: T) -> bytes:
        values = with_checksum(kind.dump_python(value, mode="json"))
        return json.dumps({"of": self.of, **values}, ensure_ascii=False).encode()

    def add(self, answer: ProjectAnswer) -> None:
        """Keep an answer; it is on the disk when this returns."""
        self._journal.append(self._line(_answers(), answer))

    def add_review(self, key: str, reader: str, review: exports.Review) -> None:
        """Keep what a reader says of an answer; each has a file, so that several may write at once.

        Raises
        ------
        ExportError
            If it cannot be written.
        """
        name = hashlib.sha256(reader.encode("utf-8", "replace")).hexdigest()[:16]
        (self.folder / REVIEWS).mkdir(exist_ok=True)
        line = self._line(_reviews(), _Reviewed(key, reader, review))
        Journal(self.folder / REVIEWS / f"{name}.jsonl").append(line)

    def reviews(self) -> dict[str, dict[str, exports.Review]]:
        """What readers say of answers: key, then reader; what was taken back is left out."""
        found: dict[str, dict[str, exports.Review]] = {}
        for path in sorted((self.folder / REVIEWS).glob("*.jsonl")):
            for one in self._lines(Journal(path), _reviews()):
                found.setdefault(one.key, {})[one.reader] = one.review
        return {
            key: {reader: review for reader, review in own.items() if review}
            for key, own in found.items()
        }

    def tables(self, slides: Iterable[ProjectSlide]) -> list[Path]:
        """All that `write_tables` may write about slides."""
        objects = [self.folder / OBJECTS / f"{slide.name}.geojson" for slide in slides]
        return [*(self.folder / name for name in (TABLE, NUMBERS, AGREEMENT)), *objects]

    def write_tables(self, answers: Sequence[ProjectAnswer]) -> list[Path]:
        """Write the tables of answers, and a GeoJSON for each slide with answers as classes.

        Returns
        -------
        list of Path
            What was written; nothing where there is no answer.
        """
        if not answers:
            return []
        rows = rows_of(answers, self.reviews())
        files = [self.folder / TABLE, self.folder / NUMBERS]
        exports.write_answer_table(files[0], rows)
        exports.write_numbers(files[1], exports.numbers_of(rows))
        if agreement := exports.agreement_of(rows):
            files.append(self.folder / AGREEMENT)
            exports.write_agreement(files[-1], agreement)
        folder = self.folder / OBJECTS
        folder.mkdir(exist_ok=True)
        for slide in dict.fromkeys(answer.slide for answer in answers):
            own = [answer for answer in answers if answer.slide == slide]
            marks = exports.marks_of(
                [answer.result for answer in own],
                exports.new_run(),
                answer_class=True,
                names=[answer.name for answer in own],
            )
            path = folder / f"{slide}.geojson"
            exports.write_geojson(path, exports.features_of_marks(marks))
            files.append(path)
        return files


def folder_for(first: Path, question: ProjectQuestion) -> Path:
    """Where a question's answers are kept: in a folder that holds those to no other question.

    Parameters
    ----------
    first : Path
        Taken where it can be, else ``first-2`` and so on.
    question : ProjectQuestion

    Raises
    ------
    ExportError
        If one of them is damaged, or of another version.
    """
    others = (first.with_name(f"{first.name}-{number}") for number in count(2))
    return next(folder for folder in chain([first], others) if _may_hold(folder, question))


def _may_hold(folder: Path, question: ProjectQuestion) -> bool:
    try:
        ProjectFolder(folder).check(question)
    except QueryError:
        return False
    return True


def rows_of(
    answers: Sequence[ProjectAnswer], reviews: Mapping[str, Mapping[str, exports.Review]]
) -> list[exports.AnswerRow]:
    """Answers as tables have them, with what readers say of each, by its key."""
    return [
        exports.AnswerRow(
            number,
            one.made,
            one.name,
            one.result,
            case=one.case,
            tissue=one.tissue,
            reviews=reviews.get(one.key, {}),
        )
        for number, one in enumerate(answers, 1)
    ]


@dataclass(frozen=True, slots=True)
class _Reviewed:
    """A line of a reader's file."""

    key: str
    reader: str
    review: exports.Review


@cache
def _reviews() -> TypeAdapter[_Reviewed]:
    from pydantic import TypeAdapter

    return TypeAdapter(_Reviewed)


@dataclass(frozen=True, slots=True)
class _Header:
    format: str
    question: ProjectQuestion


@cache
def _headers() -> TypeAdapter[_Header]:
    from pydantic import TypeAdapter

    return TypeAdapter(_Header)


@cache
def _answers() -> TypeAdapter[ProjectAnswer]:
    from pydantic import TypeAdapter

    return TypeAdapter(ProjectAnswer)
