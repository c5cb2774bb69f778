"""Answers as they come, a line for each group of them, each line with what it belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from napari_pathreason.files import Format, Journal, check_sum, with_checksum

from ._identity import AnswersKey

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


class GroupJournal(Generic[T]):
    """Groups of answers, a line for each of them; see `files.Journal`.

    Answers of a line that was not finished are asked again. Each line says to what its answers
    belong, so that those to another request are never taken for answers to this one, whatever
    became of what stands beside the journal.

    Parameters
    ----------
    path : Path
        Its folder must be held by `files.locked`.
    form : Format
        Of what is written; lines of a newer version are refused.
    key : AnswersKey
        Of the answers that are read and added.
    name : str
        What they are called in a line.
    kind : type
        Of an answer, a dataclass.
    """

    def __init__(self, path: Path, form: Format, key: AnswersKey, name: str, kind: type[T]) -> None:
        from pydantic import TypeAdapter

        self._journal = Journal(path)
        self._form, self._key, self._name = form, key, name
        self._where = f"{path.name} in the folder {path.parent.name}"
        self._groups: TypeAdapter[tuple[T, ...]] = TypeAdapter(tuple[kind, ...])  # type: ignore[valid-type]

    def read(self) -> Iterator[tuple[T, ...]]:
        """Whole groups of this key, in the order in which they came.

        Raises
        ------
        ExportError
            If it cannot be read, or holds groups of a newer version.
        """
        for line in self._journal.lines():
            if (group := self._parsed(line)) is not None:
                yield group

    def add(self, group: Sequence[T]) -> None:
        """Append a group; it is on the disk when this returns.

        Raises
        ------
        ExportError
            If the disk is full or gone.
        """
        answers = self._groups.dump_python(tuple(group), mode="json")
        line = with_checksum({"key": asdict(self._key), self._name: answers})
        self._journal.append(json.dumps(line, separators=(",", ":")).encode())

    def _parsed(self, line: bytes) -> tuple[T, ...] | None:
        try:
            values: dict[str, Any] = json.loads(line)
            if values["key"] != asdict(self._key):
                self._form.refuse_newer(values["key"]["format"], self._where)
                return None
            return self._groups.validate_python(check_sum(values)[self._name])
        except (ValueError, TypeError, LookupError):  # not as it was written; it is asked again
            return None
