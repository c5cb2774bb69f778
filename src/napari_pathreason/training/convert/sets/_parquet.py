"""Questions about pictures in the hub's parquet files: columns image, question, answer.

Pictures are told apart by their bytes: a picture is written once, however many rows ask about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError

from ._left_out import LeftOut
from ._optional import optional

WHAT = "parquet files"
BLANK = "rows have no question or no answer and were left out"


@dataclass(slots=True)
class Asked:
    """A picture and the rows that ask about it; ``place`` is (file, row group, row)."""

    digest: str
    place: tuple[Path, int, int]
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def named(self) -> str:
        """Where it lies, for messages."""
        path, group, row = self.place
        return f"{path.name}, row {row} of group {group}"


def without_blanks(asked: Asked, left: LeftOut) -> Asked:
    """The picture with those of its rows that have a question and an answer; others are counted."""
    rows = [row for row in asked.rows if row.get("question") and row.get("answer")]
    left.add(BLANK, asked.named, len(asked.rows) - len(rows))
    return Asked(asked.digest, asked.place, rows)


class Shards:
    """Parquet files read a row group at a time.

    Parameters
    ----------
    files : sequence of Path
    columns : sequence of str
        Beside the image; those that a file lacks are left out.
    """

    def __init__(self, files: Sequence[Path], columns: Sequence[str]) -> None:
        self._files = files
        self._columns = columns
        self._read: tuple[Path, int] | None = None
        self._images: list[Any] = []

    def asked(self) -> list[Asked]:
        """All pictures in the order of their first row, with all their rows.

        Raises
        ------
        QueryError
            If a file cannot be read or lacks the columns image, question and answer.
        """
        found: dict[str, Asked] = {}
        for path in self._files:
            file = self._open(path)
            names = set(file.schema_arrow.names)
            if not {"image", "question", "answer"} <= names:
                raise QueryError(f"{path.name} needs the columns image, question and answer")
            columns = [name for name in self._columns if name in names]
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=columns).to_pylist()
                for row, (told, data) in enumerate(
                    zip(rows, self._group(path, group), strict=True)
                ):
                    digest = hashlib.sha256(data).hexdigest()
                    asked = found.setdefault(digest, Asked(digest, (path, group, row)))
                    asked.rows.append(told)
        return list(found.values())

    def image(self, place: tuple[Path, int, int]) -> bytes:
        """Encoded bytes of a picture; its row group is kept for the next one."""
        path, group, row = place
        data: bytes = self._group(path, group)[row]
        return data

    def _group(self, path: Path, group: int) -> list[Any]:
        if self._read != (path, group):
            told = self._open(path).read_row_group(group, columns=["image"]).to_pylist()
            self._images = [_bytes(path, row["image"]) for row in told]
            self._read = path, group
        return self._images

    def _open(self, path: Path) -> Any:
        pyarrow, parquet = optional("pyarrow", WHAT), optional("pyarrow.parquet", WHAT)
        try:
            return parquet.ParquetFile(path)
        except (OSError, pyarrow.ArrowInvalid):
            raise QueryError(f"{path.name} cannot be read; download it again") from None


def _bytes(path: Path, image: Any) -> bytes:
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise QueryError(
            f"{path.name} names pictures without holding them; take the files that hold their bytes"
        )
    return data
