"""Answers on disk as they come, so that a crash loses none; they come back as answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from pydantic import TypeAdapter, ValidationError

from napari_pathreason.errors import ExportError
from napari_pathreason.exports import Review
from napari_pathreason.files import Journal
from napari_pathreason.types import Result, SlideInfo

from ._settings import config_folder

if TYPE_CHECKING:
    from ._session import Entry

FOLDER = "napari-pathreason-answers"
"""Beside the plugin's preferences: a journal for each slide, none of which holds its name."""


@dataclass(frozen=True, slots=True)
class ArchivedAnswer:
    """An answer as it is kept.

    Parameters
    ----------
    uid : str
        Of its `Entry`.
    made : datetime
    model_id, name : str
        As of `Entry`.
    former : str
        Uid of the answer that it goes on from; empty where it goes on from none.
    result : Result
        Without the slide's name.
    reviews : dict of str to Review
        What each reader says of it, by name; an empty name is one who gave none.
    """

    uid: str
    made: datetime
    model_id: str
    name: str
    former: str
    result: Result
    reviews: dict[str, Review] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Line:
    """Of a journal: an answer, or what a reader says of one."""

    answer: ArchivedAnswer | None = None
    reviewed: str = ""
    review: Review = ""
    reader: str = ""


def archive_folder() -> Path | None:
    """Where answers are kept; None where napari keeps no settings."""
    folder = config_folder()
    return None if folder is None else folder / FOLDER


class AnswerArchive:
    """Journals of answers, one for each slide.

    Writing is left to a thread, so that no slow disk holds the docks up.

    Parameters
    ----------
    folder : callable
        Gives the folder, or None where nothing is kept.
    warn : callable
        Takes what is wrong, in a line; called once at most.
    """

    def __init__(
        self,
        folder: Callable[[], Path | None] = archive_folder,
        warn: Callable[[str], object] = show_warning,
    ) -> None:
        self._folder, self._show_warning = folder, warn
        self._warned = ""
        self._is_told = False
        self._writer = ThreadPoolExecutor(1, "kept answers")

    def keep(self, entry: Entry) -> None:
        """Keep an answer; it is on the disk a moment later."""
        former = "" if entry.former is None else entry.former.uid
        slide = replace(entry.result.slide, name="")
        result = replace(entry.result, slide=slide)
        answer = ArchivedAnswer(entry.uid, entry.made, entry.model_id, entry.name, former, result)
        self._append(entry.result.slide, _Line(answer))

    def keep_review(self, entry: Entry, review: Review, reader: str = "") -> None:
        """Keep what a reader says of an answer that is kept."""
        self._append(entry.result.slide, _Line(None, entry.uid, review, reader))

    def answers_of(self, slide: SlideInfo) -> list[ArchivedAnswer]:
        """All that was kept about a slide, oldest first, with its name; lines of others' are none.

        A slide is the same where name and size are.
        """
        self.flush()
        path = self._path(slide)
        if path is None:
            return []
        found: dict[str, ArchivedAnswer] = {}
        try:
            for text in Journal(path).lines():
                try:
                    line = _lines().validate_json(text)
                except ValidationError:  # of another version
                    continue
                if line.answer is not None:
                    named = replace(line.answer.result, slide=slide)
                    found[line.answer.uid] = replace(line.answer, result=named)
                elif line.reviewed in found:
                    known = found[line.reviewed]
                    reviews = {**known.reviews, line.reader: line.review}
                    found[line.reviewed] = replace(known, reviews=reviews)
        except ExportError as error:
            self._warn(str(error))
        return list(found.values())

    def flush(self) -> None:
        """Wait until all is on the disk, and say once what could not be written."""
        self._writer.submit(lambda: None).result()
        if self._warned and not self._is_told:
            self._is_told = True
            self._show_warning(f"answers cannot be kept: {self._warned}")

    def _path(self, slide: SlideInfo) -> Path | None:
        folder = self._folder()
        if folder is None:
            return None
        words = f"{slide.name}\n{slide.width}\n{slide.height}".encode()
        return folder / f"{hashlib.sha256(words).hexdigest()[:24]}.jsonl"

    def _append(self, slide: SlideInfo, line: _Line) -> None:
        path = self._path(slide)
        if path is not None:
            self._writer.submit(self._write, path, line)

    def _write(self, path: Path, line: _Line) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            Journal(path).append(_lines().dump_json(line))
        except (ExportError, OSError) as error:
            self._warned = str(error) if isinstance(error, ExportError) else type(error).__name__

    def _warn(self, text: str) -> None:
        if not self._is_told:
            self._is_told = True
            self._show_warning(text)


@cache
def _lines() -> TypeAdapter[_Line]:
    return TypeAdapter(_Line)
